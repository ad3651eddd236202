"""Naive forecasts, and the error measures.

Shapes: ``N`` steps of the series, ``S`` origins (the last step that a forecast knows), ``K`` steps of the
horizon. Step ``k`` of a forecast at origin ``t`` is for step ``t + k``, ``k = 1 .. K``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Whole = NDArray[np.int64]

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


def future(origins: Whole, horizon: int) -> Whole:
    """The steps that are forecast at each origin, ``[...] -> [..., K]``."""
    return origins[..., None] + np.arange(1, horizon + 1)


def persistence(held: Numbers, origins: Whole, horizon: int) -> Numbers:
    """The persistence forecast, the last known value: ``[..., K]``. `held` is a result of `hold`."""
    return np.repeat(held[origins][..., None], horizon, axis=-1)


def seasonal_naive(held: Numbers, origins: Whole, horizon: int, season: int) -> Numbers:
    """The seasonal naive forecast, the value one season before: ``[..., K]``.

    Beyond one season ahead the last season repeats. Origins within the first season get the first value. With
    a season of 1 step it is persistence.
    """
    ahead = np.arange(1, horizon + 1)
    back = season * ((ahead - 1) // season + 1)
    repeated: Numbers = held[np.maximum(origins[..., None] + ahead - back, 0)]
    return repeated


def seasonal_scale(values: Numbers, season: int) -> float:
    """The mean absolute change over one season, the unit of MASE. NaN if no such change is known.

    Source: Hyndman & Koehler 2006, "Another look at measures of forecast accuracy".
    """
    changes = np.abs(values[season:] - values[:-season])
    return float(np.nanmean(changes)) if np.isfinite(changes).any() else float("nan")


def errors(forecast: Numbers, truth: Numbers, scale: float) -> dict[str, float | None]:
    """MAE, RMSE and MASE over all known true values; None for a division by zero.

    >>> errors(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, np.nan]), scale=2.0)
    {'mae': 1.0, 'rmse': 1.4142135623730951, 'mase': 0.5}
    """
    missed = (forecast - truth)[np.isfinite(truth)]
    if missed.size == 0:
        return {"mae": None, "rmse": None, "mase": None}
    mae = float(np.abs(missed).mean())
    mase = mae / scale if np.isfinite(scale) and scale > 0 else None
    return {"mae": mae, "rmse": float(np.sqrt(np.square(missed).mean())), "mase": mase}
