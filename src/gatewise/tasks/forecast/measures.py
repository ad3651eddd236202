"""The error measures of forecasts: of point forecasts, and of quantiles.

Shapes: ``truth [...]``, with NaN where it is unknown; quantiles ``[..., Q]``, one for each of ``Q`` levels. A
scale, the unit of MASE and MSIS, is one number, or an array that fits `truth`, say ``[S, 1]`` with one number
for the series of each origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gatewise.tasks.forecast.naive import Numbers

MEASURES = {"mae": "MAE", "rmse": "RMSE", "mase": "MASE", "smape": "sMAPE"}
CENTRAL = 0.95  # the interval of MSIS


def errors(forecast: Numbers, truth: Numbers, scale: float | Numbers) -> dict[str, float | None]:
    """MAE, RMSE, MASE and sMAPE over all known true values. None: no value is known, or the scale is zero.

    MASE is in units of the naive forecast's error in training (Hyndman & Koehler 2006). Series without a
    scale do not count in it. sMAPE is in percent, from 0 to 200, as in the M4 competition; a forecast of zero
    for a true zero counts as 0.

    >>> errors(np.array([1.0, 2.0, 3.0]), np.array([1.0, 6.0, np.nan]), scale=2.0)
    {'mae': 2.0, 'rmse': 2.8284271247461903, 'mase': 1.0, 'smape': 50.0}
    """
    known = np.isfinite(truth)
    missed = np.abs((forecast - truth)[known])
    if missed.size == 0:
        return dict.fromkeys(MEASURES)
    size = (np.abs(forecast) + np.abs(truth))[known]
    relative = np.divide(missed, size, out=np.zeros_like(missed), where=size > 0)
    return {
        "mae": float(missed.mean()),
        "rmse": float(np.sqrt(np.square(missed).mean())),
        "mase": _scaled_mean(missed, scale, known),
        "smape": float(200 * relative.mean()),
    }


def quantile_errors(
    quantiles: Numbers, levels: Sequence[float], truth: Numbers, scale: float | Numbers
) -> dict[str, Any]:
    """Pinball loss, coverage and MSIS of quantiles over all known true values.

    Returns:
        ``pinball``, the quantile loss, mean over all levels and values; ``below``, for each level the share
        of true values at or below the quantile, which should be the level; ``coverage``, for each pair of
        levels around the median the share of true values between the quantiles, ends included; ``msis``, the
        mean scaled interval score of 95 % (Gneiting & Raftery 2007, Makridakis et al. 2020), None without the
        levels 0.025 and 0.975. All are None if no value is known.

    >>> made = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    >>> found = quantile_errors(made, (0.25, 0.5, 0.75), np.array([2.0, 5.0]), scale=1.0)
    >>> found["pinball"], found["coverage"], found["msis"]
    (0.75, {'50%': 0.5}, None)
    """
    known = np.isfinite(truth)
    values, made = truth[known][:, None], quantiles[known]
    names, pairs = [f"{level:g}" for level in levels], intervals(levels)
    if values.size == 0:
        empty = dict.fromkeys(names), dict.fromkeys(pairs)
        return {"pinball": None, "below": empty[0], "coverage": empty[1], "msis": None}
    share, missed = np.asarray(levels), values - made
    within = {
        name: float(np.mean((made[:, low] <= values[:, 0]) & (values[:, 0] <= made[:, high])))
        for name, (low, high) in pairs.items()
    }
    central = pairs.get(_percent(CENTRAL))
    return {
        "pinball": float(np.maximum(share * missed, (share - 1) * missed).mean()),
        "below": dict(zip(names, map(float, np.mean(values <= made, axis=0)), strict=True)),
        "coverage": within,
        "msis": None
        if central is None
        else _scaled_mean(_interval_score(made[:, central], values[:, 0]), scale, known),
    }


def intervals(levels: Sequence[float]) -> dict[str, tuple[int, int]]:
    """The pairs of levels that lie symmetrically around 0.5, by name, the widest first.

    >>> intervals((0.1, 0.25, 0.5, 0.75, 0.9))
    {'80%': (0, 4), '50%': (1, 3)}
    """
    found = {}
    for low, level in enumerate(levels):
        for high, other in enumerate(levels):
            if level < 0.5 and abs(level + other - 1) < 1e-9:
                found[other - level] = (low, high)
    return {_percent(wide): found[wide] for wide in sorted(found, reverse=True)}


def _percent(share: float) -> str:
    return f"{100 * share:.6g}%"


def _interval_score(ends: Numbers, values: Numbers) -> Numbers:
    """The interval scores: the width, plus 2 / alpha times the distance of a value outside."""
    low, high = ends.T
    penalty = 2 / (1 - CENTRAL)
    outside = np.maximum(low - values, 0) + np.maximum(values - high, 0)
    score: Numbers = high - low + penalty * outside
    return score


def _scaled_mean(scores: Numbers, scale: float | Numbers, known: Any) -> float | None:
    """The mean of scores, each divided by its scale. Scores without one are ignored; None if all are."""
    scales = np.broadcast_to(np.asarray(scale, np.float64), known.shape)[known]
    usable = np.isfinite(scales) & (scales > 0)
    return float((scores[usable] / scales[usable]).mean()) if usable.any() else None
