"""The adding problem, the multiplication problem, and parity."""

from __future__ import annotations

import numpy as np

from gatewise.tasks.synthetic.task import (
    Integers,
    Loss,
    Numbers,
    Sequences,
    Task,
    asked_last,
    most_probable,
    one_hot,
    ragged,
    within,
)

FIRST = 10  # the first number is one of the first ten


def adding(generator: np.random.Generator, rows: int, length: int) -> Sequences:
    """Draw the adding problem of Hochreiter & Schmidhuber 1997, section 5.4 (experiment 4).

    A row has between T and T + T/10 steps. Each is a pair: a value, uniform in [-1, 1], and a marker. The
    marker is 1 for one of the first ten pairs (of value X1) and for one of the first T/2 - 1 pairs that are
    still unmarked (X2), both chosen uniformly; -1 for the first and the last pair; else 0. After the last
    pair the target is 0.5 + (X1 + X2) / 4. A row is right if the answer is off by less than 0.04.

    Where the first pair is chosen the paper sets X1 to zero. Our interpretation: its marker stays
    -1 and its value becomes 0, also if it is chosen as the second. T/2 and T/10 are rounded down.

    Martens & Sutskever 2011, section 4.1, use the same problem.
    """
    input, first, second, lengths = _marked(generator, rows, length, low=-1.0, neutral=0.0)
    return asked_last(input, lengths, (0.5 + (first + second) / 4)[:, None])


def multiplication(generator: np.random.Generator, rows: int, length: int) -> Sequences:
    """Draw the multiplication problem of Hochreiter & Schmidhuber 1997, section 5.5 (experiment 5).

    As `adding`, but values are uniform in [0, 1], the target is X1 * X2, and the value of a first pair that
    is chosen becomes 1. A row is right if the answer is off by less than 0.04.
    """
    input, first, second, lengths = _marked(generator, rows, length, low=0.0, neutral=1.0)
    return asked_last(input, lengths, (first * second)[:, None])


def parity(generator: np.random.Generator, rows: int, length: int) -> Sequences:
    """Draw the parity problem of Bengio, Simard & Frasconi 1994, without noise in the input.

    A row has between T and T + T/10 steps (our choice; the paper: 25 to 50 steps). Each is 1 or -1 with equal
    probability. After the last the class is 1 if the number of 1's is odd, else 0. A row is right if its
    class is the more probable one. The parity of the steps before is not part of the target; with it the
    problem would be easy.
    """
    lengths = ragged(generator, rows, length)
    bits = generator.integers(0, 2, size=(int(lengths.max()), rows))
    inside = np.arange(len(bits))[:, None] < lengths
    odd = (bits * inside).sum(axis=0) % 2
    return asked_last((2 * bits - 1).astype(np.float32)[:, :, None], lengths, one_hot(odd, 2))


def _marked(
    generator: np.random.Generator, rows: int, length: int, low: float, neutral: float
) -> tuple[Numbers, Numbers, Numbers, Integers]:
    """Draw pairs ``[T, B, 2]`` with two marked ones. Returns them, X1 ``[B]``, X2 ``[B]`` and the lengths."""
    lengths = ragged(generator, rows, length)
    values = generator.uniform(low, 1.0, size=(int(lengths.max()), rows)).astype(np.float32)
    first = generator.integers(FIRST, size=rows)
    second = generator.integers(length // 2 - 1, size=rows)
    second += second >= first  # skip the one that is already marked
    row = np.arange(rows)
    markers = np.zeros_like(values)
    markers[first, row] = markers[second, row] = 1
    markers[lengths - 1, row] = markers[0] = -1
    chosen = (first == 0) | (second == 0)
    values[0, chosen] = neutral
    return np.stack([values, markers], axis=-1), values[first, row], values[second, row], lengths


TASKS = (
    Task(
        "adding",
        "The sum of two marked values among T to 11T/10; right if off by less than 0.04.",
        Loss.VALUE, adding, within(0.04), FIRST + 1, (50, 100, 200, 400),
    ),
    Task(
        "multiplication",
        "The product of two marked values among T to 11T/10; right if off by less than 0.04.",
        Loss.VALUE, multiplication, within(0.04), FIRST + 1, (50, 100, 200, 400),
    ),
    Task(
        "parity",
        "Whether the number of ones among T to 11T/10 signs is odd.",
        Loss.CLASS, parity, most_probable, 1, (2, 3, 5, 10),
    ),
)  # fmt: skip
