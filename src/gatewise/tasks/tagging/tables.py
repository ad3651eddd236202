"""Tags from tables with a word on each row, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from gatewise.runtime.jobs.tagger import Tagger
from gatewise.tasks.shared import frames
from gatewise.tasks.shared import tables as shared
from gatewise.tasks.shared.reading.options import Reading
from gatewise.tasks.shared.reading.table import table_of
from gatewise.tasks.tagging.frames import SENTENCES, WORDS, chosen_column, corpus_of, frame_of
from gatewise.tasks.tagging.reading import read_tagged

_PARQUET = (".parquet", ".pq")


def read_tables(path: Path) -> Iterator[pa.Table]:
    """The words of a file (CoNLL-U, columns, CSV, text), or of the Parquet files of a folder, as tables.

    Raises:
        TableError: the file is not one that can be read.
    """
    if path.is_dir() or path.suffix.lower() in _PARQUET:
        yield from shared.read_tables(path)
    else:
        corpus = read_tagged(path).corpus
        words = frame_of(type(corpus)(corpus.words, {}, corpus.name))
        table = pa.Table.from_pandas(words, preserve_index=False)
        yield table.replace_schema_metadata({frames.FILE: str(path).encode()})


def predict_table(model: Tagger, table: pa.Table) -> pa.Table:
    """The words of a table with their tags.

    The table has a column of words and one that tells sentences apart, named as `corpus_of` says. The result
    has both, and for each column of tags the tag and its probability.

    Raises:
        TableError: there is no such column, or a word is missing.
    """
    name = (table.schema.metadata or {}).get(frames.FILE, b"the table").decode()
    read = table_of(table.replace_schema_metadata(None).to_pandas(), name, Reading())
    corpus = corpus_of(read, tags=())
    tagged = [word for sentence in model.tagged(corpus.words) for word in sentence]
    names = chosen_column(read, None, SENTENCES, "sentence"), chosen_column(read, None, WORDS, "word")
    columns = {column: table.column(column) for column in names}
    for k, column in enumerate(model.columns):
        columns[column.name] = pa.array([word.tags[k] for word in tagged], pa.string())
        columns[f"{column.name} probability"] = pa.array([word.probabilities[k] for word in tagged])
    return pa.table(columns)
