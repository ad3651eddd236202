"""Synthetic tasks: random sequences, targets, and the criterion for right answers.

Shapes: ``T`` steps, ``B`` rows, ``I`` inputs, ``O`` outputs. Steps are counted from 0, as arrays are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float32]
Integers: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]


class Loss(Enum):
    """The loss: cross entropy for a ``CLASS`` (answers are probabilities), squared error for a ``VALUE``."""

    VALUE = "squared error"
    CLASS = "cross-entropy"


@dataclass(frozen=True)
class Sequences:
    """Rows of a task, padded.

    Attributes:
        input: ``[T, B, I]``, zero past the end of a row.
        lengths: ``[B]``, the steps of each row.
        target: ``[T, B, O]``, the value or the one-hot class; zero at steps without a target.
        asked: ``[T, B]``, the mask of the steps with a target.
    """

    input: Numbers
    lengths: Integers
    target: Numbers
    asked: Flags


# (generator, rows B, length T) -> sequences
Draw: TypeAlias = Callable[[np.random.Generator, int, int], Sequences]
# (answers [T, B, O], sequences) -> whether each row is right, [B]
Judge: TypeAlias = Callable[[Numbers, Sequences], Flags]


@dataclass(frozen=True)
class Task:
    """A synthetic task.

    Attributes:
        name: the name on the command line.
        title: a sentence that says what a length means and when a row is right.
        loss: the training loss.
        draw: ``(generator, B, T) -> Sequences``; its docstring has the details.
        right: ``(answers [T, B, O], sequences) -> [B]``, the criterion.
        shortest: the smallest length.
        lengths: the default lengths of a comparison.

    Example:
        >>> import numpy as np
        >>> from gatewise.tasks.synthetic import TASKS
        >>> rows = TASKS["adding"].sequences(np.random.default_rng(0), rows=3, length=50)
        >>> rows.input.shape, rows.lengths
        ((55, 3, 2), array([55, 53, 53]))
        >>> TASKS["adding"].right(rows.target, rows)
        array([ True,  True,  True])
    """

    name: str
    title: str
    loss: Loss
    draw: Draw
    right: Judge
    shortest: int
    lengths: tuple[int, ...]

    def sequences(self, generator: np.random.Generator, rows: int, length: int) -> Sequences:
        """Draw rows. The same state of the generator gives the same rows. Raises as `check`."""
        self.check(length)
        return self.draw(generator, rows, length)

    def check(self, length: int) -> None:
        """Raise a ValueError if a length is too short for the task."""
        if length < self.shortest:
            raise ValueError(f"length: {self.name} needs at least {self.shortest} steps. Got {length}.")


def ragged(generator: np.random.Generator, rows: int, length: int) -> Integers:
    """Draw lengths from T to T + T / 10, as in sections 5.4 to 5.6 of Hochreiter & Schmidhuber 1997."""
    return generator.integers(length, length + length // 10, size=rows, endpoint=True)


def one_hot(classes: Integers, width: int) -> Numbers:
    """One-hot vectors ``[..., width]`` of classes."""
    return np.eye(width, dtype=np.float32)[classes]


def asked_last(input: Numbers, lengths: Integers, answer: NDArray[np.floating]) -> Sequences:
    """Sequences whose target is ``answer [B, O]`` after the last step of each row. The padding becomes 0."""
    steps = np.arange(len(input))[:, None]
    asked, inside = steps == lengths - 1, steps < lengths
    target = asked[:, :, None] * answer.astype(np.float32)
    return Sequences(input * inside[:, :, None], lengths, target, asked)


def within(error: float) -> Judge:
    """The criterion that every output is within `error` of its target."""

    def right(answer: Numbers, rows: Sequences) -> Flags:
        near = (np.abs(answer - rows.target) < error).all(axis=-1)
        return np.asarray((near | ~rows.asked).all(axis=0))

    return right


def most_probable(answer: Numbers, rows: Sequences) -> Flags:
    """The criterion that the right class is the most probable one at every step with a target."""
    same = answer.argmax(axis=-1) == rows.target.argmax(axis=-1)
    return np.asarray((same | ~rows.asked).all(axis=0))
