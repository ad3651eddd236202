"""Anomalies of a series: steps that the forecasts made for them missed by far more than usual.

The score of a step is the smallest of the absolute errors of the forecasts made for it one and two steps
before, each divided by the mean error of its kind in validation. Both must miss: after an outlier, the
forecast for the next step begins at the outlier and misses too, but the one made before the outlier does not.
The threshold is the score that errors like those in the validation part exceed at a given rate: above a high
quantile, excesses are taken as exponentially distributed (the simplest case of peaks over threshold: Siffer
et al. 2017).

Shapes: ``N`` steps, ``J`` forecasts made for a step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewise.runtime.jobs.encoding import numbers
from gatewise.runtime.jobs.naive import Numbers, Whole

MOST_AHEAD = 2  # most forecasts that judge a step
TAIL = 0.05  # share of the validation scores that the tail is estimated from
RATE = 0.001  # share of usual steps above the threshold
_CHUNK = 4096  # origins that are forecast together

Forecasts = Callable[[Whole], Numbers]  # of origins [S]: the forecasts [S, K]


@dataclass(frozen=True)
class Calibration:
    """What errors are usual.

    Attributes:
        errors: ``[J]``, the mean absolute error of the forecasts 1 .. J steps ahead in validation, in scaled
            units.
        base: the score that a share `TAIL` of the validation steps exceeds.
        excess: the mean by which they exceed it.

    Example:
        >>> Calibration((0.5, 0.7), base=3.0, excess=0.5).threshold(0.05)
        3.0
    """

    errors: tuple[float, ...]
    base: float
    excess: float

    @classmethod
    def of(cls, missed: Numbers) -> Calibration | None:
        """Calibrate on steps of the validation part. None if they have no values, or no error.

        Args:
            missed: ``[N, J]``, a result of `errors`, or of several in a row.
        """
        known = ~np.isnan(missed)
        usual = np.where(known, missed, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        if not len(usual) or not (usual > 0).all():
            return None
        found = _least(missed / usual)
        found = found[~np.isnan(found)]
        base = float(np.quantile(found, 1 - TAIL))
        above = found[found > base]
        return cls(tuple(map(float, usual)), base, float((above - base).mean()) if len(above) else 0.0)

    def threshold(self, rate: float = RATE) -> float:
        """The score that a share `rate` of usual steps exceeds. Rates above `TAIL` count as `TAIL`."""
        return self.base + self.excess * float(np.log(TAIL / min(rate, TAIL)))

    def scores(self, missed: Numbers) -> Numbers:
        """The scores ``[N]`` of steps with these errors ``[N, J]``; NaN for steps without any."""
        if missed.shape[1] < len(self.errors):  # no row has been forecast
            return np.full(len(missed), np.nan)
        return _least(missed[:, : len(self.errors)] / np.array(self.errors))

    def to_dict(self) -> dict[str, Any]:
        """The calibration as JSON data."""
        return {"errors": list(self.errors), "base": self.base, "excess": self.excess}

    @classmethod
    def from_dict(cls, data: Any) -> Calibration:
        """The calibration in a header.

        Raises:
            ValueError, KeyError, TypeError: it is not one.
        """
        usual = numbers(data["errors"], "errors")
        base, excess = numbers([data["base"], data["excess"]], "base and excess")
        if not usual or min(usual) <= 0 or base < 0 or excess < 0:
            raise ValueError(f"errors must be above 0, base and excess at least 0. Got {data!r:.60}")
        return cls(usual, base, excess)


def errors(truth: Numbers, forecasts: Forecasts, first: int, most: int) -> Numbers:
    """The absolute errors ``[N, J]`` of the forecasts made for each step, from origin `first` on.

    ``[n, j]`` is that of the forecast at origin ``n - 1 - j``; NaN if there is none, or no value.

    Args:
        truth: ``[N]``, the target, NaN where unknown.
        forecasts: the forecasts at some origins.
        first: the first origin.
        most: the most forecasts of a step that are judged.
    """
    N = len(truth)
    found: Numbers = np.empty((N, 0))
    for start in range(first, N - 1, _CHUNK):
        origins = np.arange(start, min(start + _CHUNK, N - 1))
        made = forecasts(origins)[:, :most]
        if not found.size:
            found = np.full((N, made.shape[1]), np.nan)
        for j in range(made.shape[1]):
            steps = origins + 1 + j
            inside = steps < N
            found[steps[inside], j] = np.abs(truth[steps[inside]] - made[inside, j])
    return found


def _least(scores: Numbers) -> Numbers:
    """The smallest known score of each step, ``[N, J] -> [N]``; NaN if none is known."""
    least = np.where(np.isnan(scores), np.inf, scores).min(axis=1, initial=np.inf)
    return np.where(np.isinf(least), np.nan, least)
