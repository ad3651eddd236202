"""Calibration: the temperature that makes probabilities on validation sequences as sure as they are right.

Source: Guo et al. 2017, "On calibration of modern neural networks".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewise.runtime.jobs.arithmetic import log_softmax

Array = NDArray[Any]
COLDEST, HOTTEST = 0.05, 20.0  # limits of temperatures
_STEPS = 60  # of the golden section search
BINS = 10  # of the calibration error


def temperature(logits: Array, targets: Array) -> float:
    """The temperature with the smallest log loss on ``logits [N, K]`` of ``targets [N]`` or ``[N, K]``.

    Its logarithm has a normal prior with mean 0 and deviation 1, so that no probability becomes 1 where a few
    rows are all right.
    """
    low, high = np.log(COLDEST), np.log(HOTTEST)
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(_STEPS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if _cost(logits, targets, left) <= _cost(logits, targets, right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def _cost(logits: Array, targets: Array, log_temperature: float) -> float:
    return len(logits) * log_loss(logits / np.exp(log_temperature), targets) + log_temperature**2 / 2


def log_loss(logits: Array, targets: Array) -> float:
    """The mean log loss of ``logits [N, K]``, for classes ``targets [N]`` or labels ``targets [N, K]``."""
    if targets.ndim == 1:
        return float(-log_softmax(logits)[np.arange(len(targets)), targets].mean())
    scores = np.asarray(logits, np.float64)
    return float((np.logaddexp(0, scores) - targets * scores).mean())


def calibration_error(probabilities: Array, right: Array) -> float:
    """The expected calibration error: how far confidence and accuracy lie apart, on average over ten bins.

    Args:
        probabilities: ``[N]``, of the predicted class.
        right: ``[N]``, whether the prediction was right.
    """
    if not len(probabilities):
        return float("nan")
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    gaps = [
        np.sum(bins == b) * abs(probabilities[bins == b].mean() - right[bins == b].mean())
        for b in np.unique(bins)
    ]
    return float(np.sum(gaps) / len(probabilities))
