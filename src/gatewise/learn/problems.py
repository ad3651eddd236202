"""The tasks of the lesson, drawn by random numbers that are the same in Python and in JavaScript.

`page/training.js` has the same tasks under the same names. Shapes: T steps, B rows, I inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_HASH, _PRIME = 0x811C9DC5, 0x01000193  # of FNV-1a
_STEP = 0x6D2B79F5  # between the states of mulberry32


class Random:
    """Random numbers that depend only on a seed and a purpose (mulberry32 by Tommy Ettinger).

    Example:
        >>> Random(1, "train").draw(3).round(6).tolist()
        [0.958474, 0.339437, 0.70457]
    """

    def __init__(self, seed: int, purpose: str) -> None:
        self._state = _HASH  # becomes the FNV-1a hash of the text
        for letter in f"{seed}/{purpose}".encode("ascii"):
            self._state = (self._state ^ letter) * _PRIME % 2**32

    def draw(self, count: int) -> Array:
        """The next numbers, float64, uniform in [0, 1)."""
        s = self._state + _STEP * np.arange(1, count + 1, dtype=np.uint64)
        self._state = (self._state + _STEP * count) % 2**32
        s = s.astype(np.uint32)
        t = (s ^ s >> 15) * (s | 1)
        t = (t + (t ^ t >> 7) * (t | 61)) ^ t
        drawn: Array = (t ^ t >> 14) / 2.0**32
        return drawn


class Batch(NamedTuple):
    """Sequences to learn from.

    Attributes:
        x: the input [T, B, I], float32.
        target: what each answer should be: numbers of float64, or the indices of classes; as many as answers.
    """

    x: Array
    target: Array


@dataclass(frozen=True)
class Task:
    """A task of the lesson.

    Attributes:
        inputs: I, the width of the input.
        outputs: K, the numbers in an answer.
        loss: the name of its loss in `gatewise.learn.training`.
        draw: draws a batch of T steps and B rows.
        every: whether there is an answer at each step, not only after the last.
    """

    inputs: int
    outputs: int
    loss: str
    draw: Callable[[Random, int, int], Batch]
    every: bool = False


def adding(random: Random, T: int, B: int) -> Batch:
    """The adding problem (Hochreiter & Schmidhuber 1997): two of T numbers are marked; say their sum.

    The numbers are uniform in [0, 1); one mark is in the first half, one in the second.
    """
    drawn = random.draw(B * (2 + T)).reshape(B, 2 + T)
    marked = _marked(drawn, T)
    x = np.zeros((T, B, 2), np.float32)
    x[:, :, 0] = drawn[:, 2:].T
    target = np.zeros(B)
    for t in marked:
        x[t, np.arange(B), 1] = 1
        target += x[t, np.arange(B), 0]
    return Batch(x, target)


def remember(random: Random, T: int, B: int) -> Batch:
    """The first of T numbers is marked; say it after the last."""
    x = np.zeros((T, B, 2), np.float32)
    x[:, :, 0] = random.draw(B * T).reshape(B, T).T
    x[0, :, 1] = 1
    return Batch(x, x[0, :, 0].astype(np.float64))


def order(random: Random, T: int, B: int) -> Batch:
    """Two of T numbers, each -1 or 1, are marked; say which of the four pairs it was, as a class."""
    drawn = random.draw(B * (2 + T)).reshape(B, 2 + T)
    first, second = _marked(drawn, T)
    x = np.zeros((T, B, 2), np.float32)
    x[:, :, 0] = np.where(drawn[:, 2:] < 0.5, -1, 1).T
    rows = np.arange(B)
    x[first, rows, 1] = x[second, rows, 1] = 1
    return Batch(x, 2 * (x[first, rows, 0] > 0) + (x[second, rows, 0] > 0))


def same(random: Random, T: int, B: int) -> Batch:
    """Each number is -1 or 1, some are marked; say at each step if it is the same as the last marked one.

    The first number is always marked, a later one with probability 0.1.
    """
    drawn = random.draw(2 * B * T).reshape(B, T, 2)
    x = np.zeros((T, B, 2), np.float32)
    x[:, :, 0] = np.where(drawn[:, :, 0] < 0.5, -1, 1).T
    x[:, :, 1] = (drawn[:, :, 1] < 0.1).T
    x[0, :, 1] = 1
    target, kept = np.zeros((T, B), int), x[0, :, 0]
    for t in range(T):
        kept = np.where(x[t, :, 1] > 0, x[t, :, 0], kept)
        target[t] = kept == x[t, :, 0]
    return Batch(x, target)


def _marked(drawn: Array, T: int) -> tuple[Array, Array]:
    """The marked steps of each row: one in the first half, one in the second."""
    half = T // 2
    first, second = np.floor(drawn[:, 0] * half), half + np.floor(drawn[:, 1] * (T - half))
    return first.astype(int), second.astype(int)


TASKS: dict[str, Task] = {
    "adding": Task(2, 1, "squares", adding),
    "remember": Task(2, 1, "squares", remember),
    "same": Task(2, 2, "classes", same, every=True),
    "order": Task(2, 4, "classes", order),
}
