"""Naive forecasts and a ridge regression on lags, written apart from the package, in NumPy alone.

Shapes: ``N`` windows, ``L`` lags, ``K`` steps of the horizon, ``S`` origins. An origin is the last step that
its forecast knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Whole = NDArray[np.int64]

PENALTIES = np.logspace(-3, 4, 8)  # of inputs in units of a standard deviation
MOST_LAGS = 400
MOST_WINDOWS = 20_000  # evenly spaced ones of all series together
MOST_CHECKED = 1_000  # validation origins of all series together
SHARE = 0.15  # share of the rows before the test part that penalty and lags are chosen on


def held(values: Array) -> Array:
    """Missing values replaced by the last known one; before the first, by the first."""
    known = np.isfinite(values)
    places = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    filled: Array = values[np.maximum(places, int(np.argmax(known)))]
    return filled


def persistence(values: Array, origins: Whole, horizon: int) -> Array:
    """The last known value, ``[S, K]``."""
    return np.repeat(held(values)[origins][:, None], horizon, axis=1)


def seasonal_naive(values: Array, origins: Whole, horizon: int, season: int) -> Array:
    """The values of the last season, ``[S, K]``."""
    steps = np.arange(horizon) % season - season + 1
    made: Array = held(values)[np.maximum(origins[:, None] + steps, 0)]
    return made


class Lags(NamedTuple):
    """What the regression reads: the number of lags, as levels or as differences from the last value."""

    number: int
    relative: bool


@dataclass(frozen=True)
class One:
    """A series in its own units: ``filled [N]`` without gaps, ``truth [N]`` with them, both scaled."""

    filled: Array
    truth: Array
    mean: float
    scale: float
    rows: int

    @classmethod
    def of(cls, values: Array, rows: int) -> One:
        """Scale a series by the mean and the standard deviation of its first `rows` rows."""
        mean, scale = float(np.nanmean(values[:rows])), float(np.nanstd(values[:rows])) or 1.0
        scaled = (values - mean) / scale
        return cls(held(scaled), scaled, mean, scale, rows)

    def windows(self, origins: Whole, lags: Lags) -> tuple[Array, Array]:
        """Inputs ``[N, L + 1]``, the last of which is 1, and the value that forecasts are relative to."""
        padded = np.concatenate([np.full(lags.number - 1, self.filled[0]), self.filled])
        inputs = np.lib.stride_tricks.sliding_window_view(padded, lags.number)[origins]
        base = inputs[:, -1] if lags.relative else np.zeros(len(origins))
        return np.column_stack([inputs - base[:, None], np.ones(len(origins))]), base

    def ahead(self, origins: Whole, horizon: int) -> Array:
        """The true values ``[N, K]``."""
        truth: Array = self.truth[origins[:, None] + np.arange(1, horizon + 1)]
        return truth


@dataclass(frozen=True)
class Ridge:
    """Ridge regressions on lags: one for each step ahead, common to all series.

    The number of lags, levels or differences, and the penalty are those with the smallest absolute error in
    the last 15 % before the test part, each series in its own standard deviation; then all rows before the
    test part are fitted.
    """

    lags: Lags
    penalty: float
    weights: Array  # [L + 1, K]
    horizon: int

    @classmethod
    def fit(cls, values: Sequence[Array], rows: Sequence[int], horizon: int, season: int) -> Ridge:
        """Choose and fit. `rows` counts the rows of each series before its test part."""
        each = [One.of(v, n) for v, n in zip(values, rows, strict=True)]
        early = [max(n - max(int(SHARE * n), horizon), 0) for n in rows]
        most = min(max(max(rows) // 3, 2), MOST_LAGS)
        counts = {2, 4, 8, horizon, 2 * horizon, season + 1, 2 * season, season + horizon, 3 * horizon}
        found = []
        for count, relative in product(sorted(c for c in counts if 1 < c <= most), (False, True)):
            lags = Lags(count, relative)
            weights = _solved(each, early, lags, horizon, PENALTIES)  # [penalties, L + 1, K]
            errors = _checked(each, early, lags, horizon, weights)
            best = int(np.nanargmin(errors))
            found.append((errors[best], lags, float(PENALTIES[best])))
        _, lags, penalty = min(found, key=lambda one: one[0])
        return cls(lags, penalty, _solved(each, rows, lags, horizon, np.array([penalty]))[0], horizon)

    def predict(self, values: Array, rows: int, origins: Whole) -> Array:
        """The forecasts of a series, ``[S, K]``."""
        one = One.of(values, rows)
        inputs, base = one.windows(origins, self.lags)
        made: Array = (inputs @ self.weights + base[:, None]) * one.scale + one.mean
        return made


def _spread(first: int, stop: int, most: int) -> Whole:
    """At most about `most` evenly spaced numbers; the stride is odd, so it meets all hours of a day."""
    stride = max(-(-(stop - first) // most), 1)
    return np.arange(first, stop, stride + (stride % 2 == 0) * (stride > 1))


def _solved(each: Sequence[One], rows: Sequence[int], lags: Lags, horizon: int, penalties: Array) -> Array:
    """The weights of every penalty, fitted to windows within the first rows: ``[penalties, L + 1, K]``."""
    inputs, truth = [], []
    for one, stop in zip(each, rows, strict=True):
        first = min(lags.number - 1, max(stop - horizon - 4, 0))  # a short series begins with padding
        origins = _spread(first, stop - horizon, max(MOST_WINDOWS // len(each), 1))
        if len(origins):
            x, base = one.windows(origins, lags)
            inputs.append(x)
            truth.append(one.ahead(origins, horizon) - base[:, None])
    x, y = np.concatenate(inputs), np.concatenate(truth)
    masks: dict[bytes, list[int]] = {}
    known = np.isfinite(y)
    for k in range(horizon):
        masks.setdefault(known[:, k].tobytes(), []).append(k)
    gram = x.T @ x
    weights = np.zeros((len(penalties), x.shape[1], horizon))
    for steps in masks.values():
        rows_known = known[:, steps[0]]
        missing = x[~rows_known]
        own = gram - missing.T @ missing
        right = x[rows_known].T @ y[rows_known][:, steps]
        for k, penalty in enumerate(penalties):
            ridge = np.diag(np.r_[np.full(lags.number, penalty), 1e-9])
            weights[k][:, steps] = np.linalg.solve(own + ridge, right)
    return weights


def _checked(each: Sequence[One], early: Sequence[int], lags: Lags, horizon: int, weights: Array) -> Any:
    """The mean absolute error of every penalty in the validation parts, ``[penalties]``."""
    total, count = np.zeros(len(weights)), 0
    for one, first in zip(each, early, strict=True):
        origins = _spread(max(first - 1, 0), one.rows - horizon, max(MOST_CHECKED // len(each), 1))
        if len(origins):
            x, base = one.windows(origins, lags)
            truth = one.ahead(origins, horizon)
            missed = np.abs(x @ weights + base[:, None] - truth)
            known = np.isfinite(truth)
            total, count = total + missed[:, known].sum(axis=1), count + int(known.sum())
    return total / max(count, 1)
