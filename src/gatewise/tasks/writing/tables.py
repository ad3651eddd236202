"""Scores of the texts in tables, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from gatewise.runtime.jobs.units import spelled
from gatewise.runtime.jobs.writer import Writer
from gatewise.tasks.shared import frames, tables
from gatewise.tasks.shared.reading.errors import TableError
from gatewise.tasks.shared.reading.options import Reading, refuse_all_but_encoding
from gatewise.tasks.writing.reading import read_texts

_TABLES = (".csv", ".tsv", ".parquet", ".pq", ".jsonl", ".ndjson")


def predict_table(model: Writer, table: pa.Table) -> pa.Table:
    """The scores of the texts in a table: in its column ``text``, or its only column of texts.

    Returns:
        A row for each text: ``id`` (the number of the row, if the table has no such column) and all other
        columns of the table; ``characters``; ``log_probability`` of the whole text; ``bits`` per character;
        ``perplexity`` per token; ``next``, the most likely token after it.

    Raises:
        TableError: the table does not have such a column, or a text is missing.
    """
    name = _column(table)
    texts = frames.texts_of(table, name)
    scored = model.score_all(texts)
    ids = {"id": table.column("id") if "id" in table.column_names else pa.array(range(len(table)))}
    others = ids | {other: table.column(other) for other in table.column_names if other != name}
    made = {
        "characters": pa.array([each.characters for each in scored], pa.int64()),
        "log_probability": pa.array([each.total for each in scored], pa.float64()),
        "bits": pa.array([each.bits_per_character for each in scored], pa.float64()),
        "perplexity": pa.array([each.perplexity for each in scored], pa.float64()),
        "next": pa.array([spelled([each.following], model.unit)[0] for each in scored], pa.string()),
    }
    return pa.table(others | made)


def read_tables(path: Path, reading: Reading | None = None) -> Iterator[pa.Table]:
    """The texts of a table, of the Parquet files in a folder, or of a text file as one row with its name."""
    packed = path.suffix.lower() in (".gz", ".bz2", ".xz", ".zip")
    ending = Path(path.stem if packed else path.name).suffix.lower()
    if path.is_dir() or ending in _TABLES:
        yield from tables.read_tables(path, reading)
    else:
        refuse_all_but_encoding(path, reading, "text")
        texts = read_texts(path, encoding=reading.encoding if reading else None)
        found = pa.table({"id": [path.name], "text": texts})
        yield found.replace_schema_metadata({frames.FILE: str(path)})


def _column(table: pa.Table) -> str:
    found = [name for name in table.column_names if frames.holds_texts(table, name)]
    if "text" in found or len(found) == 1:
        return "text" if "text" in found else str(found[0])
    name = (table.schema.metadata or {}).get(frames.FILE, b"the table").decode()
    came = f"columns {', '.join(found)} hold texts" if found else "no column holds texts"
    raise TableError(name, f"one column must hold the texts, or have the name 'text'; {came}")
