"""A panel: several series of the same columns and the same step, and what describes each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatewise.runtime.jobs.encoding import id_of
from gatewise.tasks.series.clock import Clock, RowClock
from gatewise.tasks.series.columns import Columns, choose
from gatewise.tasks.series.errors import SeriesError
from gatewise.tasks.series.files import read_file
from gatewise.tasks.series.grid import Grid, clock_of, in_order, placed
from gatewise.tasks.series.series import TimeSeries, with_inputs
from gatewise.tasks.series.stamps import read_times
from gatewise.tasks.shared.reading.errors import quoted
from gatewise.tasks.shared.reading.options import Reading
from gatewise.tasks.shared.reading.table import Table, table_of

ID, VALUE = "id", "value"

Static = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Panel:
    """Several series with the same target, columns and step. Each has its own start and length.

    Attributes:
        name: where the panel comes from, for messages.
        series: the series, in the order of their ids.
        ids: the id of each series.
        static: attributes of the series by name: ``[P]`` numbers (float64) or texts, for ``P`` series.
        id: the name of the ids; None for a series alone.
        left_out: columns of the file that are not used.
        notes: decisions made while reading, in words.
        wide: whether the table had a column for each series.
        empty: ids of the table that have no value of the target, and are not in the panel.

    Example:
        >>> days = pd.date_range("2024-01-01", periods=60, freq="D", name="day")
        >>> shops = [pd.DataFrame({"shop": shop, "sold": np.arange(60.0) % 7}, index=days) for shop in "BA"]
        >>> panel = Panel.from_frame(pd.concat(shops), "sold", "shop")
        >>> len(panel), panel.ids, len(panel.series[0])
        (2, ('A', 'B'), 60)
    """

    name: str
    series: tuple[TimeSeries, ...]
    ids: tuple[Any, ...]
    static: Static = field(default_factory=dict)
    id: str | None = ID
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    wide: bool = False
    empty: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if not self.series:
            raise SeriesError(self.name, "there is no series with a value of the target")
        if len({id_of(name) for name in self.ids}) < len(self.ids):
            raise SeriesError(self.name, "two ids are written alike", column=self.id)

    @classmethod
    def of(
        cls,
        table: Table,
        target: str | None = None,
        id: str = ID,
        time: str | Sequence[str] | None = None,
        static: Sequence[str] = (),
        clock: Clock | None = None,
    ) -> Panel:
        """Make a panel from a table in long format: a row for each series and time.

        With a `clock` the rows, of which there may be few, are placed on it.

        Raises:
            SeriesError: as in `read_panel`.
        """
        if table.reading.where:
            table = table.rows_where(table.reading.where, (id, *static))
        for name in (id, *static):
            table.column(name)
        table.refuse(id, np.asarray(table.column(id).isna()), "the id is missing")
        chosen = choose(table, target, time, id, static)
        columns = pd.DataFrame({name: table.numbers(name) for name in (chosen.target, *chosen.inputs)})
        if chosen.time:
            columns.index = read_times(table, chosen.time)
        ids, groups = _groups(table, id)
        described = {name: _described(table, name, groups) for name in static}
        grids = _grids(table, columns, groups, chosen, clock)
        notes = tuple(dict.fromkeys(table.notes))
        kept = [place for place, grid in enumerate(grids) if clock or grid.frame[chosen.target].notna().any()]
        if len(kept) < len(ids):
            notes = (*notes, f"without {len(ids) - len(kept):,} series that have no value of the target")
        series = tuple(
            TimeSeries.on_grid(f"{table.file}, {id} {quoted(ids[place])}", grids[place], chosen)
            for place in kept
        )
        static_of = {name: values[kept] for name, values in described.items()}
        names = tuple(ids[place] for place in kept)
        empty = tuple(name for place, name in enumerate(ids) if place not in kept)
        return cls(table.file, series, names, static_of, id, chosen.left_out, notes, empty=empty)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        target: str,
        id: str = ID,
        time: str | None = None,
        *,
        known: Sequence[str] | None = None,
        static: Sequence[str] = (),
        past: Sequence[str] | None = None,
        name: str = "the frame",
        reading: Reading | None = None,
    ) -> Panel:
        """Make a panel from a frame in long format: a row for each series and time.

        Args:
            frame: the rows. Times, and ids, may be in its index.
            target: the column to forecast.
            id: the column that tells series apart.
            time: the column of times; by default the index, or the only column of times.
            known: inputs whose future is known; rows after the last value of the target are that future.
            static: attributes of the series: columns of numbers or texts, constant within a series.
            past: the past inputs, instead of all other columns of numbers.
            name: a name for messages.
            reading: options for what the values do not decide.

        Raises:
            SeriesError: as in `read_panel`.
        """
        named = [str(level or f"time{place or ''}") for place, level in enumerate(frame.index.names)]
        indexed = isinstance(frame.index, pd.DatetimeIndex | pd.PeriodIndex | pd.MultiIndex)
        time = time or (next((level for level in named if level != id), None) if indexed else None)
        flat = frame.reset_index(names=named) if indexed else frame.reset_index(drop=True)
        return cls.of(table_of(flat, name, with_inputs(reading, known, past)), str(target), id, time, static)

    @classmethod
    def from_wide(
        cls,
        frame: pd.DataFrame,
        columns: Sequence[str] | None = None,
        *,
        name: str = "the frame",
        reading: Reading | None = None,
    ) -> Panel:
        """Make a panel from a frame with a column for each series, by default all columns of numbers.

        A series begins and ends with its first and last value.

        Raises:
            SeriesError: as in `read_panel`.
        """
        time = None
        if isinstance(frame.index, pd.DatetimeIndex | pd.PeriodIndex):
            time = str(frame.index.name or "time")
            frame = frame.reset_index(names=time)
        return cls.of_wide(table_of(frame, name, reading or Reading()), columns, time)

    @classmethod
    def of_wide(
        cls,
        table: Table,
        columns: Sequence[str] | None = None,
        time: str | Sequence[str] | None = None,
        clock: Clock | None = None,
    ) -> Panel:
        """Make a panel from a table with a column for each series; for `clock` see `of`."""
        if table.reading.where:
            table = table.rows_where(table.reading.where)
        named = tuple(dict.fromkeys(table.reading.inputs or () if columns is None else columns))
        if named:
            table = replace(table, reading=replace(table.reading, inputs=named[1:]))
        chosen = choose(table, named[0] if named else _first(table, time), time)
        names = sorted((chosen.target, *chosen.inputs))
        read = pd.DataFrame({name: table.numbers(name) for name in names})
        if chosen.time:
            read.index = read_times(table, chosen.time)
        (grid,) = _grids(table, read, [np.arange(len(read))], chosen, clock)
        roles = Columns(chosen.time, VALUE, (), ())
        series, ids = [], []
        for column in names:
            values = grid.frame[column].to_numpy()
            if len(valued := np.flatnonzero(~np.isnan(values))):
                part = slice(valued[0], valued[-1] + 1)
                own = Grid(
                    grid.frame.iloc[part][[column]].set_axis([VALUE], axis=1), grid.clock, grid.rows[part]
                )
                series.append(TimeSeries.on_grid(f"{table.file}, column {quoted(column)}", own, roles))
                ids.append(column)
        notes = tuple(dict.fromkeys(table.notes))
        return cls(table.file, tuple(series), tuple(ids), {}, ID, chosen.left_out, notes, wide=True)

    def __len__(self) -> int:
        return len(self.series)

    def __iter__(self) -> Iterator[TimeSeries]:
        return iter(self.series)

    @property
    def target(self) -> str:
        """The column to forecast."""
        return self.series[0].target

    @property
    def known(self) -> tuple[str, ...]:
        """The inputs whose future is known."""
        return self.series[0].known

    @property
    def clock(self) -> Clock:
        """The clock of all series."""
        return self.series[0].clock

    @property
    def unit(self) -> str:
        """The unit of the target."""
        return self.series[0].unit

    @property
    def alone(self) -> bool:
        """Whether this is a series alone, which has no id."""
        return self.id is None

    @property
    def rows(self) -> NDArray[np.int64]:
        """The number of steps of each series, ``[P]``."""
        return np.array([len(one) for one in self.series], np.int64)

    def head(self, rows: Sequence[int] | NDArray[np.int64]) -> Panel:
        """The first ``rows[p]`` steps of each series."""
        series = tuple(one.head(int(steps)) for one, steps in zip(self.series, rows, strict=True))
        return replace(self, series=series)

    def attributes(self, place: int) -> dict[str, Any]:
        """The attributes of the series at a place."""
        return {name: values[place] for name, values in self.static.items()}

    def label(self, place: int) -> str:
        """The series at a place in words: its id, after the name of the ids if it does not contain that."""
        text, name = str(self.ids[place]), str(self.id)
        says = self.wide or name == ID or name.casefold() in text.casefold()
        return text if says else f"{name} {text}"

    def at_least(self, rows: int) -> Panel:
        """The series with at least so many rows. Raises a SeriesError if there is none."""
        return self.part(np.flatnonzero(self.rows >= rows).tolist())

    def part(self, places: Sequence[int]) -> Panel:
        """The series at some places."""
        chosen = list(places)
        static = {name: values[chosen] for name, values in self.static.items()}
        series, ids = (tuple(found[place] for place in chosen) for found in (self.series, self.ids))
        return replace(self, series=series, ids=ids, static=static)


def as_panel(series: TimeSeries | Panel) -> Panel:
    """A panel of one series, or the panel itself."""
    if isinstance(series, Panel):
        return series
    return Panel(series.name, (series,), ("",), {}, None, series.left_out, series.notes)


def read_panel(
    path: str | Path,
    target: str | None = None,
    id: str = ID,
    time: str | Sequence[str] | None = None,
    static: Sequence[str] = (),
    reading: Reading | None = None,
) -> Panel:
    """Read a panel from a file in long format: a row for each series and time.

    Files and columns are read as in `read_series`. The series are in the order of their ids. All have the
    same step; each has its own start and length. A series without a value of the target is left out.

    Raises:
        SeriesError: the file holds no usable series, an id is missing, or an attribute is not constant
            within a series. The message names file, column and row, and a remedy.
    """
    return Panel.of(read_file(path, reading), target, id, time, static)


def read_wide(
    path: str | Path, time: str | Sequence[str] | None = None, reading: Reading | None = None
) -> Panel:
    """Read a panel from a file with a column for each series; see `Panel.from_wide`."""
    return Panel.of_wide(read_file(path, reading), None, time)


def _first(table: Table, time: str | Sequence[str] | None) -> str:
    """Any column of numbers that is not the time."""
    taken = () if time is None else (time,) if isinstance(time, str) else tuple(time)
    found = [
        name
        for name in table.names
        if name not in taken and not table.is_words(name) and not table.is_empty(name)
    ]
    if not found:
        raise table.error("no column holds numbers")
    return found[-1]


def _groups(table: Table, id: str) -> tuple[list[Any], list[NDArray[np.int64]]]:
    """The ids in order, and the rows of each, counted from 0."""
    values = table.column(id)
    if isinstance(values.dtype, pd.StringDtype) or values.dtype == object:
        values = values.map(lambda name: name.strip() if isinstance(name, str) else name)
    codes, found = pd.factorize(values)
    ids = list(found.tolist() if isinstance(found, np.ndarray) else found)
    order = np.argsort(codes, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    try:
        places = sorted(range(len(ids)), key=lambda place: ids[place])
    except TypeError:  # ids of several types
        places = sorted(range(len(ids)), key=lambda place: id_of(ids[place]))
    return [ids[place] for place in places], [rows[place] for place in places]


def _grids(
    table: Table,
    columns: pd.DataFrame,
    groups: Sequence[NDArray[np.int64]],
    chosen: Columns,
    clock: Clock | None,
) -> list[Grid]:
    """The columns of each series on the clock of all, or on a given one."""
    if not chosen.time and clock is not None and not isinstance(clock, RowClock):
        raise table.error("there is no column of times; name it with --time")
    if not chosen.time:
        table.notes.append("rows numbered, in the place of times")
        clock, numbers = RowClock(), table.frame.index.to_numpy(np.int64)
        return [
            Grid(columns.iloc[rows].set_axis(clock.times(np.arange(1, len(rows) + 1))), clock, numbers[rows])
            for rows in groups
        ]
    ordered = [in_order(_part(table, rows), columns.iloc[rows], chosen.time) for rows in groups]
    shared = clock_of(table, [frame.index for _, frame in ordered], chosen.time, clock)
    return [placed(table, rows, frame, chosen.time, shared) for rows, frame in ordered]


def _part(table: Table, rows: NDArray[np.int64]) -> Table:
    """Some rows of a table, with the same notes."""
    return Table(table.file, table.frame.iloc[rows], table.reading, table.separator, table.notes)


def _described(table: Table, name: str, groups: Sequence[NDArray[np.int64]]) -> NDArray[Any]:
    """An attribute of each series: numbers, or texts with None for a missing one.

    Raises:
        SeriesError: it is not constant within a series.
    """
    if table.is_words(name):
        texts = table.column(name).astype("string").str.strip()
        values = np.array([None if pd.isna(text) else str(text) for text in texts], object)
    else:
        values = table.numbers(name)
    firsts = values[[rows[0] for rows in groups]]
    for rows, first in zip(groups, firsts, strict=True):
        same = values[rows] == first
        if values.dtype != object:
            same |= np.isnan(values[rows]) & np.isnan(first)
        if not np.all(same):
            place = int(rows[np.argmin(same)])
            problem = (
                f"{quoted(values[place])} differs from {quoted(first)} in another row of the same series"
            )
            raise table.error(f"{problem}, but attributes must not", name, int(table.frame.index[place]))
    return firsts
