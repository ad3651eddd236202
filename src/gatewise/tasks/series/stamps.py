"""Reads the times of the rows from one or several columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from gatewise.tasks.series.times import NEAR, Candidate, TimeError, parse_clock, parse_times
from gatewise.tasks.shared.reading.errors import listed, quoted
from gatewise.tasks.shared.reading.table import Table

COMPONENTS = ("year", "month", "day", "hour", "minute", "second")


def read_times(table: Table, names: Sequence[str]) -> pd.DatetimeIndex:
    """The time of every row, in the order of the rows.

    Several columns are combined: a day and a time of day, or year, month, day, hour, minute and second as
    integers. The time zone is that of the times, or that of the reading options.

    Raises:
        SeriesError: a time is missing, unreadable or ambiguous, or does not exist in the time zone.
    """
    for name in names:
        table.refuse(name, np.asarray(table.column(name).isna()), "the time is missing")
    try:
        found = _joined(table, names) if len(names) > 1 else _single(table, names[0])
    except TimeError as error:
        row = None if error.place is None else int(table.frame.index[error.place])
        raise table.error(error.problem, names[0], row) from None
    times = pd.DatetimeIndex(found.times)
    table.refuse(names[0], np.asarray((times.year < NEAR[0]) | (times.year > NEAR[1])), "{} is too far away")
    _note(table, names, found)
    return _zoned(table, names[0], times, found.mixed)


def _single(table: Table, name: str) -> Candidate:
    return parse_times(table.column(name), table.reading.time_format)


def _note(table: Table, names: Sequence[str], found: Candidate) -> None:
    first = [str(table.column(name).iloc[0]).strip() for name in names]
    if found.form not in ("", "ISO8601"):
        shown = f"{quoted(' '.join(first))} is {str(found.times.iloc[0])[:19]}"
        table.notes.append(f"times in {listed(list(names), 6)} as {found.form} ({shown})")


def _joined(table: Table, names: Sequence[str]) -> Candidate:
    columns = [table.column(name) for name in names]
    form = table.reading.time_format
    if form and ("%H" in form or "%I" in form):
        text = columns[0].astype(str).str.strip()
        for column in columns[1:]:
            text = text + " " + column.astype(str).str.strip()
        return parse_times(text, form)
    numbers = [pd.to_numeric(column, errors="coerce") for column in columns]
    whole = all(column.notna().all() for column in numbers) and numbers[0].between(1000, 9000).all()
    if whole and 2 < len(numbers) <= len(COMPONENTS):
        return _of_components(numbers)
    if len(columns) > 2:
        raise TimeError("several columns must be year, month, day and so on as numbers, or a day and a time")
    clock = parse_clock(columns[1])
    if clock.isna().any():
        place = int(np.argmax(clock.isna()))
        raise TimeError(f"{quoted(columns[1].iloc[place])} in {quoted(names[1])} is not a time of day", place)
    found = parse_times(columns[0], form, clock)
    return replace(found, form=f"{found.form or 'a day'} and a time of day")


def _of_components(numbers: Sequence[pd.Series[Any]]) -> Candidate:
    parts = dict(zip(COMPONENTS, numbers, strict=False))
    days = {name: parts.get(name, pd.Series(1, index=numbers[0].index)) for name in COMPONENTS[:3]}
    times = pd.to_datetime(pd.DataFrame(days), errors="coerce").dt.as_unit("us")
    for name in COMPONENTS[3:]:
        if name in parts:
            length = {"hour": 3600, "minute": 60, "second": 1}[name] * 1e6 * parts[name].astype(np.float64)
            times = times + pd.to_timedelta(length, unit="us").dt.as_unit("us")
    if times.isna().any():
        raise TimeError("the numbers are no date", int(np.argmax(times.isna())))
    return Candidate(", ".join(parts), times)


def _zoned(table: Table, name: str, times: pd.DatetimeIndex, mixed: bool) -> pd.DatetimeIndex:
    zone = table.reading.zone
    if zone is None:
        if mixed:
            problem = (
                "the times have several offsets from UTC; say where, as --zone Europe/Berlin or --zone UTC"
            )
            raise table.error(problem, name)
        return times
    if times.tz is not None:
        return times.tz_convert(zone)
    placed = times.tz_localize(zone, ambiguous=_first_of_two(times, zone), nonexistent="NaT")
    missing = np.asarray(placed.isna())
    table.refuse(name, missing, f"{{}} is a time that the clocks in {zone} skip")
    return placed


def _first_of_two(times: pd.DatetimeIndex, zone: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """For hours that occur twice when clocks are set back: the mask of the first ones.

    The order of rows decides where both are in the file, else the usual step from the row before.
    """
    falling = len(times) > 1 and times[-1] < times[0]
    first = ~np.asarray(times.duplicated(keep="last" if falling else "first"))
    early, late = (
        times.tz_localize(zone, ambiguous=np.full(len(times), is_first), nonexistent="NaT").asi8
        for is_first in (True, False)
    )
    alone = (early != late) & ~np.asarray(times.duplicated(keep=False))
    step = np.median(np.abs(np.diff(early))) if alone.any() and len(times) > 2 else 0
    for row in np.flatnonzero(alone[1:]) + 1 if step else ():
        before = early[row - 1] if first[row - 1] else late[row - 1]
        early_step, late_step = abs(early[row] - before), abs(late[row] - before)
        first[row] = abs(early_step - step) <= abs(late_step - step)
    return first
