"""Exponential smoothing and theta, of statsmodels, beside a network.

Both are fitted again at every origin, to the steps before it: that is how they are used, and it favours them.
It takes about a second for each origin, so few origins are compared.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gatewise.extras import needed_by
from gatewise.runtime.jobs.encoding import id_of
from gatewise.tasks.forecast.evaluation import SMOOTHING, THETA, Evaluation
from gatewise.tasks.forecast.naive import Numbers, Whole, hold
from gatewise.tasks.series import Panel

MOST_ORIGINS = 32  # most origins that are compared
MOST_ROWS = 1000  # most rows that are fitted, or eight seasons
LEAST_SEASONS = 3  # fewest seasons in the rows with which the season is fitted


def smoothed(values: Numbers, horizon: int, season: int) -> Numbers:
    """Exponential smoothing with a damped trend and an additive season (Holt 1957, Winters 1960).

    Args:
        values: ``[N]``, the past without gaps.
        horizon: ``K``, the steps ahead.
        season: the season in steps; 1 for none.
    """
    with needed_by("exponential smoothing"):
        from statsmodels.tsa.holtwinters import ExponentialSmoothing

    seasonal = season > 1 and len(values) >= LEAST_SEASONS * season
    model = ExponentialSmoothing(
        values,
        trend="add",
        damped_trend=True,
        seasonal="add" if seasonal else None,
        seasonal_periods=season if seasonal else None,
        initialization_method="heuristic",
    )
    return np.asarray(model.fit().forecast(horizon), np.float64)


def theta(values: Numbers, horizon: int, season: int) -> Numbers:
    """The theta method, which won the M3 competition (Assimakopoulos & Nikolopoulos 2000), as `smoothed`.

    The season is removed where a test finds one.
    """
    with needed_by("theta"):
        from statsmodels.tsa.forecasting.theta import ThetaModel

    seasonal = season > 1 and len(values) >= LEAST_SEASONS * season
    model = ThetaModel(values, period=season if seasonal else 1, deseasonalize=seasonal, method="additive")
    return np.asarray(model.fit().forecast(horizon), np.float64)


def classical(
    method: Callable[[Numbers, int, int], Numbers], values: Numbers, origins: Whole, horizon: int, season: int
) -> Numbers:
    """The forecasts of a method at some origins, ``[S, K]``.

    Where a method fails, as it may on very short or constant series, its forecast is the last value.

    Args:
        method: `smoothed` or `theta`.
        values: ``[N]``, the series, NaN where missing.
        origins: ``[S]``, the last step that each forecast knows.
        horizon: ``K``, the steps ahead.
        season: the season in steps; 1 for none.
    """
    held, most = hold(values), max(MOST_ROWS, 8 * season)
    made = np.empty((len(origins), horizon))
    for place, origin in enumerate(origins):
        past = held[max(origin + 1 - most, 0) : origin + 1]
        past = past[~np.isnan(past)]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                found = method(past, horizon, season)
            except (ValueError, ZeroDivisionError, np.linalg.LinAlgError):
                found = np.full(horizon, np.nan)
        made[place] = np.where(np.isfinite(found), found, past[-1] if len(past) else np.nan)
    return made


def beside_classical(tested: Evaluation, panel: Panel, season: int) -> Evaluation:
    """A back-test at some of its origins, with exponential smoothing and theta beside the other forecasts.

    Raises:
        ModuleNotFoundError: statsmodels is not installed.
    """
    rows = np.unique(np.linspace(0, len(tested.origins) - 1, MOST_ORIGINS).round().astype(np.int64))
    some, horizon = tested.at(rows), tested.truth.shape[1]
    values = {id_of(id): one.values for id, one in zip(panel.ids, panel, strict=True)}
    names = [""] * len(rows) if some.series is None else [some.ids[place] for place in some.series]
    more = {
        label: np.concatenate(
            [
                classical(method, values[name], some.origins[row : row + 1], horizon, season)
                for row, name in enumerate(names)
            ]
        )
        for label, method in ((SMOOTHING, smoothed), (THETA, theta))
    }
    return replace(some, forecasts=some.forecasts | more)
