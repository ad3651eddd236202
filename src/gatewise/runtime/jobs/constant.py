"""Series of a panel that were constant in training: until something changes, none is forecast to change."""

from __future__ import annotations

import numpy as np

from gatewise.runtime.jobs.naive import CONSTANT, LEAST_SPREAD, Numbers, Truth, Whole, hold

NARROW = 1e-3  # the spread of their distributions, in that of a series that varies


def narrowed(output: str, sizes: Numbers) -> Numbers:
    """The sizes of distributions whose spread is `NARROW` of the usual one.

    The size of a negative binomial distribution is a share of the squared mean that is added to the variance.
    """
    return sizes * (NARROW**2 if output == "negative-binomial" else NARROW)


def unchanged(values: Numbers, origins: Whole, rows: int) -> Truth:
    """Whether the known values of the last `rows` rows are the same, at each of ``origins [S]``.

    >>> unchanged(np.array([1.0, 3.0, 3.0, np.nan, 3.0, 4.0]), np.array([2, 4, 5]), rows=3).tolist()
    [False, True, False]
    """
    last = hold(values)[np.maximum(origins[:, None] - np.arange(rows), 0)]
    known = ~np.isnan(last)
    low, high = np.where(known, last, np.inf).min(axis=1), np.where(known, last, -np.inf).max(axis=1)
    size = np.maximum(np.abs(low), np.abs(high))
    found: Truth = known.any(axis=1) & (high - low <= np.maximum(CONSTANT * size, LEAST_SPREAD))
    return found
