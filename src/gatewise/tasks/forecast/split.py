"""Splits a series in time: first training, then validation, then test. It is never shuffled."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from itertools import count
from math import gcd

import numpy as np
from numpy.typing import NDArray

from gatewise.tasks.forecast.encoding import FAR
from gatewise.tasks.forecast.naive import varies
from gatewise.tasks.series import Panel, SeriesError, TimeSeries

SHARE = 0.15  # share of the rows that is held out at the end
LEAST_ORIGINS = 8  # fewest origins in the training part


def hold_out(rows: int, horizon: int) -> int:
    """The number of last rows to hold out: 15 %, but at least one horizon."""
    return max(round(SHARE * rows), horizon)


def rows_to_fit(horizon: int) -> int:
    """The fewest rows with which there is something to train on besides the validation part."""
    return _fewest(horizon + LEAST_ORIGINS, horizon)


def rows_to_test(horizon: int) -> int:
    """The fewest rows that can be fitted besides the test part.

    >>> rows_to_fit(24), rows_to_test(24)
    (56, 80)
    """
    return _fewest(rows_to_fit(horizon), horizon)


def _fewest(kept: int, horizon: int) -> int:
    """The fewest rows of which `kept` remain when the end is held out."""
    return bisect_left(range(2 * kept + horizon), kept, key=lambda rows: rows - hold_out(rows, horizon))


def spread(first: int, stop: int, most: int, season: int) -> NDArray[np.int64]:
    """At most `most` evenly spaced origins in ``first .. stop - 1`` that cover all phases of the season.

    So the stride has no common factor with the season: otherwise it would meet only some hours of the day.
    """
    stride = next(k for k in count(-(-(stop - first) // most)) if k > 0 and gcd(k, season) == 1)
    return np.arange(first, stop, stride, dtype=np.int64)


def untested_rows(series: TimeSeries, horizon: int) -> int:
    """The number of first rows to fit to. The others are for the test.

    Raises:
        SeriesError: the series is too short, or a part has no values to train or test with.
    """
    _require_rows(series, rows_to_test(horizon), horizon)
    if not varies(series.values):
        problem = f"every value is {np.nanmin(series.values):g}, and a constant needs no forecast"
        raise SeriesError(series.name, problem, column=series.target)
    rows = len(series) - hold_out(len(series), horizon)
    _require_values(series, rows, len(series), "test")
    _require_reach(series, training_rows(series.head(rows), horizon))
    return rows


def training_rows(series: TimeSeries, horizon: int) -> int:
    """The number of first rows to train on. The others are for validation.

    Raises:
        SeriesError: the series is too short, or has no values to train or validate with.
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


def untested_parts(panel: Panel, horizon: int) -> NDArray[np.int64]:
    """The number of first rows of each series to fit to, ``[P]``. A series that is too short is not tested.

    Raises:
        SeriesError: no series is long enough, or has values to train or test with.
    """
    return _parts(panel, horizon, rows_to_test(horizon), untested_rows)


def training_parts(panel: Panel, horizon: int) -> NDArray[np.int64]:
    """The number of first rows of each series to train on, ``[P]``. A short series is trained on as a whole.

    Raises:
        SeriesError: no series is long enough, or has values to train or validate with.
    """
    return _parts(panel, horizon, rows_to_fit(horizon), training_rows)


def _parts(
    panel: Panel, horizon: int, least: int, of_one: Callable[[TimeSeries, int], int]
) -> NDArray[np.int64]:
    """The rows that are not held out of each series. `of_one` checks a series that stands for all."""
    rows = panel.rows
    kept = np.where(rows >= least, rows - [hold_out(int(found), horizon) for found in rows], rows)
    for place in np.argsort(-rows, kind="stable"):
        one = panel.series[place]
        if len(panel) == 1 or not rows[place] >= least or varies(one.values[: kept[place]]):
            of_one(one, horizon)
            return kept
    raise SeriesError(panel.name, "no series varies, which leaves nothing to learn", column=panel.target)


def _require_rows(series: TimeSeries, rows: int, horizon: int) -> None:
    """Raise a SeriesError if a series has fewer than `rows` rows."""
    if len(series) < rows:
        given = f"{len(series)} row{' is' if len(series) == 1 else 's are'}"
        problem = f"{given} too few for a horizon of {horizon}: at least {rows} are needed"
        raise series.error(problem, len(series) - 1)


def _require_values(series: TimeSeries, first: int, stop: int, part: str) -> None:
    """Raise a SeriesError if the target has no value in the steps ``first .. stop - 1``."""
    if np.isnan(series.values[first:stop]).all():
        problem = f"all values are missing from {series.when(first)} on, in the {part} part"
        raise series.error(problem, first, stop)


def _require_reach(series: TimeSeries, rows: int) -> None:
    """Raise a SeriesError if a value is too far from the training values to be scaled."""
    for name in series.frame.columns:
        values = series.frame[name].to_numpy(np.float64)
        if varies(values[:rows]):
            away = np.abs(values - np.nanmean(values[:rows])) / np.nanstd(values[:rows])
            if np.nanmax(away) > FAR:
                step = int(np.nanargmax(away))
                problem = f"{values[step]:g} is {FAR:g} times as far from the mean as the values in training"
                raise SeriesError(series.name, problem, column=name, row=int(series.rows[step]))
