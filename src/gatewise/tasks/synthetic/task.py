"""What a synthetic task is: sequences that are drawn, what is asked of each, and when an answer is right.

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
    """What training makes small; of a ``CLASS`` the answers are probabilities, of a ``VALUE`` themselves."""

    VALUE = "squared error"
    CLASS = "cross-entropy"


@dataclass(frozen=True)
class Sequences:
    """Rows of a task, padded.

    Attributes:
        input: ``[T, B, I]``, zero past the end of a row.
        lengths: ``[B]``, the steps of each row.
        target: ``[T, B, O]``, the value or the one-hot class; zero where nothing is asked.
        asked: ``[T, B]``, the steps after which an answer is asked.
    """

    input: Numbers
    lengths: Integers
    target: Numbers
    asked: Flags


# From a generator, rows B and length T, the sequences.
Draw: TypeAlias = Callable[[np.random.Generator, int, int], Sequences]
# From answers [T, B, O], whether each row is right, [B].
Judge: TypeAlias = Callable[[Numbers, Sequences], Flags]


@dataclass(frozen=True)
class Task:
    """A synthetic task.

    Attributes:
        name: on the command line.
        title: in a sentence, with what a length means and when a row is right.
        loss: what training makes small.
        draw: ``(generator, B, T) -> Sequences``; its docstring says every detail.
        right: ``(answers [T, B, O], sequences) -> [B]``, the criterion.
        shortest: the least length.
        lengths: those that are compared unless told.

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
        """Draw rows; the same state of the generator gives the same rows. Raises as `check`."""
        self.check(length)
        return self.draw(generator, rows, length)

    def check(self, length: int) -> None:
        """Raise ``ValueError`` if a length is too short for the task."""
        if length < self.shortest:
            raise ValueError(f"length: {self.name} needs at least {self.shortest} steps. Got {length}.")


def ragged(generator: np.random.Generator, rows: int, length: int) -> Integers:
    """Draw lengths between T and T + T / 10, as Hochreiter & Schmidhuber 1997 in sections 5.4 to 5.6."""
    return generator.integers(length, length + length // 10, size=rows, endpoint=True)


def one_hot(classes: Integers, width: int) -> Numbers:
    """Give ``[..., width]`` of zeros, with a one at each class."""
    return np.eye(width, dtype=np.float32)[classes]


def asked_last(input: Numbers, lengths: Integers, answer: NDArray[np.floating]) -> Sequences:
    """Give sequences whose ``answer [B, O]`` is asked after the last step of each row, the rest zeroed."""
    steps = np.arange(len(input))[:, None]
    asked, inside = steps == lengths - 1, steps < lengths
    target = asked[:, :, None] * answer.astype(np.float32)
    return Sequences(input * inside[:, :, None], lengths, target, asked)


def within(error: float) -> Judge:
    """Give the criterion that every output is nearer to its target than ``error``, wherever asked."""

    def right(answer: Numbers, rows: Sequences) -> Flags:
        near = (np.abs(answer - rows.target) < error).all(axis=-1)
        return np.asarray((near | ~rows.asked).all(axis=0))

    return right


def most_probable(answer: Numbers, rows: Sequences) -> Flags:
    """Give the criterion that the class is the most probable one, wherever asked."""
    same = answer.argmax(axis=-1) == rows.target.argmax(axis=-1)
    return np.asarray((same | ~rows.asked).all(axis=0))
