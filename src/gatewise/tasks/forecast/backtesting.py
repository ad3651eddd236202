"""Back-tests: their origins, the forecasts there, and models that are fitted again at each origin."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gatewise.runtime.jobs.distributions import LEVELS
from gatewise.runtime.jobs.forecaster import Forecaster as Model
from gatewise.tasks.forecast.evaluation import MODEL, PERSISTENCE, RIDGE, SEASONAL, Evaluation
from gatewise.tasks.forecast.naive import (
    Numbers,
    Whole,
    future,
    hold,
    persistence,
    seasonal_naive,
    seasonal_scale,
)
from gatewise.tasks.forecast.predicting import made_of
from gatewise.tasks.forecast.split import spread
from gatewise.tasks.series import Panel

MOST_TESTED = 4096  # most origins in a back-test
MOST_COMPARED = 4_000_000  # most forecast values in a back-test


def origins_of(panel: Panel, firsts: Whole, every: int, horizon: int, season: int) -> list[Whole]:
    """The origins of each series, at most about 4,096 of all series together."""
    most = max(min(MOST_TESTED, MOST_COMPARED // horizon) // len(panel), 1)
    found = []
    for one, start in zip(panel, firsts, strict=True):
        stop = len(one) - horizon
        some = np.arange(int(start) - 1, stop, every)
        if every == 1:
            some = spread(int(start) - 1, stop, most, season)
        found.append(some[:: max(-(-len(some) // most), 1)])
    return found


def refitted(
    panel: Panel,
    origins: Sequence[Whole],
    firsts: Whole,
    horizon: int,
    fitted: Callable[[Panel], Callable[[Panel, int, Whole], Numbers]],
) -> dict[int, Numbers]:
    """The forecasts of models that are fitted again at each origin, ``[S, K]`` by place of the series.

    Args:
        panel: all steps.
        origins: the origins of each series.
        firsts: the first step that is forecast, for each series; the end of series without origins.
        horizon: K.
        fitted: fits a model to a panel, and gives its forecasts of a series at origins.
    """
    made = {place: np.empty((len(found), horizon)) for place, found in enumerate(origins)}
    for cut in range(1, max(map(len, origins)) + 1):  # counted from the last origin
        rows = [
            int(found[-min(cut, len(found))]) + 1 if len(found) else min(int(start), len(one))
            for found, start, one in zip(origins, firsts, panel, strict=True)
        ]
        forecast = fitted(panel.head(rows))
        for place, found in enumerate(origins):
            if cut <= len(found):
                made[place][-cut] = forecast(panel, place, found[-cut:][:1])[0]
    return made


def evaluation_of(
    model: Model, panel: Panel, place: int, origins: Whole, scale: float, made: Numbers | None = None
) -> Evaluation:
    """The back-test of one series of a panel.

    Args:
        model: the model.
        panel, place, origins: the series, and where forecasts are made.
        scale: the unit of MASE of a series alone.
        made: the forecasts if another model made them.
    """
    series, season, horizon = panel.series[place], model.encoding.season, model.horizon
    held, own = hold(series.values), made_of(model, panel, place, origins)
    forecasts = {
        MODEL: own.forecasts if made is None else made,
        PERSISTENCE: persistence(held, origins, horizon),
    }
    if season > 1:
        forecasts[SEASONAL] = seasonal_naive(held, origins, horizon, season)
    if (line := model.straight()) is not None and made is None:
        forecasts[RIDGE] = made_of(line, panel, place, origins).forecasts
    truth = series.values[future(origins, horizon)]
    if not panel.alone:
        scale = seasonal_scale(series.values[: origins[0] + 1], season)
    levels = LEVELS if own.head.output != "point" and made is None else ()
    quantiles = own.quantiles() if levels else None
    return Evaluation(origins, series.times[origins], truth, forecasts, scale, levels, quantiles)
