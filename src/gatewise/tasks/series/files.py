"""Tables for series from files of any kind: CSV, Parquet, JSON lines, and folders of Parquet files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gatewise.tasks.shared import tables
from gatewise.tasks.shared.reading.options import Reading
from gatewise.tasks.shared.reading.table import Table, read_table, table_of
from gatewise.tasks.shared.reading.typed import LINES


def read_file(path: str | Path, reading: Reading | None = None) -> Table:
    """Read a CSV or Parquet file, JSON lines, or all Parquet files of a folder.

    Raises:
        TableError: the file does not exist, is too large, empty, damaged, or without rows.
    """
    path, reading = Path(path), reading or Reading()
    if not (path.is_dir() or any(suffix.lower() in LINES for suffix in path.suffixes)):
        return read_table(path, reading)
    found = tables.read_table(path, replace(reading, where=None))
    return table_of(found.replace_schema_metadata(None).to_pandas(), str(path), reading)
