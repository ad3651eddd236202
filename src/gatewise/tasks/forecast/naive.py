"""Naive forecasts.

Shapes: ``N`` steps of the series, ``S`` origins (the last step that a forecast knows), ``K`` steps of the
horizon. Step ``k`` of a forecast at origin ``t`` is for step ``t + k``, ``k = 1 .. K``.
"""

from __future__ import annotations

import numpy as np

from gatewise.runtime.jobs.naive import Numbers, Whole, future, hold, seasonal_naive, varies

__all__ = [
    "Numbers", "Whole", "future", "hold", "persistence", "seasonal_naive", "seasonal_scale", "varies",
]  # fmt: skip


def persistence(held: Numbers, origins: Whole, horizon: int) -> Numbers:
    """The persistence forecast, the last known value: ``[..., K]``. `held` is a result of `hold`."""
    return np.repeat(held[origins][..., None], horizon, axis=-1)


def seasonal_scale(values: Numbers, season: int) -> float:
    """The mean absolute change over one season, the unit of MASE. NaN if no such change is known.

    Source: Hyndman & Koehler 2006, "Another look at measures of forecast accuracy".

    >>> seasonal_scale(np.array([1.0, 5.0, 2.0, 7.0]), 2)
    1.5
    """
    changes = np.abs(values[season:] - values[:-season])
    return float(np.nanmean(changes)) if np.isfinite(changes).any() else float("nan")
