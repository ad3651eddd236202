"""A file as a table: CSV (comma, semicolon or tab) or Parquet in, columns of numbers and of times out.

Rows are counted from 1 under the header, and every complaint names the file, the column and the row.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatewise.tasks.errors import SeriesError
from gatewise.tasks.times import parse_times

Numbers = NDArray[np.float64]

NAMELESS = "(no name, column"
AMBIGUOUS = "dates such as 01/02/2020 could be day first or month first; write them as 2020-02-01"


@dataclass(frozen=True)
class Table:
    """The columns of a file. ``frame`` is indexed by row number; text is still text."""

    file: str
    frame: pd.DataFrame
    decimal_comma: bool = False

    def error(self, problem: str, column: str | None = None, row: int | None = None) -> SeriesError:
        """Build the error that names this file."""
        return SeriesError(self.file, problem, column=column, row=row)

    def column(self, name: str) -> pd.Series[str]:
        """Give a column by name."""
        if name not in self.frame.columns:
            raise self.error(f"there is no column {name!r}; the columns are {_listing(self.frame.columns)}")
        return self.frame[name]

    def is_text(self, name: str) -> bool:
        """Say whether a column holds words: fewer than half of its values are numbers."""
        values = self.column(name)
        present = values.notna()
        return bool(present.any()) and int(self._parse(values).notna().sum()) * 2 < int(present.sum())

    def numbers(self, name: str) -> Numbers:
        """Give a column as float64, missing values as NaN; text or an infinity raises."""
        values = self.column(name)
        parsed = self._parse(values)
        self._refuse(name, parsed.isna() & values.notna(), "{} is not a number")
        self._refuse(name, parsed.abs() == np.inf, "{} is not a finite number")
        return np.asarray(parsed, np.float64)

    def times(self, name: str) -> pd.DatetimeIndex:
        """Give a column as times, those with a zone in UTC; a missing or unreadable one raises."""
        values = self.column(name)
        self._refuse(name, values.isna(), "the time is missing")
        parsed = parse_times(values)
        if parsed is None:
            raise self.error(
                "dates such as 01/02/2020 could be read day first or month first; write them as 2020-02-01",
                name,
            )
        self._refuse(name, parsed.isna(), "{} is not a time that can be read; write it as 2020-12-31 23:00")
        return pd.DatetimeIndex(parsed)

    def _parse(self, values: pd.Series[str]) -> pd.Series[float]:
        if pd.api.types.is_numeric_dtype(values.dtype):
            return pd.to_numeric(values).astype(np.float64)
        if pd.api.types.is_datetime64_any_dtype(values.dtype):
            return pd.Series(np.nan, index=values.index)
        text = values.astype("string").str.strip()
        text = text.str.replace(",", ".", regex=False) if self.decimal_comma else text
        return pd.to_numeric(text, errors="coerce").astype("Float64").astype(np.float64)

    def _refuse(self, name: str, bad: pd.Series[bool], problem: str) -> None:
        if bad.any():
            row = int(self.frame.index[int(np.argmax(bad))])
            raise self.error(problem.format(_quoted(self.frame.at[row, name])), name, row)


def read_table(path: str | Path) -> Table:
    """Read a CSV or Parquet file.

    Raises ``SeriesError`` if the file is missing, empty, not text, ragged, or without rows.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SeriesError(path, f"the file cannot be read ({error.strerror})") from error
    if not content.strip():
        raise SeriesError(path, "the file is empty")
    parquet = content[:4] == b"PAR1" or path.suffix.lower() in (".parquet", ".pq")
    table = _read_parquet(path, content) if parquet else _read_csv(path, content)
    return _checked(table)


def _read_parquet(path: Path, content: bytes) -> Table:
    try:
        frame = pd.read_parquet(io.BytesIO(content), engine="pyarrow")
    except (OSError, ValueError) as error:
        raise SeriesError(path, "the file is not a readable Parquet file") from error
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    return Table(str(path), frame.set_axis(range(1, len(frame) + 1)))


def _read_csv(path: Path, content: bytes) -> Table:
    try:
        text = content.decode("utf-8-sig").lstrip("\r\n")
    except UnicodeDecodeError as error:
        raise SeriesError(path, f"the file is not UTF-8 text (byte {error.start})") from error
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    lines = _parse_csv(path, text, separator)
    frame = lines.iloc[1:].set_axis(_names(lines.iloc[0]), axis="columns")
    return Table(str(path), frame.dropna(how="all"), decimal_comma=separator == ";")


def _parse_csv(path: Path, text: str, separator: str) -> pd.DataFrame:
    """Read all lines as text, the header as line 0, so that the row of data k is line k."""
    try:
        return pd.read_csv(io.StringIO(text), sep=separator, header=None, dtype=str, skip_blank_lines=False)
    except pd.errors.ParserError as error:
        ragged = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if ragged:
            wanted, line, got = (int(number) for number in ragged.groups())
            problem = f"there are {got} fields where the header has {wanted}"
            raise SeriesError(path, problem, row=line - 1) from error
        raise SeriesError(path, "the file is not readable as CSV (a quote may never be closed)") from error


def _names(header: pd.Series[str]) -> list[str]:
    """Give the names in a header; a column without one is named by its place."""
    return [
        f"{NAMELESS} {place})" if pd.isna(name) else name.strip()
        for place, name in enumerate(header, start=1)
    ]


def _checked(table: Table) -> Table:
    if table.frame.empty:
        raise table.error("the file has a header but no rows")
    names = [str(name) for name in table.frame.columns]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise table.error("the header has this name more than once", repeated)
    return Table(table.file, table.frame.set_axis(names, axis="columns"), table.decimal_comma)


def _quoted(value: object, most: int = 40) -> str:
    text = str(value)
    return repr(text if len(text) <= most else text[: most - 1] + "…")


def _listing(names: pd.Index[str], most: int = 12) -> str:
    shown = ", ".join(repr(str(name)) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
