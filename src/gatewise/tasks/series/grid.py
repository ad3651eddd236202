"""Puts the rows of a file on a regular grid of times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatewise.tasks.series.clock import DAY, Clock, IrregularClock, microseconds
from gatewise.tasks.series.inference import Fit, best_fit
from gatewise.tasks.shared.reading.errors import listed, quoted
from gatewise.tasks.shared.reading.table import Table

MOST_GAPS = 10  # most steps of the grid per row

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Grid:
    """Columns on a regular clock. `rows`: the row of the file for each step, 0 for a missing step."""

    frame: pd.DataFrame
    clock: Clock
    rows: Rows


def regular(table: Table, frame: pd.DataFrame, time: Sequence[str], clock: Clock | None = None) -> Grid:
    """Put rows, indexed by their times, on a grid, or that of `clock`. Missing steps become rows of NaN.

    Raises:
        SeriesError: two rows have the same time, or the times have no regular step.
    """
    rows, frame = in_order(table, frame, time)
    return placed(table, rows, frame, time, clock_of(table, [frame.index], time, clock))


def in_order(table: Table, frame: pd.DataFrame, time: Sequence[str]) -> tuple[Rows, pd.DataFrame]:
    """Rows in the order of their times, one for each time. Returns their numbers in the file, and the rows.

    Raises:
        SeriesError: two rows have the same time.
    """
    order = np.argsort(frame.index, kind="stable")
    rows, frame = table.frame.index.to_numpy()[order], frame.iloc[order]
    rows, frame = _distinct(table, rows, frame, time)
    return _resampled(table, rows, frame, time[0]) if table.reading.resample else (rows, frame)


def clock_of(
    table: Table, times: Sequence[pd.Index], time: Sequence[str], clock: Clock | None = None
) -> Clock:
    """The clock that the times of one or several series follow; `clock` if given.

    Raises:
        SeriesError: the times have no regular step, or no time zone where `clock` has one.
    """
    if clock is not None:
        _refuse_zone(table, pd.DatetimeIndex(times[0]), time[0], clock)
        return clock
    if table.reading.irregular:
        return _irregular(table, times, time)
    every = pd.DatetimeIndex(times[0] if len(times) == 1 else _union(times))
    fit = best_fit(every) if len(every) > 2 else None
    if fit is not None and len(times) > 1 and _skips(fit.clock, times):
        longest = pd.DatetimeIndex(max(times, key=len))
        fit = (best_fit(longest) if len(longest) > 2 else None) or fit
    if fit is None:
        problem = "the times have no regular step; at least half of the rows must follow one"
        remedy = (
            "--resample 1h say, gives each hour the mean of its rows, or --irregular takes them as they are"
        )
        raise table.error(f"{problem}, or {remedy}", time[0])
    return fit.clock


def _irregular(table: Table, times: Sequence[pd.Index], time: Sequence[str]) -> IrregularClock:
    """A clock of rows at irregular times, whose step is the usual gap in a series."""
    zone = pd.DatetimeIndex(times[0]).tz
    since = [_since_1970(found) for found in times]
    gaps = np.concatenate([np.diff(found) for found in since])
    if not len(gaps):
        raise table.error("a series must have at least 2 rows", time[0])
    gap = max(round(float(np.median(gaps))), 1)
    return IrregularClock(gap, int(min(found[0] for found in since)), None if zone is None else str(zone))


def _since_1970(times: pd.Index) -> NDArray[np.int64]:
    dates = pd.DatetimeIndex(times)
    return microseconds(dates if dates.tz is None else dates.tz_convert("UTC").tz_localize(None))


def placed(table: Table, rows: Rows, frame: pd.DataFrame, time: Sequence[str], clock: Clock) -> Grid:
    """Put rows in the order of their times on the grid of a clock.

    Raises:
        SeriesError: a time is off the grid, or there are too many gaps.
    """
    times = pd.DatetimeIndex(frame.index)
    if isinstance(clock, IrregularClock):
        return Grid(frame.set_axis(times), clock, rows)
    fit = Fit.of(clock, times)
    _refuse_off(table, fit, times, rows, time[0])
    return _on_grid(table, frame, fit, rows, time[0])


def _refuse_zone(table: Table, times: pd.DatetimeIndex, time: str, clock: Clock) -> None:
    """Refuse times without a time zone for a clock with one, and the reverse."""
    if (times.tz is None) != (clock.zone is None):
        wanted = (
            f"in a time zone, as {clock.zone}; say it with --zone" if clock.zone else "without a time zone"
        )
        raise table.error(f"the times must be {wanted}", time)


def _union(times: Sequence[pd.Index]) -> pd.Index:
    """All times of several series, in order, each once."""
    return times[0].append(list(times[1:])).unique().sort_values()


def _skips(clock: Clock, times: Sequence[pd.Index]) -> bool:
    """Whether every series leaves out steps of a clock that the times of all together follow."""
    steps = [np.diff(np.rint(clock.exact(found))).astype(np.int64) for found in times]
    return int(np.gcd.reduce(np.concatenate(steps))) > 1


def _on_grid(table: Table, frame: pd.DataFrame, fit: Fit, rows: Rows, time: str) -> Grid:
    steps = fit.gaps + len(frame)
    if steps > MOST_GAPS * len(frame):
        first, last = (fit.clock.label(frame.index[place]) for place in (0, -1))
        span = f"{steps:,} steps of {fit.clock.span(1)} for {len(frame):,} rows"
        raise table.error(f"the times from {first} to {last} leave too many gaps ({span})", time)
    grid = np.arange(fit.positions[0], fit.positions[-1] + 1)
    numbers = np.zeros(len(grid), np.int64)
    numbers[fit.positions - fit.positions[0]] = rows
    filled = frame.set_axis(fit.positions).reindex(grid).set_axis(fit.clock.times(grid))
    return Grid(filled, fit.clock, numbers)


def _refuse_off(table: Table, fit: Fit, times: pd.DatetimeIndex, rows: Rows, time: str) -> None:
    if fit.off.any():
        first, others = int(fit.off.argmax()), int(fit.off.sum()) - 1
        problem = f"{times[first]} is off the regular step of {fit.clock.grid()} that the other rows follow"
        if others:
            problem += f", as are {others:,} more; --resample gives each step the mean of its rows"
        raise table.error(problem, time, int(rows[first]))


def _resampled(table: Table, rows: Rows, frame: pd.DataFrame, time: str) -> tuple[Rows, pd.DataFrame]:
    asked = table.reading.resample or ""
    step = pd.tseries.frequencies.to_offset(asked)
    first = frame.index[0]
    steps = (frame.index[-1] - first) / max(first + step - first, pd.Timedelta(1, unit="us"))
    if steps > MOST_GAPS * len(frame):
        span = f"{steps:,.0f} steps for {len(frame):,} rows"
        raise table.error(f"--resample {asked} leaves too many gaps ({span})", time)
    means = frame.resample(asked).mean()
    firsts = pd.Series(rows, index=frame.index).resample(asked).first()
    kept = firsts.notna().to_numpy()
    table.notes.append(f"the mean of the rows in each {asked}")
    return firsts[kept].to_numpy(np.int64), means[kept]


def _distinct(
    table: Table, rows: Rows, frame: pd.DataFrame, time: Sequence[str]
) -> tuple[Rows, pd.DataFrame]:
    """Reduce to one row per time. Equal rows are merged; others are refused, or merged as `repeated` says."""
    shared = np.asarray(frame.index.duplicated(keep=False))
    if not shared.any():
        return rows, frame
    same = np.zeros(len(rows), bool)
    same[shared] = table.frame.loc[rows[shared]].astype("string").duplicated().to_numpy()
    if same.any():
        count = f"{int(same.sum()):,} row{'s' if same.sum() > 1 else ''}"
        table.notes.append(f"{count} that repeat{'' if same.sum() > 1 else 's'} another one left out")
    rows, frame = rows[~same], frame[~same]
    how = table.reading.repeated
    again = np.asarray(frame.index.duplicated())
    if again.any() and how is None:
        raise _repeated(table, rows, frame, time)
    if again.any():
        groups = frame.groupby(level=0)
        frame = groups.sum(min_count=1) if how == "sum" else groups.agg(how)
        rows = rows[~again]
        table.notes.append(f"of rows with the same time the {how}")
    return rows, frame


def _repeated(table: Table, rows: Rows, frame: pd.DataFrame, time: Sequence[str]) -> Exception:
    times = pd.DatetimeIndex(frame.index)
    again = np.asarray(times.duplicated())
    second = int(again.argmax())
    problem = f"the time {times[second]} is already in row {rows[second - 1]}"
    return table.error(f"{problem}; {_remedy(table, rows, times, time)}", time[0], int(rows[second]))


def _remedy(table: Table, rows: Rows, times: pd.DatetimeIndex, time: Sequence[str]) -> str:
    """A guess at why times repeat, and the option that helps."""
    again = times[np.asarray(times.duplicated())]
    days = bool((microseconds(times.tz_localize(None)) % DAY == 0).all())
    for name in (name for name in table.names if name not in time):
        values = table.frame.loc[rows, name]
        if values.nunique() * 2 > len(values) or pd.MultiIndex.from_arrays([times, values]).has_duplicates:
            continue
        numbers = pd.to_numeric(values, errors="coerce")
        if days and bool(numbers.between(0, 2400).all()) and values.nunique() <= 1440:
            joined = " ".join(f"--time {quote(column)}" for column in (*time, name))
            return f"if {quoted(name)} is the time of day: {joined}"
        several = listed(sorted(map(str, values.unique())), 4)
        one = f"--where {quote(f'{name}={values.iloc[0]}')}"
        every = f"--id {quote(name)} all"
        problem = f"these are several series, told apart by {quoted(name)} ({several})"
        return f"{problem}; {one} reads one of them, {every}"
    if not days and times.tz is None and again.normalize().nunique() <= again.year.nunique():  # once a year
        return "if a clock was set back there, name its place, as --zone Europe/Berlin; else --repeated mean"
    return "--repeated first, last, mean or sum says what becomes of them"
