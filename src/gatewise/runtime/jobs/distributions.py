"""The distribution of a forecast around its point: quantiles and samples, in NumPy.

Shapes: ``S`` forecasts, ``K`` steps of the horizon, ``M`` sizes that describe a distribution, ``Q`` levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import exp, inf, lgamma, log, log1p
from statistics import NormalDist
from typing import Any

import numpy as np

from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs.naive import Numbers, Whole

LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)  # of the quantiles
BELOW = sum(level < 0.5 for level in LEVELS)
SIZES = {"point": 0, "quantiles": len(LEVELS) - 1, "gaussian": 1, "student-t": 1, "negative-binomial": 1}
LARGE = 2_000.0  # a mean count from which a gamma distribution stands for the negative binomial one
_NORMAL = NormalDist()
_FURTHEST = 6.0  # standard deviations, of samples


def softplus(x: Array) -> Numbers:
    """``log(1 + exp(x))``, in float64, which is above 0; NaN for NaN, without a warning."""
    with np.errstate(invalid="ignore"):
        found: Numbers = np.logaddexp(0.0, np.asarray(x, np.float64))
    return found


def offsets(sizes: Numbers) -> Numbers:
    """The distances ``[..., Q]`` of the quantiles at `LEVELS` from the median, in order: they never cross.

    Args:
        sizes: ``[..., M]``, the gaps between neighbouring quantiles, from the median down, then up.
    """
    below = -np.add.accumulate(sizes[..., :BELOW], axis=-1)[..., ::-1]
    above = np.add.accumulate(sizes[..., BELOW:], axis=-1)
    found: Numbers = np.concatenate([below, np.zeros((*sizes.shape[:-1], 1)), above], axis=-1)
    return found


def quantiles(
    output: str, point: Numbers, sizes: Numbers, levels: Sequence[float], freedom: float = inf
) -> Numbers:
    """The quantiles ``[..., Q]`` of distributions around points.

    Levels between those of "quantiles" are interpolated on the scale of a normal distribution, and beyond
    them extrapolated.

    Args:
        output: "quantiles", "gaussian", "student-t" or "negative-binomial".
        point: ``[...]``, the median; of a negative binomial distribution the mean, a count.
        sizes: ``[..., M]``: the gaps between quantiles, a standard deviation, a scale, or the excess of the
            variance over the mean, divided by the squared mean.
        levels: Q numbers between 0 and 1.
        freedom: the degrees of freedom of Student's t.
    """
    if output == "negative-binomial":
        return np.stack([counts(point, sizes[..., 0], level) for level in levels], axis=-1)
    if output == "quantiles":
        steps = np.array([_NORMAL.inv_cdf(level) for level in levels])
        return point[..., None] + _between(offsets(sizes), steps)
    inverse = _NORMAL.inv_cdf if output == "gaussian" else lambda level: student_quantile(level, freedom)
    found: Numbers = point[..., None] + sizes * np.array([inverse(level) for level in levels])
    return found


def samples(output: str, point: Numbers, sizes: Numbers, steps: Numbers, freedom: float = inf) -> Numbers:
    """Samples ``[N, K]`` around ``point [K]`` with ``sizes [K, M]``.

    Args:
        output, freedom: as for `quantiles`.
        steps: ``[N, K]``, samples of the standard normal distribution, which take the place of levels.
    """
    steps = np.clip(steps, -_FURTHEST, _FURTHEST)
    if output == "negative-binomial":
        means, excess = np.broadcast_to(point, steps.shape), np.broadcast_to(sizes[:, 0], steps.shape)
        return counts(means, excess, normal_levels(steps))
    if output == "quantiles":
        place, share = _places(steps)
        values, column = offsets(sizes), np.arange(len(sizes))
        return point + _mixed(values[column, place], values[column, place + 1], share)
    if output == "student-t":
        steps = np.interp(steps, *_student_steps(freedom))
    found: Numbers = point + sizes[:, 0] * steps
    return found


def _between(values: Numbers, steps: Numbers) -> Numbers:
    """Values ``[..., Q]`` at `LEVELS`, interpolated at standard normal ``steps [R]``: ``[..., R]``."""
    place, share = _places(steps)
    return _mixed(values[..., place], values[..., place + 1], share)


def _places(steps: Numbers) -> tuple[Whole, Numbers]:
    """The level of `LEVELS` below each standard normal step, and the share of the way to the next one."""
    known = np.array([_NORMAL.inv_cdf(level) for level in LEVELS])
    place = np.clip(np.searchsorted(known, steps) - 1, 0, len(known) - 2)
    share = (steps - known[place]) / (known[place + 1] - known[place])
    return place, share


def _mixed(low: Numbers, high: Numbers, share: Numbers) -> Numbers:
    found: Numbers = np.where(share == 1, high, low + share * (high - low))
    return found


def normal_levels(steps: Numbers) -> Numbers:
    """The levels of samples of the standard normal distribution."""
    found: Numbers = np.vectorize(_NORMAL.cdf)(np.clip(steps, -_FURTHEST, _FURTHEST))
    return found


@lru_cache(maxsize=16)
def _student_steps(freedom: float) -> tuple[Numbers, Numbers]:
    """Standard normal steps, and the quantiles of Student's t at their levels."""
    grid = np.linspace(-_FURTHEST, _FURTHEST, 241)
    return grid, np.array([student_quantile(_NORMAL.cdf(step), freedom) for step in grid])


def counts(mean: Numbers, excess: Numbers, levels: Numbers | float) -> Numbers:
    """The quantiles of negative binomial distributions, whole numbers.

    Args:
        mean: the means, at least 0.
        excess: the variance is ``mean + excess * mean ** 2``.
        levels: the levels, a number or one for each mean.
    """
    mean, excess, levels = np.broadcast_arrays(np.maximum(mean, 0.0), excess, np.asarray(levels, np.float64))
    shape = mean.shape
    m, a, level = mean.ravel(), np.maximum(excess.ravel(), 1e-6), np.minimum(levels.ravel(), 1 - 1e-12)
    found = np.zeros(m.shape)
    spread = np.sqrt(m + a * m * m)
    large = m > LARGE
    normal = np.array([_NORMAL.inv_cdf(max(one, 1e-12)) for one in level[large]])
    ratio = (spread[large] / m[large]) ** 2 / 9  # Wilson & Hilferty 1931
    found[large] = np.rint(m[large] * np.maximum(1 - ratio + normal * np.sqrt(ratio), 0) ** 3)
    rows: Any = np.flatnonzero(~large & (m > 0))
    size, odds = 1 / a[rows], a[rows] * m[rows] / (1 + a[rows] * m[rows])
    logs = -size * np.log1p(a[rows] * m[rows])  # the logarithm of the probability of `count`
    total: Any = np.exp(logs)
    count = 0
    while len(rows):
        done = (total >= level[rows]) | (count > m[rows] + 40 * spread[rows])
        found[rows[done]] = count
        rows, size, odds, logs, total = (part[~done] for part in (rows, size, odds, logs, total))
        logs = logs + np.log((size + count) / (count + 1)) + np.log(odds)
        total = total + np.exp(logs)
        count += 1
    return found.reshape(shape)


def student_quantile(level: float, freedom: float) -> float:
    """The quantile of Student's t distribution, by bisection to the last bits.

    >>> round(student_quantile(0.975, 5), 6)
    2.570582
    """
    if freedom == inf:
        return _NORMAL.inv_cdf(level)
    if level == 0.5:
        return 0.0
    if level < 0.5:
        return -student_quantile(1 - level, freedom)
    low, high = 0.0, 1.0
    while student_cdf(high, freedom) < level:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        if student_cdf(middle, freedom) < level:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def student_cdf(x: float, freedom: float) -> float:
    """The distribution function of Student's t, for x of at least 0."""
    return 1 - 0.5 * incomplete_beta(freedom / 2, 0.5, freedom / (freedom + x * x))


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Lentz 1976)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away(1 + term * d)
            c = _away(1 + term / c)
            found *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * found


def _away(value: float) -> float:
    """A value, or a tiny one in the place of 0."""
    return value if abs(value) > 1e-300 else 1e-300
