"""Tags from tables, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from gatewise.runtime.jobs.tagger import Tagger
from gatewise.tasks.shared import frames, tables
from gatewise.tasks.shared.reading.options import Reading
from gatewise.tasks.shared.reading.table import table_of
from gatewise.tasks.tagging.corpus import Corpus
from gatewise.tasks.tagging.frames import corpus_of, frame_of
from gatewise.tasks.tagging.reading import FORMATS, read_tagged

_TABLES = (*FORMATS["table"], ".jsonl", ".ndjson")


def predict_table(model: Tagger, table: pa.Table) -> pa.Table:
    """The tags of the words in a table, which has a word on each row, or no rows.

    The columns of words and of sentences are found by their names, as in `corpus_of`.

    Returns:
        A row for each word: ``sentence`` (a number, from 1), ``word``, then for each column of tags the tag,
        and its probability in a column ``p(NAME)``.

    Raises:
        TableError: the table does not have these columns, or a word is missing.
    """
    name = (table.schema.metadata or {}).get(frames.FILE, b"the table").decode()
    corpus = corpus_of(table_of(table.replace_schema_metadata(None).to_pandas(), name, Reading()))
    tagged = [word for sentence in model.tagged(corpus.words) for word in sentence]
    made = frame_of(Corpus(corpus.words))
    columns = {"sentence": pa.array(made["sentence"]), "word": pa.array(made["word"], pa.string())}
    for k, column in enumerate(model.columns):
        own = column.name if column.name not in columns else f"{column.name} (tag)"
        columns[own] = pa.array([word.tags[k] for word in tagged], pa.string())
        columns[f"p({own})"] = pa.array([word.probabilities[k] for word in tagged], pa.float64())
    return pa.table(columns)


def read_tables(path: Path) -> Iterator[pa.Table]:
    """The words of a file that a tagger reads (see `read_tagged`), or of a folder of Parquet files."""
    packed = path.suffix.lower() in (".gz", ".bz2", ".xz", ".zip")
    ending = Path(path.stem if packed else path.name).suffix.lower()
    if path.is_dir() or ending in _TABLES:
        yield from tables.read_tables(path)
        return
    corpus = read_tagged(path).corpus
    made = frame_of(Corpus(corpus.words))
    yield pa.Table.from_pandas(made, preserve_index=False).replace_schema_metadata({frames.FILE: str(path)})
