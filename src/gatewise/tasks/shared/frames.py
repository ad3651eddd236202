"""Frames of any library as Arrow tables, and their rows grouped into sequences."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gatewise.files import quoted
from gatewise.tasks.shared.reading.errors import TableError, listed

Number = TypeVar("Number", bound=np.generic)

# Metadata of a table that was read from a file: its name; numbers of rows, if not 1, 2, 3, ...; decisions in
# words; for columns that are mostly numbers, the index of the first other value and the problem with it;
# whether the user said which numbers mark missing values.
FILE, ROWS, NOTES = b"gatewise.file", b"gatewise.rows", b"gatewise.notes"
BAD, MARKED = b"gatewise.bad", b"gatewise.marked"


def is_frame(X: Any) -> bool:
    """Whether something is a frame of pandas, polars, pyarrow or another library with Arrow's interface."""
    return hasattr(X, "__arrow_c_stream__") and hasattr(X, "columns")


def error(table: Any, problem: str, column: str | None = None, index: int | None = None) -> TableError:
    """An error about a table. `index` counts rows from 0; the message counts as the file does, from 1."""
    metadata = table.schema.metadata or {}
    row = None if index is None else index + 1
    if row is not None and ROWS in metadata:
        row = int(np.frombuffer(metadata[ROWS], np.int64)[row - 1])
    return TableError(metadata.get(FILE, b"X").decode(), problem, column=column, row=row)


def taken(table: Any, rows: NDArray[np.int64]) -> Any:
    """Some rows of an Arrow table, which errors still count as the file does."""
    metadata = dict(table.schema.metadata or {})
    before = np.frombuffer(metadata[ROWS], np.int64) if ROWS in metadata else np.arange(1, len(table) + 1)
    metadata[ROWS] = before[rows].astype(np.int64).tobytes()
    return table.take(rows).replace_schema_metadata(metadata)


def to_arrow(X: Any) -> tuple[Any, tuple[str, str] | None]:
    """A frame as a pyarrow.Table, and the names of the two levels of its index, if it has them.

    Raises:
        TableError: a column has values of several types, or two columns of pandas have the same name.
    """
    import pyarrow as pa

    levels = None
    if hasattr(X, "reset_index"):  # of pandas
        if X.columns.has_duplicates:
            repeated = str(X.columns[X.columns.duplicated()][0])
            raise TableError("X", "the frame has this name more than once", column=repeated)
        if X.index.nlevels == 2:
            first, second = (
                str(name or default) for name, default in zip(X.index.names, ("id", "time"), strict=True)
            )
            X, levels = X.reset_index(names=[first, second]), (first, second)
        else:
            X = X.reset_index(drop=True)
    try:
        table = pa.table(X)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as wrong:
        problem = f"each column must have one type ({quoted(str(wrong))[:200]})"
        raise TableError("X", problem) from wrong
    return table, levels


@dataclass(frozen=True)
class Groups:
    """The rows of a table that belong to each sequence.

    Attributes:
        ids: of each sequence, in the order of its first row.
        order: ``[rows]``, the rows, those of the first sequence first, each in the order of its steps.
        ends: ``[N]``, where in `order` each sequence ends.
    """

    ids: list[Any]
    order: NDArray[np.int64]
    ends: NDArray[np.int64]

    @cached_property
    def in_order(self) -> bool:
        """Whether the rows of the table are in this order already."""
        return bool((np.diff(self.order) == 1).all())

    def split(self, rows: NDArray[Number]) -> Iterator[NDArray[Number]]:
        """The part of a column or matrix that belongs to each sequence."""
        ordered = rows if self.in_order else rows[self.order]
        yield from np.split(ordered, self.ends[:-1])

    def row(self, sequence: int, step: int) -> int:
        """The row of a step, counted from 0."""
        return int(self.order[(self.ends[sequence - 1] if sequence else 0) + step])


def grouped(table: Any, id: str, time: str | None = None) -> Groups:
    """Group the rows of an Arrow table by an id, and sort those of each sequence by a time.

    Raises:
        TableError: a column does not exist, an id or a time is missing, or there are no rows.
    """
    if not len(table):
        raise ValueError(
            "Found array with 0 sample(s) (no rows in the frame) while a minimum of 1 is required."
        )
    encoded = complete(table, id).combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    ids = encoded.dictionary.to_pylist()
    keys = (codes,) if time is None else (_ranks(table, time), codes)
    order = np.lexsort(keys).astype(np.int64)
    return Groups(ids, order, np.cumsum(np.bincount(codes, minlength=len(ids))))


def _ranks(table: Any, name: str) -> NDArray[np.int64]:
    """The place of each time among all times, equal for equal ones."""
    import pyarrow as pa
    import pyarrow.compute as pc

    times = complete(table, name)
    try:
        return np.asarray(pc.rank(times, tiebreaker="dense"), np.int64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as wrong:
        raise error(table, f"the column must hold times, not {times.type}", name) from wrong


def complete(table: Any, name: str) -> Any:
    """A column without missing values.

    Raises:
        TableError: a value is missing.
    """
    found = column(table, name)
    if found.null_count or str(found.type) in ("float", "double", "halffloat"):
        missing = found.is_null(nan_is_null=True).to_pylist()
        if True in missing:
            raise error(table, "the value is missing", name, missing.index(True))
    return found


def column(table: Any, name: str) -> Any:
    """A column of an Arrow table, without dictionary encoding.

    Raises:
        TableError: there is no such column.
    """
    import pyarrow as pa

    if name not in table.column_names:
        problem = f"there is no column {name!r}; the columns are {listed(table.column_names)}"
        raise error(table, problem)
    found = table.column(name)
    return found.cast(found.type.value_type) if pa.types.is_dictionary(found.type) else found


def holds_texts(table: Any, name: str) -> bool:
    """Whether a column holds texts."""
    import pyarrow as pa

    kind = column(table, name).type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def holds_numbers(table: Any, name: str) -> bool:
    """Whether a column holds numbers, Booleans, or nothing."""
    import pyarrow as pa

    kind, types = column(table, name).type, pa.types
    return any(
        test(kind)
        for test in (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    )


def holds_lists(table: Any, name: str) -> bool:
    """Whether the entries of a column are lists."""
    import pyarrow as pa

    kind = column(table, name).type
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def texts_of(table: Any, name: str) -> list[str]:
    """A column of texts.

    Raises:
        TableError: the column holds something else, or a text is missing.
    """
    if not holds_texts(table, name):
        raise error(table, f"the column must hold texts, not {column(table, name).type}", name)
    texts: list[str] = complete(table, name).to_pylist()
    return texts


def bad_values(table: Any) -> dict[str, tuple[int, str]]:
    """For columns of a file that are mostly numbers: the index of the first other value, and the problem."""
    found = json.loads((table.schema.metadata or {}).get(BAD, b"{}"))
    return {name: (int(row), str(problem)) for name, (row, problem) in found.items()}


def matrix(table: Any, names: Sequence[str]) -> NDArray[np.float64]:
    """Columns of numbers, float64 ``[rows, columns]``, with NaN for missing values.

    Raises:
        TableError: a column does not exist, or holds no numbers.
    """
    import pyarrow as pa

    found = np.empty((len(table), len(names)))
    for place, name in enumerate(names):
        if name in (bad := bad_values(table)):
            row, problem = bad[name]
            raise error(table, problem, name, row)
        if not holds_numbers(table, name):
            raise error(table, f"the column must hold numbers, not {column(table, name).type}", name)
        numbers = column(table, name).cast(pa.float64(), safe=False)
        found[:, place] = numbers.to_numpy()
    return found
