"""Tables and sequences from users' files: CSV and similar, Parquet, JSON lines, plain text, ``.ts``.

Every error names the file, and where it applies the column and the row, counted from 1 below the header.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gatewise.tasks.shared import frames
from gatewise.tasks.shared.lists import are_channels, arrays_of_lists
from gatewise.tasks.shared.reading.content import decoded, read_content
from gatewise.tasks.shared.reading.errors import TableError, listed
from gatewise.tasks.shared.reading.options import Reading
from gatewise.tasks.shared.reading.table import likely_mark
from gatewise.tasks.shared.reading.typed import PARQUET, read_file
from gatewise.tasks.shared.sequences import ID, TIME, Labelled, Sequences, as_sequences, long_format
from gatewise.tasks.shared.timeseries_file import read_ts

__all__ = [
    "Labelled", "Reading", "TableError", "files_of", "labels_of", "read_sequences", "read_table",
    "read_tables", "read_text", "read_ts", "sequences_from",
]  # fmt: skip


def read_table(path: str | Path, reading: Reading | None = None) -> pa.Table:
    """Read a file, or a folder of Parquet files, as an Arrow table.

    The file is CSV with any separator, Parquet, or JSON lines (``.jsonl``, ``.ndjson``), also packed with
    gzip, bzip2, xz or zip. A column of a CSV file is one of whole numbers, numbers or texts, as all its
    values say.

    Raises:
        TableError: the file does not exist, is too large, empty, damaged or ragged, or has no rows; files
            of a folder have different columns.
    """
    tables = list(read_tables(path, reading))
    if len(tables) == 1:
        return tables[0]
    return pa.concat_tables(tables, promote_options="permissive").replace_schema_metadata(
        {frames.FILE: str(path).encode("utf-8", "replace")}
    )


def read_tables(path: str | Path, reading: Reading | None = None) -> Iterator[pa.Table]:
    """Read a file, or the Parquet files of a folder one by one, as `read_table`."""
    first: pa.Schema | None = None
    for file in files_of(path):
        table = read_file(file, reading or Reading())
        first = table.schema if first is None else first
        yield _alike(file, table, first)


def files_of(path: str | Path) -> list[Path]:
    """The file itself, or all Parquet files of a folder in order of name, without hidden ones.

    Raises:
        TableError: the folder has no Parquet files.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in PARQUET and file.is_file())
    shown = [file for file in found if not any(part[0] in "._" for part in file.relative_to(path).parts)]
    if not shown:
        raise TableError(path, "the folder has no .parquet files")
    return shown


def _alike(file: Path, table: pa.Table, first: pa.Schema) -> pa.Table:
    """A table with its columns in the order of the first one of its folder."""
    if set(table.column_names) != set(first.names):
        differ = sorted(set(table.column_names) ^ set(first.names))
        raise TableError(file, f"other files of the folder do not have the same columns: {listed(differ)}")
    for name in first.names:
        wanted, got = first.field(name).type, table.schema.field(name).type
        if len({_kind(wanted), _kind(got), ""}) > 2:
            problem = f"the column has the type {got}, but {wanted} in other files of the folder"
            raise TableError(file, problem, column=name)
    return table.select(first.names)


def _kind(kind: pa.DataType) -> str:
    """Texts, numbers or another type, whatever its width; empty for a column without values."""
    types = pa.types
    if types.is_null(kind):
        return ""
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "texts"
    return "numbers" if types.is_integer(kind) or types.is_floating(kind) else str(kind)


def read_text(path: str | Path, encoding: str | None = None) -> str:
    """Read a text file, by default UTF-8, with ``\\n`` at the ends of lines.

    Raises:
        TableError: the file does not exist, is too large or empty, or is not text in this encoding.
    """
    path = Path(path)
    text = decoded(path, read_content(path), encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_sequences(
    path: str | Path,
    id: str | None = None,
    time: str | None = None,
    label: str | None = None,
    columns: Sequence[str] | None = None,
    reading: Reading | None = None,
) -> Labelled:
    """Read sequences from a ``.ts`` file, or a table as `sequences_from`.

    Raises:
        TableError: the file has no usable sequences. The message names file, column and row.
    """
    path = Path(path)
    if path.suffix.lower() == ".ts":
        return read_ts(path, (reading or Reading()).encoding)
    return sequences_from(read_table(path, reading), id, time, label, columns)


def sequences_from(
    table: Any,
    id: str | None = None,
    time: str | None = None,
    label: str | None = None,
    columns: Sequence[str] | None = None,
) -> Labelled:
    """Sequences from a table, with a label each if `label` is given.

    A table with an `id` and numbers is in long format, with one row a step: its sequences have the
    order in which their ids appear. Of any other table each row is a sequence: a text, a list of numbers
    (Parquet, JSON lines) or one for each channel, a list of lists (steps of several channels), or one number
    in each column.

    Args:
        table: an Arrow table, or a frame of pandas, polars or another library that pyarrow can read.
        id: the column that tells sequences apart; by default ``"id"`` if there is one.
        time: the column that sorts the steps of each sequence: numbers, dates, or texts in ISO 8601; by
            default ``"time"`` if there is one. Otherwise steps are in the order of rows.
        label: the column of labels. In long format it has one value in all rows of a sequence.
        columns: the columns that are read; by default all others of numbers, all of lists of numbers, or the
            only one of texts.

    Raises:
        TableError: a column does not exist or cannot be used, or a value is missing.
    """
    if not isinstance(table, pa.Table):
        table, levels = frames.to_arrow(table)
        id, time = (levels or (None, None)) if id is None else (id, time)
    names = table.column_names
    for name in (id, time, label, *(columns or ())):
        if name is not None:
            frames.column(table, name)
    id = ID if id is None and ID in names and ID not in (label, *(columns or ())) else id
    others = [name for name in names if name not in (id, label)]
    used = others if columns is None else list(columns)
    if id is None:
        return _by_rows(table, label, used)
    if _is_in_each_row(table, id, [name for name in used if name != time]):
        found = _by_rows(table, label, used)
        ids = frames.complete(table, id).to_pylist()
        return replace(found, sequences=replace(found.sequences, ids=ids))
    if time is None and TIME in others and TIME not in (columns or ()):
        time = TIME
    return _long(table, id, time, label, [name for name in others if name != time], columns)


def _is_in_each_row(table: Any, id: str, columns: list[str]) -> bool:
    """Whether each row of a table with ids is a sequence: it has lists, or a text for each id."""
    if any(frames.holds_lists(table, name) for name in columns):
        return True
    if any(_is_usable(table, name) for name in columns):
        return False
    ids = frames.column(table, id)
    return any(frames.holds_texts(table, name) for name in columns) and pc.count_distinct(ids).as_py() == len(
        ids
    )


def _long(
    table: Any, id: str, time: str | None, label: str | None, others: list[str], columns: Sequence[str] | None
) -> Labelled:
    used = [name for name in others if _is_usable(table, name)] if columns is None else list(columns)
    if time is not None:
        table = _with_times(table, time)
    for name in used:
        _refuse_marks(table, name)
    sequences = long_format(table, id, time, used)
    labels = None if label is None else _constant(table, label, frames.grouped(table, id, time))
    return Labelled(_name(table), sequences, labels, _notes(table, [n for n in others if n not in used]))


def _by_rows(table: Any, label: str | None, columns: list[str]) -> Labelled:
    """Sequences of a table with one in each row."""
    labels = None if label is None else labels_of(table, label)
    texts = [name for name in columns if frames.holds_texts(table, name) and not _is_usable(table, name)]
    lists = [name for name in columns if frames.holds_lists(table, name)]
    if len(texts if not lists else [] if are_channels(table, lists) else lists) > 1:
        problem = f"several columns could be the sequences: {listed(lists or texts)}; name one with --column"
        raise frames.error(table, problem)
    if lists:
        sequences, used = as_sequences(arrays_of_lists(table, lists)), lists
        if len(lists) > 1:
            sequences = replace(sequences, channels=tuple(lists))
    elif texts:
        sequences, used = Sequences(frames.texts_of(table, texts[0]), range(len(table))), texts
    else:
        for name in columns:
            _refuse_marks(table, name)
        sequences, used = as_sequences(list(frames.matrix(table, columns))), columns
    return Labelled(_name(table), sequences, labels, _notes(table, [n for n in columns if n not in used]))


def labels_of(table: Any, name: str) -> NDArray[Any]:
    """A column of labels ``[rows]``: texts, whole numbers, Booleans, or numbers.

    Raises:
        TableError: the column does not exist, a label is missing, or is a list or of another type.
    """
    found = frames.complete(table, name)
    if not (frames.holds_texts(table, name) or frames.holds_numbers(table, name)):
        raise frames.error(table, f"the column must hold labels, not {found.type}", name)
    return np.array(found.to_pylist())


def _constant(table: Any, name: str, groups: frames.Groups) -> NDArray[Any]:
    """The label of each sequence of a table in long format."""
    labels = labels_of(table, name)[groups.order]
    starts = np.concatenate([[0], groups.ends[:-1]])
    of_sequence = np.repeat(labels[starts], np.diff(groups.ends, prepend=0))
    if (labels != of_sequence).any():
        place = int(np.argmax(labels != of_sequence))
        sequence = groups.ids[int(np.searchsorted(groups.ends, place, side="right"))]
        problem = (
            f"sequence {sequence!r} has the label {labels[place]!s}, but {of_sequence[place]!s} in other rows"
        )
        raise frames.error(table, problem, name, int(groups.order[place]))
    first: NDArray[Any] = labels[starts]
    return first


def _is_usable(table: Any, name: str) -> bool:
    """Whether a column holds numbers, or does so mostly: then it is refused with the first other value."""
    return frames.holds_numbers(table, name) or name in frames.bad_values(table)


def _with_times(table: Any, name: str) -> Any:
    """The table with a column of texts in ISO 8601 as times."""
    if not frames.holds_texts(table, name):
        return table
    texts = frames.complete(table, name)
    try:
        times = pc.cast(texts, pa.timestamp("ns"))
    except pa.ArrowInvalid:
        try:
            times = pc.cast(texts, pa.timestamp("ns", "UTC"))
        except pa.ArrowInvalid as wrong:
            problem = "the times must be numbers, or written as 2024-01-31 17:24:00"
            raise frames.error(table, problem, name) from wrong
    return table.set_column(table.column_names.index(name), name, times)


def _refuse_marks(table: Any, name: str) -> None:
    """Refuse a column with a number such as -999, far from all others, unless the user named such numbers."""
    metadata = table.schema.metadata or {}
    if frames.FILE in metadata and frames.MARKED not in metadata:
        found = likely_mark(frames.matrix(table, [name])[:, 0])
        if found:
            raise frames.error(table, found[0], name, found[1])


def _name(table: Any) -> str:
    return str((table.schema.metadata or {}).get(frames.FILE, b"the frame").decode())


def _notes(table: Any, left_out: list[str]) -> tuple[str, ...]:
    notes = json.loads((table.schema.metadata or {}).get(frames.NOTES, b"[]"))
    return (*dict.fromkeys(notes), *([f"without the columns {listed(left_out)}"] if left_out else ()))
