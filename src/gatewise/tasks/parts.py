"""How a series is parted in time: training, then validation, then test; never shuffled."""

from __future__ import annotations

from itertools import count
from math import gcd

import numpy as np
from numpy.typing import NDArray

from gatewise.tasks.errors import SeriesError
from gatewise.tasks.series import TimeSeries

SHARE = 0.15  # of the rows, held out at the end
LEAST_ORIGINS = 8  # origins that training must have, at the very least


def hold_out(rows: int, horizon: int) -> int:
    """Give how many of the last rows to hold out: 15 %, but at least one whole horizon."""
    return max(round(SHARE * rows), horizon)


def rows_to_fit(horizon: int) -> int:
    """Give the fewest rows that leave something to train on once the validation part is held out."""
    return next(rows for rows in count(1) if rows - hold_out(rows, horizon) >= horizon + LEAST_ORIGINS)


def rows_to_test(horizon: int) -> int:
    """Give the fewest rows that can be fitted once the test part is held out.

    >>> rows_to_fit(24), rows_to_test(24)
    (56, 80)
    """
    return next(rows for rows in count(1) if rows - hold_out(rows, horizon) >= rows_to_fit(horizon))


def spread(first: int, stop: int, most: int, season: int) -> NDArray[np.int64]:
    """Give evenly spaced origins in ``first .. stop - 1``, at most ``most``, all phases of the season alike.

    A stride that shares a factor with the season would see only some hours of the day.
    """
    stride = next(k for k in count(-(-(stop - first) // most)) if k > 0 and gcd(k, season) == 1)
    return np.arange(first, stop, stride, dtype=np.int64)


def untested_rows(series: TimeSeries, horizon: int) -> int:
    """Give how many of the first rows to fit to; the rest is for the test.

    Raises ``SeriesError`` if the series is too short, or a part of it has nothing to learn or to test with.
    """
    _require_rows(series, rows_to_test(horizon), horizon)
    rows = len(series) - hold_out(len(series), horizon)
    _require_values(series, rows, len(series), "test")
    training_rows(series.head(rows), horizon)
    return rows


def training_rows(series: TimeSeries, horizon: int) -> int:
    """Give how many of the first rows to train on; the rest is for validation.

    Raises ``SeriesError`` if the series is too short, or has nothing to learn or to validate with.
    """
    _require_rows(series, rows_to_fit(horizon), horizon)
    rows = len(series) - hold_out(len(series), horizon)
    _require_values(series, 0, rows, "training")
    _require_change(series, rows)
    _require_values(series, rows, len(series), "validation")
    return rows


def _require_rows(series: TimeSeries, rows: int, horizon: int) -> None:
    """Raise ``SeriesError`` if a series is shorter than so many rows."""
    if len(series) < rows:
        problem = f"{len(series)} rows are too few for a horizon of {horizon}: at least {rows} are needed"
        raise SeriesError(series.name, problem, column=series.target, row=len(series))


def _require_values(series: TimeSeries, first: int, stop: int, part: str) -> None:
    """Raise ``SeriesError`` if the target has no value in the rows ``first .. stop - 1``, counted from 0."""
    if np.isnan(series.values[first:stop]).all():
        problem = f"all values are missing from {series.times[first]} on, in the {part} part"
        raise SeriesError(series.name, problem, column=series.target, row=first + 1)


def _require_change(series: TimeSeries, rows: int) -> None:
    """Raise ``SeriesError`` if the target never changes in the first ``rows`` rows."""
    train = series.values[:rows]
    if np.nanmin(train) == np.nanmax(train):
        problem = (
            f"every value before {series.times[rows]} is {np.nanmin(train):g}, which leaves nothing to learn"
        )
        raise SeriesError(series.name, problem, column=series.target, row=rows)
