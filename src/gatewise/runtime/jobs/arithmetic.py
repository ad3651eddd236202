"""Embeddings, pooling and softmax in NumPy. The bits of a row do not depend on the batch that it is in."""

from __future__ import annotations

from typing import Literal

import numpy as np

from gatewise.runtime.arrays import Array

Pooling = Literal["last", "mean", "max"]


def embedding(weight: Array, ids: Array) -> Array:
    """The rows of ``weight [V, E]`` for whole numbers ``ids [...]`` from 0 to V - 1, ``[..., E]``.

    Raises:
        IndexError: an id does not exist.
    """
    if ids.size and not (ids.min() >= 0 and ids.max() < len(weight)):
        raise IndexError(f"ids must be from 0 to {len(weight) - 1}. Got {ids.min()} to {ids.max()}.")
    found: Array = np.take(weight, ids, axis=0)
    return found


def pooled(x: Array, lengths: Array, how: Pooling) -> Array:
    """One vector for each row of ``x [T, B, C]`` with ``lengths [B]``, ``[B, C]``; zeros without steps.

    `how` is "last" (the step at the row's end), "mean" (summed in order, in float64) or "max".
    """
    T, B, C = x.shape
    if T == 0:
        return np.zeros((B, C), x.dtype)
    if how == "max":
        running = (np.arange(T)[:, None] < lengths)[..., None]
        found = np.where(running, x, -np.inf).max(axis=0)
    else:
        # `accumulate` adds step by step; the order of `sum` depends on the shape.
        steps = x if how == "last" else np.add.accumulate(x, axis=0, dtype=np.float64)
        found = steps[np.maximum(lengths - 1, 0), np.arange(B)]
        found = found if how == "last" else found / np.maximum(lengths, 1)[:, None]
    found = np.where((lengths > 0)[:, None], found, 0)
    return found.astype(x.dtype)


def softmax(scores: Array, temperature: float = 1.0) -> Array:
    """The probabilities ``[..., C]`` of classes from their scores ``[..., C]``, in float64.

    The scores are first divided by `temperature`, in their own type. Of a row with an infinite or NaN score,
    all probabilities may be NaN.
    """
    with np.errstate(over="ignore"):
        scores = scores / scores.dtype.type(temperature)
    exponentials, total = _exponentials(_centred(scores))
    return exponentials / total


def log_softmax(scores: Array) -> Array:
    """The logarithms of the probabilities, in float64."""
    centred = _centred(scores)
    _, total = _exponentials(centred)
    return centred - np.log(total)


def sigmoid(scores: Array) -> Array:
    """``1 / (1 + exp(-scores))``, in float64."""
    small = np.exp(-np.abs(np.ascontiguousarray(scores, np.float64)))
    found: Array = np.where(scores >= 0, 1, small) / (1 + small)
    return found


def _centred(scores: Array) -> Array:
    """The scores less the largest of their row, in float64."""
    whole = np.ascontiguousarray(scores, np.float64)
    with np.errstate(invalid="ignore"):  # infinite scores
        centred: Array = whole - whole.max(axis=-1, keepdims=True)
    return centred


def _exponentials(centred: Array) -> tuple[Array, Array]:
    """The exponentials of centred scores, and their sum, added in order."""
    exponentials = np.exp(centred)
    return exponentials, np.add.accumulate(exponentials, axis=-1)[..., -1:]
