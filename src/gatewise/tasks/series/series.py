"""A series on a regular clock, and the function that reads it from a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatewise.tasks.series.clock import Clock, IrregularClock, RowClock
from gatewise.tasks.series.columns import Columns, choose
from gatewise.tasks.series.errors import SeriesError
from gatewise.tasks.series.files import read_file
from gatewise.tasks.series.grid import Grid, regular
from gatewise.tasks.series.stamps import read_times
from gatewise.tasks.shared.reading.options import Reading
from gatewise.tasks.shared.reading.table import Table, table_of


@dataclass(frozen=True)
class TimeSeries:
    """Columns of numbers on a regular clock; one column is the target.

    Attributes:
        name: where the series comes from, for messages.
        frame: float64 ``[N steps, columns]``. The index holds regular times, in the time zone of the input if
            it has one, or row numbers if there are no times. Missing values are NaN.
        target: the column to forecast. The others are inputs.
        clock: the clock of the index.
        rows: ``[N]``, the row of the file for each step, 0 for a step that is missing in the file.
        left_out: columns of the file that are not used (words, or no values).
        notes: decisions made while reading, in words.
        known: the inputs whose future is known. The others are past inputs.
        ahead: the steps after the last one with a target: float64 ``[A steps, known inputs]``.

    Example:
        >>> import numpy as np, pandas as pd
        >>> days = pd.date_range("2024-01-01", periods=60, freq="D")
        >>> series = TimeSeries.from_frame(pd.DataFrame({"sold": np.arange(60.0) % 7}, index=days), "sold")
        >>> len(series), series.clock.span(1), series.clock.seasons()
        (60, '1 day', (7, 365))
    """

    name: str
    frame: pd.DataFrame
    target: str
    clock: Clock
    rows: NDArray[np.int64]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    ahead: pd.DataFrame = field(default_factory=pd.DataFrame)

    @classmethod
    def of(
        cls,
        table: Table,
        target: str | None = None,
        time: str | Sequence[str] | None = None,
        clock: Clock | None = None,
    ) -> TimeSeries:
        """Make a series from a table. Columns that are not named are chosen as in `read_series`.

        With a `clock` the rows, of which there may be few, are placed on it.
        """
        if table.reading.where:
            table = table.rows_where(table.reading.where)
        chosen = choose(table, target, time)
        grid = _grid(table, chosen, clock)
        notes = tuple(dict.fromkeys(table.notes))
        return cls.on_grid(table.file, grid, chosen, notes)

    @classmethod
    def on_grid(cls, name: str, grid: Grid, chosen: Columns, notes: tuple[str, ...] = ()) -> TimeSeries:
        """Make a series of columns on a grid. With known inputs, its end is the last value of the target."""
        known, frame, rows = chosen.known, grid.frame, grid.rows
        stop = len(frame)
        if known:
            stop -= int(np.argmax(frame[chosen.target].notna().to_numpy()[::-1]))
        ahead = frame.iloc[stop:][list(known)]
        return cls(
            name,
            frame.iloc[:stop],
            chosen.target,
            grid.clock,
            rows[:stop],
            chosen.left_out,
            notes,
            known,
            ahead,
        )

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        target: str,
        name: str = "the frame",
        reading: Reading | None = None,
        *,
        known: Sequence[str] | None = None,
        past: Sequence[str] | None = None,
    ) -> TimeSeries:
        """Make a series from a frame whose index holds times. A frame is read like a file.

        Args:
            frame: the columns.
            target: the column to forecast.
            name: a name for messages.
            reading: options for what the values do not decide.
            known: inputs whose future is known; rows after the last value of the target are that future.
            past: the past inputs, instead of all other columns of numbers.

        Raises:
            SeriesError: as in `read_series`.
        """
        reading = with_inputs(reading, known, past)
        if not isinstance(frame.index, pd.DatetimeIndex | pd.PeriodIndex):
            raise TypeError(
                f"frame must be an index of times (DatetimeIndex). Got {type(frame.index).__name__}"
            )
        time = str(frame.index.name or "time")
        while time in {str(column) for column in frame.columns}:
            time = f"{time} (index)"
        flat = frame.reset_index(drop=True)
        flat.insert(0, time, pd.Series(frame.index), allow_duplicates=True)
        return cls.of(table_of(flat, name, reading), str(target), time)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def values(self) -> NDArray[np.float64]:
        """The target, float64 `[N]`, missing values as NaN."""
        return self.frame[self.target].to_numpy(np.float64)

    @property
    def times(self) -> pd.Index[Any]:
        """The time of every step."""
        return self.frame.index

    @property
    def positions(self) -> NDArray[np.float64]:
        """The position of every step on the clock: whole numbers; on an irregular clock seconds."""
        exact = self.clock.exact(self.times)
        return exact if isinstance(self.clock, IrregularClock) else np.rint(exact)

    @property
    def unit(self) -> str:
        """The unit in brackets in the name of the target, as in ``"temperature (°C)"``; else ""."""
        found = re.search(r"[(\[]([^()\[\]]+)[)\]]\s*$", self.target)
        return found.group(1) if found else ""

    def when(self, step: int) -> str:
        """The time of a step in words."""
        return self.clock.label(self.times[step])

    def head(self, steps: int) -> TimeSeries:
        """The first `steps` steps as a series. The known inputs of the others become `ahead`."""
        frame, ahead = self.frame.iloc[:steps], self.ahead
        if self.known:
            ahead = pd.concat([self.frame.iloc[steps:][list(self.known)], ahead])
        return replace(self, frame=frame, rows=self.rows[:steps], ahead=ahead)

    def future(self, steps: int) -> pd.Index[Any]:
        """The times of the `steps` steps after the last one."""
        if isinstance(self.clock, IrregularClock):
            known = self.ahead.index[:steps]
            last = self.clock.exact((known if len(known) else self.times)[-1:])[0]
            more = np.arange(1, 1 + steps - len(known))
            return known.append(self.clock.times(last + self.clock.gap * more))
        last = int(np.rint(self.clock.exact(self.times[-1:]))[0])
        return self.clock.times(np.arange(last + 1, last + 1 + steps))

    def require_ahead(self, steps: int) -> None:
        """Refuse a series whose known inputs have no value in one of the `steps` steps after the last one.

        Raises:
            SeriesError: the message names the input, and the first time without a value.
        """
        for name in self.known:
            missing = np.ones(steps, bool)
            missing[: len(self.ahead)] = self.ahead[name].isna().to_numpy()[:steps]
            if missing.any():
                time = self.clock.label(self.future(steps)[int(missing.argmax())])
                problem = f"the input is known ahead, but has no value at {time}, which is to be forecast"
                raise SeriesError(self.name, problem, column=name)

    def error(self, problem: str, first: int, stop: int | None = None) -> SeriesError:
        """An error that names the first row of the file in the steps ``first .. stop - 1``."""
        rows = self.rows[first:stop]
        row = int(rows[rows > 0][0]) if (rows > 0).any() else None
        return SeriesError(self.name, problem, column=self.target, row=row)


def read_series(
    path: str | Path,
    target: str | None = None,
    time: str | Sequence[str] | None = None,
    reading: Reading | None = None,
) -> TimeSeries:
    """Read a series from a CSV or Parquet file, JSON lines, or a folder of Parquet files.

    By default, `time` is the only column of times, and `target` the only column of numbers. If there are
    several, the error lists them. `time` may name several columns (a day and a time of day), or be
    ``"none"``: then rows are numbered, as in a file without times. Rows may come in any order and have gaps.
    `reading` holds options for what the values of the file do not decide.

    Raises:
        SeriesError: the file holds no usable series. The message names file, column and row, and a remedy.
    """
    return TimeSeries.of(read_file(path, reading), target, time)


def with_inputs(reading: Reading | None, known: Sequence[str] | None, past: Sequence[str] | None) -> Reading:
    """The options, with the inputs that are named."""
    reading = reading or Reading()
    if known is not None:
        reading = replace(reading, known=tuple(known))
    return reading if past is None else replace(reading, inputs=tuple(past))


def _grid(table: Table, chosen: Columns, clock: Clock | None) -> Grid:
    times = read_times(table, chosen.time) if chosen.time else None
    columns = {name: table.numbers(name) for name in (chosen.target, *chosen.inputs)}
    if clock is None and np.isnan(columns[chosen.target]).all():
        raise table.error(f"all {len(table.frame)} values are missing", chosen.target)
    if times is not None:
        return regular(table, pd.DataFrame(columns, index=times), chosen.time, clock)
    if clock is not None and not isinstance(clock, RowClock):
        raise table.error("there is no column of times; name it with --time")
    table.notes.append("rows numbered, in the place of times")
    rows, clock = table.frame.index.to_numpy(np.int64), RowClock()
    return Grid(pd.DataFrame(columns, index=clock.times(np.arange(1, len(rows) + 1))), clock, rows)
