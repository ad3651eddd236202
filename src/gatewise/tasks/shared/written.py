"""Writes tables piece by piece, as CSV, JSON lines or Parquet."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from gatewise import files

Write = Callable[[pa.Table], None]
ENDINGS = (".csv", ".jsonl", ".parquet")
IN_DAYS = {b"times": b"days"}  # metadata of a column of times that are written as dates, unless zoned
# A time with a zone that pyarrow has put in quotes, which it does not need.
_ZONED = re.compile(
    r'(?:^|(?<=,))"(\d{4,}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?[+-]\d\d:\d\d)"(?=,|$)', re.MULTILINE
)


@contextmanager
def table_file(path: Path) -> Iterator[Write]:
    """A new file of tables, complete or absent. The context gives the function that appends a table.

    Raises:
        ValueError: the ending of the path is none of `ENDINGS`, or a table has other columns than the first.
        OSError: the file cannot be written.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"--out must end in {', '.join(ENDINGS)}. Got {path.name!r}")
    with files.saving(path) as file:
        writer = _Parquet(file) if path.suffix.lower() == ".parquet" else _Text(file, path.suffix.lower())
        try:
            yield writer.append
        finally:
            writer.close()


class _Parquet:
    def __init__(self, file: Any) -> None:
        self._file = file
        self._writer: pa.parquet.ParquetWriter | None = None

    def append(self, table: pa.Table) -> None:
        """Append a table."""
        if self._writer is None:
            self._writer = pa.parquet.ParquetWriter(self._file, table.schema)
        self._writer.write_table(like(table, self._writer.schema))

    def close(self) -> None:
        """Write the end of the file."""
        if self._writer is not None:
            self._writer.close()


class _Text:
    def __init__(self, file: Any, ending: str) -> None:
        self._file, self._ending = file, ending
        self._schema: pa.Schema | None = None

    def append(self, table: pa.Table) -> None:
        """Append a table."""
        table = like(table, self._schema or table.schema)
        lines = csv_text(table, self._schema is None) if self._ending == ".csv" else json_lines(table)
        self._schema = table.schema
        self._file.write(lines.encode())

    def close(self) -> None:
        """Nothing is left to be written."""


def like(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table with the columns of another one.

    Raises:
        ValueError: it has other columns.
    """
    if table.column_names != schema.names:
        raise ValueError(f"all files must give the columns {', '.join(schema.names)}. "
                         f"Got {', '.join(table.column_names)}")  # fmt: skip
    return table.cast(schema)


def csv_text(table: pa.Table, header: bool) -> str:
    """A table as CSV. Lists are written as JSON, times as ``2024-10-13 06:00:00`` in their time zone."""
    zoned = any(pa.types.is_timestamp(kind) and kind.tz is not None for kind in table.schema.types)
    for n, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [json.dumps(value, ensure_ascii=False) for value in table.column(n).to_pylist()]
            table = table.set_column(n, field.name, pa.array(texts, pa.string()))
        elif pa.types.is_timestamp(field.type):
            times = _dated(table.column(n), field.metadata == IN_DAYS)
            table = table.set_column(n, field.name, times)
    stream = BytesIO()
    options = pa.csv.WriteOptions(include_header=header, quoting_style="needed")
    pa.csv.write_csv(table, stream, options)
    text = stream.getvalue().decode()
    return _ZONED.sub(r"\1", text) if zoned else text


def _dated(times: pa.ChunkedArray, in_days: bool) -> pa.ChunkedArray:
    """Times as what pyarrow writes well: dates, times without needless digits, texts if they have a zone."""
    local = times if times.type.tz is None else pc.local_timestamp(times)
    if in_days and times.type.tz is None:
        return local.cast(pa.date32())
    whole = pc.all(pc.equal(pc.floor_temporal(local, unit="second"), local)).as_py() is not False
    if times.type.tz is None:
        return local.cast(pa.timestamp("s")) if whole else local
    precision = "seconds" if whole else "microseconds"
    texts = [None if time is None else time.isoformat(" ", precision) for time in times.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])


def json_lines(table: pa.Table) -> str:
    """A table as JSON, an object on each line. A number that is not finite becomes null."""
    rows = (json.dumps(_plain(row), ensure_ascii=False, default=_text) for row in table.to_pylist())
    return "".join(f"{row}\n" for row in rows)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
