"""Tables with a word on each row, or lists of words: CSV, Parquet and JSON lines, and frames."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from gatewise.runtime.jobs.tags import TableNames
from gatewise.tasks.shared.reading.errors import listed
from gatewise.tasks.shared.reading.table import Table
from gatewise.tasks.tagging.corpus import Corpus, Sentences

WORDS = ("word", "token", "form", "words", "tokens")
_SEEN = 100  # rows in which lists are sought
SENTENCES = ("sentence", "sentence_id", "sent_id", "sentence #", "sent", "id")
TAGS = (  # columns that are tags by default
    "tag", "tags", "pos", "upos", "xpos", "feats", "ner", "label", "pos_tags", "chunk_tags", "ner_tags",
    "labels",
)  # fmt: skip


def corpus_of(
    table: Table, word: str | None = None, sentence: str | None = None, tags: Sequence[str] = ()
) -> Corpus:
    """The sentences of a table.

    Args:
        table: a word on each row, or as `unrolled` says.
        word: the column of words; by default ``word``, ``token`` or ``form``.
        sentence: the column that says which sentence a row belongs to: a new value begins a new sentence, and
            an empty one continues the last. By default ``sentence``, ``sentence_id``, ``sent_id`` or ``id``.
        tags: the columns of tags; by default those named ``tag``, ``pos``, ``ner`` and the like, or else the
            only other column.

    Raises:
        TableError: a column does not exist or cannot be chosen, or a word is missing.
    """
    table = unrolled(table)
    word = chosen_column(table, word, WORDS, "word")
    sentence = chosen_column(table, sentence, SENTENCES, "sentence")
    others = [name for name in table.names if name not in (word, sentence)]
    usual = [name for name in others if name.lower() in TAGS]
    chosen = list(tags) or usual or (others if len(others) == 1 else [])
    for name in chosen:
        table.column(name)
    words = _text(table, word)
    table.refuse(word, np.asarray(words == ""), "a word is missing")
    starts = _starts(_text(table, sentence))
    split = {name: _split(_text(table, name), starts) for name in (word, *chosen)}
    return Corpus(split[word], {name: split[name] for name in chosen}, table.file)


def known_columns(table: Table, names: TableNames) -> tuple[str, str]:
    """The columns of words and of sentences: those of the training table, or else those of `corpus_of`.

    Raises:
        TableError: there is no such column.
    """
    word, sentence = (name if name in table.names else None for name in (names.word, names.sentence))
    return chosen_column(table, word, WORDS, "word"), chosen_column(table, sentence, SENTENCES, "sentence")


def pandas_of(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a frame of pandas, with Python's lists in its columns of lists."""
    columns = [
        pd.Series(some.to_pylist(), dtype=object) if pa.types.is_nested(some.type) else some.to_pandas()
        for some in table.columns
    ]
    return pd.DataFrame(dict(enumerate(columns))).set_axis(table.column_names, axis="columns")


def unrolled(table: Table) -> Table:
    """A table with a word on each row, from one with a sentence on each row, as lists of words and of tags.

    Its column ``sentence`` has the ``id`` of a row if all of them differ, or else its number from 1. A table
    without lists stays as it is.

    Raises:
        TableError: a list is missing, or has another length than others of its row.
    """
    lists = [name for name in table.names if any(map(_is_list, table.frame[name][:_SEEN]))]
    if not lists:
        return table
    lengths = np.array([len(value) if _is_list(value) else -1 for value in table.frame[lists[0]]])
    for name in lists:
        own = np.array([len(value) if _is_list(value) else -1 for value in table.frame[name]])
        wrong = np.flatnonzero((own != lengths) | (own < 0))
        if wrong.size:
            row = int(wrong[0])
            first = f"has {own[row]} entries, but that of {lists[0]!r} {lengths[row]}"
            problem = f"the list {'is missing' if own[row] < 0 else first}"
            raise table.error(problem, name, int(table.frame.index[row]))
    ids: Any = np.arange(1, len(table.frame) + 1)
    if "id" in table.names and "id" not in lists and table.frame["id"].astype(str).is_unique:
        ids = table.frame["id"].to_numpy()
    columns = {name: [entry for value in table.frame[name] for entry in value] for name in lists}
    made = pd.DataFrame({"sentence": np.repeat(ids, lengths), **columns})
    return replace(table, frame=made.set_axis(np.repeat(table.frame.index, lengths)))  # rows of the file


def _is_list(value: object) -> bool:
    return isinstance(value, list | np.ndarray)


def frame_of(corpus: Corpus) -> pd.DataFrame:
    """A corpus as a table: the number of the sentence, from 1, the word, and its tags."""
    numbers = [n for n, words in enumerate(corpus.words, 1) for _ in words]
    columns = {"sentence": numbers, "word": _flat(corpus.words)}
    return pd.DataFrame(columns | {name: _flat(values) for name, values in corpus.tags.items()})


def chosen_column(table: Table, given: str | None, usual: Sequence[str], option: str) -> str:
    """The column that is given, or else the first one with a usual name.

    Raises:
        TableError: there is no such column; the message names the option to set.
    """
    if given is not None:
        table.column(given)
        return given
    found = [name for known in usual for name in table.names if name.lower() == known]
    if not found:
        say = f"say which one holds the {option}s: --{option} NAME"
        raise table.error(f"no column is named {usual[0]!r}; {say}. The columns are {listed(table.names)}")
    return found[0]


def _text(table: Table, name: str) -> pd.Series[str]:
    return table.column(name).astype("string").fillna("").str.strip().astype("str")


def _starts(ids: pd.Series[str]) -> list[int]:
    """The first rows of the sentences, and the number of rows."""
    known = ids.mask(ids == "").ffill().fillna("")
    return [*np.flatnonzero(known != known.shift()).tolist(), len(ids)]


def _split(values: pd.Series[str], starts: list[int]) -> Sentences:
    flat = values.tolist()
    return [flat[a:b] for a, b in itertools.pairwise(starts)]


def _flat(sentences: Sentences) -> list[str]:
    return [value for sentence in sentences for value in sentence]
