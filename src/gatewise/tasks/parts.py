"""How a series is parted in time: training, then validation, then test; never shuffled."""

from __future__ import annotations

from bisect import bisect_left
from itertools import count
from math import gcd

import numpy as np
from numpy.typing import NDArray

from gatewise.tasks.encoding import FAR
from gatewise.tasks.naive import varies
from gatewise.tasks.series import SeriesError, TimeSeries

SHARE = 0.15  # of the rows, held out at the end
LEAST_ORIGINS = 8  # origins that training must have, at the very least


def hold_out(rows: int, horizon: int) -> int:
    """Give how many of the last rows to hold out: 15 %, but at least one whole horizon."""
    return max(round(SHARE * rows), horizon)


def rows_to_fit(horizon: int) -> int:
    """Give the fewest rows that leave something to train on once the validation part is held out."""
    return _fewest(horizon + LEAST_ORIGINS, horizon)


def rows_to_test(horizon: int) -> int:
    """Give the fewest rows that can be fitted once the test part is held out.

    >>> rows_to_fit(24), rows_to_test(24)
    (56, 80)
    """
    return _fewest(rows_to_fit(horizon), horizon)


def _fewest(kept: int, horizon: int) -> int:
    """Give the fewest rows of which so many are kept once the end is held out."""
    return bisect_left(range(2 * kept + horizon), kept, key=lambda rows: rows - hold_out(rows, horizon))


def spread(first: int, stop: int, most: int, season: int) -> NDArray[np.int64]:
    """Give evenly spaced origins in ``first .. stop - 1``, at most ``most``, all phases of the season alike.

    A stride that shares a factor with the season would see only some hours of the day.
    """
    stride = next(k for k in count(-(-(stop - first) // most)) if k > 0 and gcd(k, season) == 1)
    return np.arange(first, stop, stride, dtype=np.int64)


def untested_rows(series: TimeSeries, horizon: int) -> int:
    """Give how many of the first rows to fit to; the rest is for the test.

    Raises `SeriesError` if the series is too short, or a part of it has nothing to learn or to test with.
    """
    if not varies(series.values):
        problem = f"every value is {np.nanmin(series.values):g}, and a constant needs no forecast"
        raise SeriesError(series.name, problem, column=series.target)
    _require_rows(series, rows_to_test(horizon), horizon)
    rows = len(series) - hold_out(len(series), horizon)
    _require_values(series, rows, len(series), "test")
    _require_reach(series, training_rows(series.head(rows), horizon))
    return rows


def training_rows(series: TimeSeries, horizon: int) -> int:
    """Give how many of the first rows to train on; the rest is for validation.

    Raises `SeriesError` if the series is too short, or has nothing to learn or to validate with.
    """
    _require_rows(series, rows_to_fit(horizon), horizon)
    rows = len(series) - hold_out(len(series), horizon)
    _require_values(series, 0, rows, "training")
    if not varies(series.values[:rows]):
        level = np.nanmin(series.values[:rows])
        problem = f"every value before {series.when(rows)} is {level:g}, which leaves nothing to learn"
        raise series.error(problem, rows - 1)
    _require_values(series, rows, len(series), "validation")
    return rows


def _require_rows(series: TimeSeries, rows: int, horizon: int) -> None:
    """Raise `SeriesError` if a series is shorter than so many rows."""
    if len(series) < rows:
        problem = f"{len(series)} rows are too few for a horizon of {horizon}: at least {rows} are needed"
        raise series.error(problem, len(series) - 1)


def _require_values(series: TimeSeries, first: int, stop: int, part: str) -> None:
    """Raise `SeriesError` if the target has no value in the steps `first .. stop - 1`, counted from 0."""
    if np.isnan(series.values[first:stop]).all():
        problem = f"all values are missing from {series.when(first)} on, in the {part} part"
        raise series.error(problem, first, stop)


def _require_reach(series: TimeSeries, rows: int) -> None:
    """Raise `SeriesError` if a value lies so far from those in training that it cannot be scaled."""
    for name in series.frame.columns:
        values = series.frame[name].to_numpy(np.float64)
        if varies(values[:rows]):
            away = np.abs(values - np.nanmean(values[:rows])) / np.nanstd(values[:rows])
            if np.nanmax(away) > FAR:
                step = int(np.nanargmax(away))
                problem = f"{values[step]:g} is {FAR:g} times as far from the mean as the values in training"
                raise SeriesError(series.name, problem, column=name, row=int(series.rows[step]))
