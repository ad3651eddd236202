"""The forecasts that cost nothing, and the errors by which a forecast is judged.

Shapes: ``N`` steps of the series, ``S`` origins (a forecast is made at each, knowing all up to and with it),
``K`` steps of the horizon. Step ``k`` of a forecast at origin ``t`` is for step ``t + k``, ``k = 1 .. K``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Whole = NDArray[np.int64]

CONSTANT = 1e-12  # of its level: what differs by less is a constant with rounding
LEAST_SPREAD = 1e-100  # its square is still a number


def hold(values: Numbers) -> Numbers:
    """Carry the last known value over missing ones, ``[N] -> [N]``; NaN before the first known one.

    >>> hold(np.array([np.nan, 1.0, np.nan, 3.0]))
    array([nan,  1.,  1.,  3.])
    """
    known = np.where(np.isnan(values), -1, np.arange(len(values)))
    last = np.maximum.accumulate(known)
    return np.where(last < 0, np.nan, values[last])


def varies(values: Numbers) -> bool:
    """Say whether known values differ by more than rounding, for their level, and by enough to be scaled.

    >>> varies(np.array([14.62, np.nan, 14.62])), varies(np.array([3e8, 3e8 + 1]))
    (False, True)
    """
    known = values[~np.isnan(values)]
    if known.size == 0:
        return False
    low, high = float(known.min()), float(known.max())
    return high - low > max(CONSTANT * max(abs(low), abs(high)), LEAST_SPREAD)


def future(origins: Whole, horizon: int) -> Whole:
    """Give the steps that forecasts at the origins are for, ``[...] -> [..., K]``."""
    return origins[..., None] + np.arange(1, horizon + 1)


def persistence(held: Numbers, origins: Whole, horizon: int) -> Numbers:
    """Forecast that nothing changes: the last known value, ``[..., K]``. ``held`` is from ``hold``."""
    return np.repeat(held[origins][..., None], horizon, axis=-1)


def seasonal_naive(held: Numbers, origins: Whole, horizon: int, season: int) -> Numbers:
    """Forecast the last season again: the value ``season`` steps before, ``[..., K]``.

    Past one season ahead the same season repeats. Origins within the first season, which have none to
    repeat, get the first value. With ``season`` 1 this is persistence.
    """
    ahead = np.arange(1, horizon + 1)
    back = season * ((ahead - 1) // season + 1)
    repeated: Numbers = held[np.maximum(origins[..., None] + ahead - back, 0)]
    return repeated


def seasonal_scale(values: Numbers, season: int) -> float:
    """Give the mean absolute one-season change within ``values``, the unit of MASE.

    Hyndman & Koehler (2006), "Another look at measures of forecast accuracy". NaN if there is no such pair.
    """
    changes = np.abs(values[season:] - values[:-season])
    return float(np.nanmean(changes)) if np.isfinite(changes).any() else float("nan")


def errors(forecast: Numbers, truth: Numbers, scale: float) -> dict[str, float | None]:
    """Give MAE, RMSE and MASE over every known true value; ``None`` where there is nothing to divide by.

    >>> errors(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, np.nan]), scale=2.0)
    {'mae': 1.0, 'rmse': 1.4142135623730951, 'mase': 0.5}
    """
    missed = (forecast - truth)[np.isfinite(truth)]
    if missed.size == 0:
        return {"mae": None, "rmse": None, "mase": None}
    mae = float(np.abs(missed).mean())
    mase = mae / scale if np.isfinite(scale) and scale > 0 else None
    return {"mae": mae, "rmse": float(np.sqrt(np.square(missed).mean())), "mase": mase}
