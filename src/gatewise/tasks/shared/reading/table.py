"""A table: the columns of a CSV or Parquet file, or of a frame, as numbers and as texts.

Rows are counted from 1 below the header. Every error names the file, the column and the row.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
from numpy.typing import NDArray

from gatewise.tasks.shared.reading.content import decoded, read_content
from gatewise.tasks.shared.reading.delimited import MOST_COLUMNS, parse_delimited
from gatewise.tasks.shared.reading.errors import TableError, listed, quoted
from gatewise.tasks.shared.reading.numbers import (
    NumberForm,
    Numbers,
    Tidied,
    TwoReadingsError,
    decide,
    tidied,
)
from gatewise.tasks.shared.reading.options import Reading

MOST_VALUES = 100_000_000  # rows times columns
LARGEST = 1e100  # largest magnitude; its square does not overflow
NA = "NA N/A n/a <NA> #N/A nan NaN -nan -NaN NULL null None".split()  # in a column of numbers: missing
MARK = 12  # most characters of a mark for missing values
LEAST_REPEATED, LEAST_OTHERS = 3, 10  # a likely mark: fewest rows with it, fewest others


@dataclass(frozen=True)
class Table:
    """The columns of a file. `frame` is indexed by row number, and columns of text are not converted.

    Attributes:
        file: where the table comes from, for messages.
        frame: the columns, with unique names.
        reading: the options for what the file leaves open.
        separator: the field separator of a text file; empty for other files.
        notes: decisions made while reading, in words.
    """

    file: str
    frame: pd.DataFrame
    reading: Reading = field(default_factory=Reading)
    separator: str = ""
    notes: list[str] = field(default_factory=list)

    def error(self, problem: str, column: str | None = None, row: int | None = None) -> TableError:
        """An error that names this file."""
        return TableError(self.file, problem, column=column, row=row)

    def column(self, name: str) -> pd.Series[Any]:
        """A column by name."""
        if name not in self.frame.columns:
            raise self.error(f"there is no column {quoted(name)}; the columns are {listed(self.names)}")
        return self.frame[name]

    @property
    def names(self) -> list[str]:
        """The names of all columns."""
        return [str(name) for name in self.frame.columns]

    @cached_property
    def form(self) -> NumberForm:
        """The number format, decided by all columns together."""
        given = self.reading
        forms = [
            NumberForm(decimal, thousands)
            for decimal in (".", ",")
            for thousands in ("", ".", ",", " ", "'")
            if decimal != thousands
            and given.decimal in (None, decimal)
            and given.thousands in (None, thousands)
        ]
        try:
            form = decide({name: found.text for name, found in self._texts.items()}, forms, self.separator)
        except TwoReadingsError as two:
            raise self._two_readings(two) from None
        if form != NumberForm():
            self.notes.append(f"numbers with {form}")
        return form

    def is_words(self, name: str) -> bool:
        """Whether a column holds words: fewer than half of its values are numbers."""
        values = self.column(name)
        if name not in self._words:
            if name in self._texts:
                text = self._texts[name].text.dropna()
                self._words[name] = int(self.form.matches(text).sum()) * 2 < len(text)
            else:
                self._words[name] = not _is_number(values.dtype)
        return self._words[name]

    def is_empty(self, name: str) -> bool:
        """Whether a column has no values."""
        values = self._texts[name].text if name in self._texts else self.column(name)
        return not values.notna().any()

    def numbers(self, name: str) -> Numbers:
        """A column as float64, missing values as NaN. Text, or a number beyond `LARGEST`, is an error."""
        values = self.column(name)
        if name in self._texts:
            tidy = self._texts[name]
            numbers = self.form.read(tidy.text)
            self.refuse(name, np.asarray(tidy.text.notna() & np.isnan(numbers)), "{} is not a number")
            self._note(name, tidy)
        elif _is_number(values.dtype):
            numbers = np.asarray(
                pd.to_numeric(values).astype("Float64").to_numpy(np.float64, na_value=np.nan)
            )
        else:
            raise self.error("the column holds no numbers", name)
        self.refuse(name, np.isinf(numbers), "{} is not a finite number")
        self.refuse(name, np.abs(numbers) > LARGEST, f"{{}} is beyond {LARGEST:g}, the most that is read")
        return self._without_marks(name, numbers)

    def parsed(self, name: str) -> tuple[Numbers, NDArray[np.bool_]]:
        """A column of text as numbers, NaN for others, and a mask of the values that are not numbers."""
        text = self._texts[name].text
        text = text.mask(text.isin(NA))
        numbers = self.form.read(text)
        numbers = np.where(np.abs(numbers) <= LARGEST, numbers, np.nan)
        failed = np.asarray(text.notna() & np.isnan(numbers))
        return self._without_given_marks(numbers), failed

    def refuse(self, name: str, bad: NDArray[np.bool_], problem: str) -> None:
        """Raise an error for the first row in the mask `bad`. ``{}`` in the problem stands for its value."""
        if bad.any():
            place = int(np.argmax(bad))
            value = str(self.frame[name].iloc[place])
            problem = problem.replace("{}", quoted(value))
            if problem.endswith("not a number"):
                problem = not_a_number(value)
            raise self.error(problem, name, int(self.frame.index[place]))

    def rows_where(self, condition: str, kept: Collection[str] = ()) -> Table:
        """The rows that fulfil ``"COLUMN=VALUE"``, without that column unless it is one of `kept`."""
        name, _, value = condition.partition("=")
        while name not in self.frame.columns and "=" in value:  # a name may contain = too
            more, _, value = value.partition("=")
            name = f"{name}={more}"
        found = self.frame[self.column(name).astype("string").str.strip().fillna("") == value.strip()]
        if found.empty:
            others = listed(list(self.frame[name].astype("string").dropna().unique()[:13]))
            raise self.error(f"no row has {quoted(value)} in this column; it has {others}", name)
        notes = [*self.notes, f"rows with {condition}"]
        found = found if name in kept else found.drop(columns=name)
        return Table(self.file, found, self.reading, self.separator, notes)

    @cached_property
    def _words(self) -> dict[str, bool]:
        return {}

    @cached_property
    def _texts(self) -> dict[str, Tidied]:
        """All columns of text, tidied, with marks of missing values removed."""
        texts = {}
        for name in self.names:
            values = self.frame[name]
            if not (_is_number(values.dtype) or pd.api.types.is_datetime64_any_dtype(values.dtype)):
                tidy = tidied(_as_text(values))
                marks = self.reading.missing or ()
                texts[name] = tidy._replace(text=tidy.text.mask(tidy.text.isin(marks))) if marks else tidy
        return texts

    def _note(self, name: str, tidy: Tidied) -> None:
        if tidy.sign:
            self.notes.append(f"{quoted(name)} without its {tidy.sign}")
        if tidy.blanks:
            self.notes.append(f"{listed(list(tidy.blanks), 3)} in {quoted(name)} as missing")

    def _without_marks(self, name: str, numbers: Numbers) -> Numbers:
        """Remove numbers that mark missing values. Unless `missing` is set, refuse a likely mark."""
        if self.reading.missing is not None:
            return self._without_given_marks(numbers)
        if found := likely_mark(numbers):
            problem, place = found
            raise self.error(problem, name, int(self.frame.index[place]))
        return numbers

    def _without_given_marks(self, numbers: Numbers) -> Numbers:
        marks = [float(mark) for mark in self.reading.missing or () if _is_float(mark)]
        return np.where(np.isin(numbers, marks), np.nan, numbers)

    def _two_readings(self, two: TwoReadingsError) -> TableError:
        value = pd.Series([two.value])
        ways = " or as ".join(
            f"{form.read(value)[0]:.12g} (--decimal {form.decimal} --thousands {quote(form.thousands)})"
            for form in two.forms[:2]
        )
        return self.error(f"{quoted(two.value)} can be read as {ways}; say which", two.column)


def read_table(path: str | Path, reading: Reading | None = None, *, words: bool = False) -> Table:
    """Read a CSV or Parquet file. If it holds `words`, then `NA`, `null` and the like are no missing values.

    Raises:
        TableError: the file does not exist, is too large, empty, not text, ragged, or without rows.
    """
    path, reading = Path(path), reading or Reading()
    content = read_content(path)
    if content[:4] == b"PAR1" or path.suffix.lower() in (".parquet", ".pq"):
        return table_of(_read_parquet(path, content), str(path), reading)
    return read_delimited(path, content, reading, words=words)


def read_delimited(path: Path, content: bytes, reading: Reading, *, words: bool = False) -> Table:
    """Read the content of a CSV file. If `words`, texts such as ``NA`` are not missing values.

    Raises:
        TableError: as in `read_table`.
    """
    text = decoded(path, content, reading.encoding)
    frame, separator, notes = parse_delimited(path, text, reading.skip_rows, words=words)
    return _checked(Table(str(path), frame, reading, separator, notes))


def table_of(frame: pd.DataFrame, name: str, reading: Reading) -> Table:
    """Make a table from a frame with any names. Its rows are counted from 1.

    Raises:
        TableError: as in `read_table`.
    """
    named = frame.set_axis([str(column) for column in frame.columns], axis="columns")
    return _checked(Table(name, named.set_axis(range(1, len(named) + 1)), reading))


def read_parquet(path: Path, content: bytes) -> Any:
    """Read the content of a Parquet file as a pyarrow.Table.

    Raises:
        TableError: the file is too large, or damaged.
    """
    try:
        file = pyarrow.parquet.ParquetFile(io.BytesIO(content))
        rows, columns = file.metadata.num_rows, file.metadata.num_columns
        if rows * columns > MOST_VALUES or columns > MOST_COLUMNS:
            most = f"at most {MOST_VALUES:,} values in {MOST_COLUMNS:,} columns"
            raise TableError(path, f"the file has {rows:,} rows of {columns:,} columns; {most} are read")
        arrow = file.read()
        arrow.validate(full=True)
    except TableError:
        raise
    except Exception as error:  # a damaged file can cause any exception of the library
        raise TableError(path, "the file is not a readable Parquet file") from error
    return arrow


def _read_parquet(path: Path, content: bytes) -> pd.DataFrame:
    """Read a Parquet file, ignoring pandas' metadata except for the name of the index."""
    arrow = read_parquet(path, content)
    try:
        frame = arrow.to_pandas(ignore_metadata=True)
    except Exception as error:  # as above
        raise TableError(path, "the file is not a readable Parquet file") from error
    names = ["index" if name == "__index_level_0__" else str(name) for name in frame.columns]
    return pd.DataFrame(frame.set_axis(names, axis="columns"))


def _checked(table: Table) -> Table:
    names = pd.Index(table.names)
    if len(names) > MOST_COLUMNS:
        raise table.error(f"there are {len(names):,} columns; at most {MOST_COLUMNS:,} are read")
    if table.frame.empty:
        raise table.error("the file has a header but no rows")
    if names.has_duplicates:
        raise table.error("the header has this name more than once", str(names[names.duplicated()][0]))
    return table


def _as_text(values: pd.Series[Any]) -> pd.Series[str]:
    text = values if values.dtype == "str" else values.astype(object).map(str, na_action="ignore")
    return text.astype("str")


def _is_number(dtype: Any) -> bool:
    return bool(pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype))


def _is_float(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text.replace(",", "."))))
    except ValueError:
        return False


def not_a_number(value: str) -> str:
    """The problem with a value that is not a number, and a remedy if there is one."""
    if value.lower().lstrip("+-") in ("inf", "infinity"):
        return f"{quoted(value)} is not a finite number"
    hint = f"; if it marks a missing value: --missing {quote(value)}" if len(value) <= MARK else ""
    return f"{quoted(value)} is not a number{hint}"


def likely_mark(numbers: Numbers) -> tuple[str, int] | None:
    """The problem with numbers that contain a likely mark of missing values, and the index of the first."""
    mark = _likely_mark(numbers)
    if mark is None:
        return None
    rows = int((numbers == mark).sum())
    problem = f"{mark:g} stands in {rows} rows, far from all other values; if it marks missing ones: "
    problem += f"--missing={mark:g}; if it is a value: --missing none"
    return problem, int(np.argmax(numbers == mark))


def _likely_mark(numbers: Numbers) -> float | None:
    """A number that looks like a mark of missing values, such as -200, -999 or 9999 far from all others."""
    known = numbers[~np.isnan(numbers)]
    if len(known) <= LEAST_OTHERS:
        return None
    for mark in (float(known.min()), float(known.max())):
        written = mark <= -9 or {*f"{mark:g}".replace(".", "")} == {"9"}
        others = known[known != mark] if written else known
        if len(known) - len(others) >= LEAST_REPEATED and len(others) > LEAST_OTHERS:
            low, high = float(others.min()), float(others.max())
            if high > low and max(low - mark, mark - high) > high - low:
                return mark
    return None
