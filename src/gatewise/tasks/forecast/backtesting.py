"""Back-tests: the origins to forecast at, and forecasts of models that are fitted again at each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gatewise.tasks.forecast.naive import Numbers, Whole
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
