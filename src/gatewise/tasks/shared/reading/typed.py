"""Tables of users' files with a type for each column: whole numbers, numbers, or texts.

What a file says beyond that (its name, row numbers, decisions made while reading) is in the metadata of the
schema, for messages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gatewise.tasks.shared.frames import BAD, FILE, MARKED, NOTES, ROWS
from gatewise.tasks.shared.reading.content import decoded, read_content
from gatewise.tasks.shared.reading.delimited import MOST_COLUMNS
from gatewise.tasks.shared.reading.errors import TableError, listed, quoted
from gatewise.tasks.shared.reading.options import Reading
from gatewise.tasks.shared.reading.table import (
    Table,
    not_a_number,
    read_delimited,
    read_parquet,
)

PARQUET, LINES = (".parquet", ".pq"), (".jsonl", ".ndjson")
_PACKED = (".gz", ".bz2", ".xz", ".zip")


def read_file(path: Path, reading: Reading) -> pa.Table:
    """Read a file as an Arrow table.

    Raises:
        TableError: the file is not a table. The message names file, column and row.
    """
    content = read_content(path)
    kind = _suffix(path)
    if content[:4] == b"PAR1" or kind in PARQUET:
        return _where(named(_plain(read_parquet(path, content)), path), reading)
    if kind in LINES or (kind == ".json" and content.lstrip()[:1] == b"{"):
        return _where(named(_of_lines(path, decoded(path, content, reading.encoding)), path), reading)
    if kind == ".json":
        raise TableError(path, "the file must have one JSON object in each line")
    table = read_delimited(path, content, reading, words=True)
    return typed(table.rows_where(reading.where) if reading.where else table)


def named(table: pa.Table, path: Path) -> pa.Table:
    """A table that knows its file."""
    if table.num_columns > MOST_COLUMNS:
        raise TableError(path, f"there are {table.num_columns:,} columns; at most {MOST_COLUMNS:,} are read")
    if not len(table):
        raise TableError(path, "the file has no rows")
    repeated = [name for name in table.column_names if table.column_names.count(name) > 1]
    if repeated:
        raise TableError(path, "the header has this name more than once", column=repeated[0])
    return table.replace_schema_metadata({FILE: str(path).encode("utf-8", "replace")})


def typed(table: Table) -> pa.Table:
    """A table of a text file with a type for each column.

    A column of numbers has numbers alone, beside missing values. Of a column that is mostly numbers the first
    other value is noted, for the message if it is used as numbers.
    """
    columns, bad = {}, {}
    for name in table.names:
        numbers, failed = table.parsed(name)
        known = ~np.isnan(numbers)
        if failed.any() or not known.any():
            columns[name] = pa.array(table.frame[name].astype(object), pa.large_string(), from_pandas=True)
            if failed.sum() < known.sum():
                place = int(np.argmax(failed))
                bad[name] = [place, not_a_number(str(table.frame[name].iloc[place]))]
        else:
            columns[name] = _narrowed(numbers, known)
    rows = table.frame.index.to_numpy(np.int64)
    metadata = {FILE: table.file.encode("utf-8", "replace"), NOTES: json.dumps(table.notes).encode()}
    metadata |= {BAD: json.dumps(bad).encode()} if bad else {}
    metadata |= {ROWS: rows.tobytes()} if rows[-1] != len(rows) else {}
    metadata |= {MARKED: b""} if table.reading.missing is not None else {}
    return pa.table(columns).replace_schema_metadata(metadata)


def _narrowed(numbers: np.ndarray[Any, Any], known: np.ndarray[Any, Any]) -> pa.Array:
    """Numbers as integers if they all are."""
    whole = (np.rint(numbers[known]) == numbers[known]).all() and np.abs(numbers[known]).max() < 2**53
    array = pa.array(numbers, mask=~known)
    return array.cast(pa.int64()) if whole else array


def _suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix not in _PACKED), "")


def _plain(table: pa.Table) -> pa.Table:
    """A table with the index of pandas as a column like others, and without dictionaries."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(field.type.value_type))
    names = ["index" if name == "__index_level_0__" else name for name in table.column_names]
    return table.rename_columns(names)


def _where(table: pa.Table, reading: Reading) -> pa.Table:
    """The rows that fulfil the option `where`."""
    if not reading.where:
        return table
    name, _, value = reading.where.partition("=")
    file = table.schema.metadata[FILE].decode()
    if name not in table.column_names:
        raise TableError(
            file, f"there is no column {quoted(name)}; the columns are {listed(table.column_names)}"
        )
    texts = table.column(name).cast(pa.large_string())
    rows = np.flatnonzero(pc.equal(texts, value).fill_null(False).to_numpy())
    if not len(rows):
        raise TableError(file, f"no row has {quoted(value)} in this column", column=name)
    metadata = table.schema.metadata | {ROWS: (rows + 1).astype(np.int64).tobytes()}
    return table.take(rows).drop_columns([name]).replace_schema_metadata(metadata)


def _of_lines(path: Path, text: str) -> pa.Table:
    """A table of a file with one JSON object in each line. Blank lines are omitted."""
    objects = list(_objects(path, text))
    names = dict.fromkeys(name for found in objects for name in found)
    if len(names) > MOST_COLUMNS:
        raise TableError(path, f"there are {len(names):,} names; at most {MOST_COLUMNS:,} are read")
    return pa.table(
        {name: _json_column(path, name, [found.get(name) for found in objects]) for name in names}
    )


def _objects(path: Path, text: str) -> Iterator[dict[str, Any]]:
    for row, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise TableError(path, f"the line is not valid JSON ({error})", row=row) from error
            if not isinstance(found, dict):
                raise TableError(path, f"the line must be a JSON object, not {quoted(line.strip())}", row=row)
            yield found


def _json_column(path: Path, name: str, values: list[Any]) -> pa.Array:
    """A column of values of one type: Booleans, numbers, texts, or lists of numbers."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
        first = next(value for value in values if value is not None)
        for row, value in enumerate(values, start=1):
            try:
                pa.array([first, value] if _is_storable(first) else [value])
            except (pa.ArrowException, OverflowError, ValueError, TypeError):
                shown = quoted(json.dumps(value))
                problem = f"{shown} has another type than {quoted(json.dumps(first))} above"
                if not _is_storable(value):
                    problem = f"{shown} has half a character (a surrogate) or a number beyond 64 bits"
                raise TableError(path, problem, column=name, row=row) from error
        raise TableError(path, f"the values have no common type ({error})", column=name) from error


def _is_storable(value: Any) -> bool:
    """Whether Arrow can store a value at all."""
    try:
        pa.array([value])
    except (UnicodeError, OverflowError):
        return False
    except (pa.ArrowException, ValueError, TypeError):
        pass
    return True
