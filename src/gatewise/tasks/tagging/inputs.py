"""Sentences and tags from frames; whatever else is passed on as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gatewise.tasks.shared.frames import is_frame, to_arrow
from gatewise.tasks.shared.reading.options import Reading
from gatewise.tasks.shared.reading.table import table_of
from gatewise.tasks.tagging.frames import corpus_of, pandas_of


def sentences_in(X: Any) -> Any:
    """The sentences of a frame with a word on each row, or lists of words; anything else as it is.

    The columns are named as `corpus_of` says.

    Raises:
        TableError: the frame has no column of words or of sentences, or a word is missing.
    """
    if not is_frame(X):
        return X
    table, _ = to_arrow(X)
    return corpus_of(table_of(pandas_of(table), "X", Reading())).words


def tags_in(y: Any, X: Any, sentences: Sequence[Sequence[str]]) -> Any:
    """The tags of the rows of a frame X, sentence by sentence; for anything else `y` as it is.

    A frame `y` with several columns gives tuples. If X has lists of words, `y` has lists of tags.

    Raises:
        ValueError: `y` does not have a tag for each row.
    """
    if not is_frame(X):
        return y
    rows = y.to_list() if hasattr(y, "to_list") else list(y)
    if is_frame(y):
        columns = [column.to_pylist() for column in to_arrow(y)[0].columns]
        rows = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
        if len(columns) > 1 and rows and all(isinstance(tags, list) for tags in rows[0]):
            rows = [list(zip(*row, strict=True)) for row in rows]
    if len(rows) == len(sentences) and all(isinstance(row, list) for row in rows):
        return rows
    count = sum(map(len, sentences))
    if len(rows) != count:
        raise ValueError(f"y must have a tag for each of the {count} rows of X. Got {len(rows)}.")
    each = iter(rows)
    return [[next(each) for _ in words] for words in sentences]
