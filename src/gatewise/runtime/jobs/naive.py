"""The naive forecasts that a forecaster corrects.

Shapes: ``N`` steps of the series, ``K`` steps of the horizon. Step ``k`` of a forecast at origin ``t`` (the
last step that it knows) is for step ``t + k``, ``k = 1 .. K``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Whole = NDArray[np.int64]
Truth = NDArray[np.bool_]

CONSTANT = 1e-12  # relative to the level; smaller differences are rounding errors of a constant
LEAST_SPREAD = 1e-100  # its square does not underflow


def hold(values: Numbers) -> Numbers:
    """Replace missing values by the last known one, ``[N] -> [N]``; NaN before the first known one.

    >>> hold(np.array([np.nan, 1.0, np.nan, 3.0]))
    array([nan,  1.,  1.,  3.])
    """
    known = np.where(np.isnan(values), -1, np.arange(len(values)))
    last = np.maximum.accumulate(known)
    return np.where(last < 0, np.nan, values[last])


def future(origins: Whole, horizon: int) -> Whole:
    """The steps that are forecast at each origin, ``[...] -> [..., K]``."""
    return origins[..., None] + np.arange(1, horizon + 1)


def seasonal_naive(
    held: Numbers, origins: Whole, horizon: int, season: int, first: Whole | int = 0
) -> Numbers:
    """The seasonal naive forecast, the value one season before: ``[..., K]``.

    Beyond one season ahead the last season repeats. Origins within the first season get the first value, that
    of step `first`. With a season of 1 step it is persistence.
    """
    ahead = np.arange(1, horizon + 1)
    back = season * ((ahead - 1) // season + 1)
    least = np.asarray(first)[..., None]
    repeated: Numbers = held[np.maximum(origins[..., None] + ahead - back, least)]
    return repeated


def varies(values: Numbers) -> bool:
    """Whether the known values differ by more than rounding, and by enough to be scaled.

    >>> varies(np.array([14.62, np.nan, 14.62])), varies(np.array([3e8, 3e8 + 1]))
    (False, True)
    """
    known = values[~np.isnan(values)]
    if known.size == 0:
        return False
    low, high = float(known.min()), float(known.max())
    return high - low > max(CONSTANT * max(abs(low), abs(high)), LEAST_SPREAD)
