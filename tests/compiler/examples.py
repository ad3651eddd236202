# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""Cells, each with a second statement in NumPy.

A statement works on any type of number. `gate(name)` gives the pre-activation ``W x + b + R h + b``,
`gate(name, "x")` and `gate(name, "h")` its parts. On complex numbers it gives exact derivatives as well: all
functions in it are analytic, and choices go by the real part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gatewise import (
    Cell,
    Input,
    Split,
    Vector,
    cell,
    cells,
    exp,
    log,
    maximum,
    minimum,
    relu,
    sigmoid,
    softplus,
    sqrt,
    tanh,
    where,
)


def sigma(a):
    return 1 / (1 + np.exp(-a))


def less(a, b):
    return np.real(a) < np.real(b)


def np_rnn(gate, h):
    return (np.tanh(gate("a")),)


def np_rnn_relu(gate, h):
    return (np.where(less(0, gate("a")), gate("a"), 0),)


def np_lstm(gate, h, c):
    c = sigma(gate("f")) * c + sigma(gate("i")) * np.tanh(gate("g"))
    return sigma(gate("o")) * np.tanh(c), c


def np_gru(gate, h):
    r, z = sigma(gate("r")), sigma(gate("z"))
    return (z * h + (1 - z) * np.tanh(gate("n", "x") + r * gate("n", "h")),)


@cell
def peephole(h, c, *, v: Vector, i, g: Input, o, w: Vector, n: Split):
    """Every kind of parameter, mixed in order; a watched product that is a term of a sum too."""
    i = sigmoid(i + v * c)
    product = i * tanh(g + n.h)
    c = (1 - i) * c + product
    o = sigmoid(o + w * c + n.x)
    h = o * tanh(c)
    return h, c


def np_peephole(gate, h, c, v, w):
    i = sigma(gate("i") + v * c)
    c = c - i * c + i * np.tanh(gate("g") + gate("n", "h"))
    return sigma(gate("o") + w * c + gate("n", "x")) * np.tanh(c), c


@cell
def feedforward(h, *, a: Input, b: Input):
    """Nothing is multiplied by the state."""
    h = exp(-abs(a)) * h - relu(b)
    return h


def np_feedforward(gate, h):
    a, b = gate("a"), gate("b")
    return (np.exp(np.where(less(a, 0), a, -a)) * h - np.where(less(0, b), b, 0),)


@cell
def delay(h, c, m, k, *, a):
    """Each state hands its old value to the next; the last never changes."""
    before = c  # noqa: F841 - to be watched
    new = tanh(a) + 0.5 * m * k
    return new, h, c, k


def np_delay(gate, h, c, m, k):
    return np.tanh(gate("a")) + 0.5 * m * k, h, c, k


@cell
def twins(h, c, *, a, b):
    """Two states with the same next value."""
    h = tanh(a) * (c - 0.1 * h) / (2 + b * b)
    return h, h


def np_twins(gate, h, c):
    h = np.tanh(gate("a")) * (c - 0.1 * h) / (2 + gate("b") ** 2)
    return h, h


@cell
def carrier(h, c, d, *, b):
    """A pre-activation is itself a next state, and a factor of another; the old d is only watched."""
    before = d  # noqa: F841 - to be watched
    h = tanh(c) * b
    return h, b, 0.5 * h


def np_carrier(gate, h, c, d):
    h = np.tanh(c) * gate("b")
    return h, gate("b"), 0.5 * h


@cell
def exponential(h, c, n, m, *, i, f, z, o):
    """Exponential gates under a running maximum (Beck et al. 2024, the sLSTM)."""
    kept = minimum(f - softplus(f), 1.0) + m
    m = maximum(kept, i)
    i, f = exp(i - m), exp(kept - m)
    c = f * c + i * tanh(z)
    n = f * n + i
    h = sigmoid(o) * c / sqrt(1 + n * n)
    return h, c, n, m


def np_exponential(gate, h, c, n, m):
    kept = np.log(sigma(gate("f"))) + m
    m = np.where(less(kept, gate("i")), gate("i"), kept)
    i, f = np.exp(gate("i") - m), np.exp(kept - m)
    c, n = f * c + i * np.tanh(gate("z")), f * n + i
    return sigma(gate("o")) * c / np.sqrt(1 + n**2), c, n, m


@cell
def chooser(h, c, *, a, b, x):
    """Gates that only choose."""
    c = where(a < 0.2, c, log(1 + exp(x)))
    h = where(b <= h, tanh(c), 0.5 * h)
    return h, c


def np_chooser(gate, h, c):
    c = np.where(less(gate("a"), 0.2), c, np.log(1 + np.exp(gate("x"))))
    return np.where(less(h, gate("b")), 0.5 * h, np.tanh(c)), c


@dataclass(frozen=True)
class Example:
    """A cell and its second statement."""

    cell: Cell
    statement: Callable[..., tuple[Any, ...]]


CLASSIC = [
    Example(cells.rnn, np_rnn),
    Example(cells.rnn_relu, np_rnn_relu),
    Example(cells.lstm, np_lstm),
    Example(cells.gru, np_gru),
]
MADE_UP = [
    Example(peephole, np_peephole),
    Example(feedforward, np_feedforward),
    Example(delay, np_delay),
    Example(twins, np_twins),
    Example(carrier, np_carrier),
    Example(exponential, np_exponential),
    Example(chooser, np_chooser),
]
EXAMPLES = [*CLASSIC, *MADE_UP]

examples = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.cell.name)
# Arithmetic of every kind in float32 too; the rest of a kernel does not depend on it.
IN_FLOAT32 = [*CLASSIC, *(e for e in MADE_UP if e.cell in (peephole, exponential))]
typed_examples = pytest.mark.parametrize(
    ("example", "dtype"),
    [*((e, "float64") for e in EXAMPLES), *((e, "float32") for e in IN_FLOAT32)],
    ids=lambda value: value if isinstance(value, str) else value.cell.name,
)
