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
QUANTILES = "quantiles"

Forecasts = dict[str, Numbers]  # by name: model, ridge, quantiles


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


def forecasts_of(model: Model, panel: Panel, place: int, origins: Whole) -> Forecasts:
    """What a model forecasts for one series of a panel at ``origins [S]``.

    Returns:
        ``[S, K]`` for the model and, if it has a linear part, for this alone; and the quantiles ``[S, K, Q]``
        if it forecasts distributions.
    """
    made = made_of(model, panel, place, origins)
    found = {MODEL: made.forecasts}
    if (line := model.straight()) is not None:
        found[RIDGE] = made_of(line, panel, place, origins).forecasts
    if made.head.output != "point":
        found[QUANTILES] = made.quantiles(LEVELS)
    return found


def refitted(
    panel: Panel, origins: Sequence[Whole], firsts: Whole, fitted: Callable[[Panel], Model]
) -> dict[int, Forecasts]:
    """What models that are fitted again at each origin forecast there, by place of the series.

    What some of the models do not forecast is left out: a short series may have no linear part.

    Args:
        panel: all steps.
        origins: the origins of each series.
        firsts: the first step that is forecast, for each series; the end of series without origins.
        fitted: fits a model to a panel.
    """
    parts: dict[int, list[Forecasts]] = {place: [] for place, found in enumerate(origins) if len(found)}
    for cut in range(max(map(len, origins)), 0, -1):  # counted from the last origin
        rows = [
            int(found[-min(cut, len(found))]) + 1 if len(found) else min(int(start), len(one))
            for found, start, one in zip(origins, firsts, panel, strict=True)
        ]
        model = fitted(panel.head(rows))
        for place in parts:
            if cut <= len(origins[place]):
                parts[place].append(forecasts_of(model, panel, place, origins[place][-cut:][:1]))
    names = set.intersection(*(set(one) for found in parts.values() for one in found))
    return {
        place: {name: np.concatenate([one[name] for one in found]) for name in names}
        for place, found in parts.items()
    }


def evaluation_of(
    model: Model, panel: Panel, place: int, origins: Whole, scale: float, made: Forecasts | None = None
) -> Evaluation:
    """The back-test of one series of a panel.

    Args:
        model: the model.
        panel, place, origins: the series, and where forecasts are made.
        scale: the unit of MASE of a series alone.
        made: the forecasts of other models, fitted again at each origin; by default those of the model.
    """
    series, season, horizon = panel.series[place], model.encoding.season, model.horizon
    made = forecasts_of(model, panel, place, origins) if made is None else made
    held = hold(series.values)
    forecasts = {MODEL: made[MODEL], PERSISTENCE: persistence(held, origins, horizon)}
    if season > 1:
        forecasts[SEASONAL] = seasonal_naive(held, origins, horizon, season)
    if RIDGE in made:
        forecasts[RIDGE] = made[RIDGE]
    truth = series.values[future(origins, horizon)]
    if not panel.alone:
        scale = seasonal_scale(series.values[: origins[0] + 1], season)
    quantiles = made.get(QUANTILES)
    levels = () if quantiles is None else LEVELS
    return Evaluation(origins, series.times[origins], truth, forecasts, scale, levels, quantiles)
