# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""Example cells, each with its equations written a second time in NumPy (the reference).

A reference works on any type of number. `gate(name)` returns the pre-activation ``W x + b + R h + b``;
`gate(name, "x")` and `gate(name, "h")` return its input part and its recurrent part. On complex numbers a
reference also gives exact derivatives, because all its functions are analytic and its comparisons use the
real part.
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
    dropout,
    exp,
    layer_norm,
    linear,
    log,
    maximum,
    minimum,
    project,
    relu,
    sigmoid,
    softplus,
    sqrt,
    tanh,
    where,
    zoneout,
)
from gatewise.language.rewrites import projected, with_recurrent_dropout, with_zoneout


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
    """Every kind of parameter in mixed order, and a watched product that is also a term of a sum."""
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
    """No gate has a recurrent part."""
    h = exp(-abs(a)) * h - relu(b)
    return h


def np_feedforward(gate, h):
    a, b = gate("a"), gate("b")
    return (np.exp(np.where(less(a, 0), a, -a)) * h - np.where(less(0, b), b, 0),)


@cell
def delay(h, c, m, k, *, a):
    """The next value of each state is the old value of the state before it. The last state never changes."""
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
    """A pre-activation is a next state, and a factor of another one. The old d is only watched."""
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
    """Gates that are only compared."""
    c = where(a < 0.2, c, log(1 + exp(x)))
    h = where(b <= h, tanh(c), 0.5 * h)
    return h, c


def np_chooser(gate, h, c):
    c = np.where(less(gate("a"), 0.2), c, np.log(1 + np.exp(gate("x"))))
    return np.where(less(h, gate("b")), 0.5 * h, np.tanh(c)), c


def norm(*v, eps=1e-5):
    """Layer normalisation over the units of all vectors together, without gain and bias."""
    together = np.stack(np.broadcast_arrays(*v))
    centred = together - together.mean((0, -1), keepdims=True)
    return centred / np.sqrt((centred**2).mean((0, -1), keepdims=True) + eps)


@cell
def reset_first(h, *, r, z, n: Input):
    """A GRU with the reset before the product."""
    r, z = sigmoid(r), sigmoid(z)
    n = tanh(n + linear(r * h))
    h = (1 - z) * n + z * h
    return h


def np_reset_first(gate, h):
    r, z = sigma(gate("r")), sigma(gate("z"))
    return (z * h + (1 - z) * np.tanh(gate("n") + gate.linear(0, r * h)),)


@cell
def deep(h, c, *, a, b: Split):
    """Products in a chain, two products of one vector, one of a state; results are used early and late."""
    u = tanh(a)
    v, w = linear(u), linear(u)
    old = c
    y = linear(sigmoid(v) * w + b.x)
    c = 0.5 * c + linear(h) * tanh(y)
    h = sigmoid(b.h + v) * c + 0.1 * old
    return h, c


def np_deep(gate, h, c):
    u = np.tanh(gate("a"))
    v, w = gate.linear(0, u), gate.linear(1, u)
    y = gate.linear(2, sigma(v) * w + gate("b", "x"))
    old, c = c, 0.5 * c + gate.linear(3, h) * np.tanh(y)
    return sigma(gate("b", "h") + v) * c + 0.1 * old, c


@cell
def direct(h, c, *, a: Input, b, v: Vector):
    """Products of vectors that are already in memory: pre-activations, a product, a state, a parameter."""
    u = linear(a) + linear(b)
    h = tanh(linear(linear(c))) + 0.3 * linear(v)
    return h * sigmoid(u), 0.5 * c + tanh(a + b)


def np_direct(gate, h, c, v):
    a, b = gate("a"), gate("b")
    u = gate.linear(0, a) + gate.linear(1, b)
    h = np.tanh(gate.linear(3, gate.linear(2, c))) + 0.3 * gate.linear(4, v)
    return h * sigma(u), 0.5 * c + np.tanh(a + b)


@cell
def normal(h, c, *, i: Split, f: Split, g: Split, o: Split):
    """The LSTM of Ba, Kiros & Hinton 2016, equations 20 to 22."""
    ix, fx, gx, ox = layer_norm(i.x, f.x, g.x, o.x)
    ih, fh, gh, oh = layer_norm(i.h, f.h, g.h, o.h)
    i, f, g, o = sigmoid(ix + ih), sigmoid(fx + fh), tanh(gx + gh), sigmoid(ox + oh)
    c = f * c + i * g
    h = o * tanh(layer_norm(c))
    return h, c


def np_normal(gate, h, c, **v):
    gain, bias = ([v[f"norm_{of}_{n}"] for n in range(9)] for of in ("gain", "bias"))
    x, r = (norm(*(gate(name, part) for name in "ifgo")) for part in "xh")
    i, f, g, o = (gain[n] * x[n] + bias[n] + gain[4 + n] * r[n] + bias[4 + n] for n in range(4))
    c = sigma(f) * c + sigma(i) * np.tanh(g)
    return sigma(o) * np.tanh(gain[8] * norm(c)[0] + bias[8]), c


@cell
def everything(h, c, *, a: Input, b, v: Vector):
    """A norm of a product and of a state, a product of normalised vectors, and a projected output."""
    before = c
    n, m = layer_norm(linear(tanh(a)) + v, c, eps=0.1)
    c = 0.5 * before + tanh(linear(sigmoid(n) * m) + b)
    u = tanh(layer_norm(c, eps=0.01)) + 0.1 * before
    h = project(u)
    return h, c + 0.2 * tanh(linear(u))


def np_everything(gate, h, c, v, **w):
    gain, bias = ([w[f"norm_{of}_{n}"] for n in range(3)] for of in ("gain", "bias"))
    n, m = norm(gate.linear(0, np.tanh(gate("a"))) + v, c, eps=0.1)
    n, m = gain[0] * n + bias[0], gain[1] * m + bias[1]
    old, c = c, 0.5 * c + np.tanh(gate.linear(1, sigma(n) * m) + gate("b"))
    u = np.tanh(gain[2] * norm(c, eps=0.01)[0] + bias[2]) + 0.1 * old
    return gate.project(u), c + 0.2 * np.tanh(gate.linear(2, u))


lstm_projected = projected(cells.lstm)


def np_lstm_projected(gate, h, c):
    h, c = np_lstm(gate, h, c)
    return gate.project(h), c


@cell
def feedforward_normal(h, *, a: Input):
    """A norm, but no gate with a recurrent part."""
    return sigmoid(layer_norm(a)) + 0.5 * h


def np_feedforward_normal(gate, h, norm_gain_0, norm_bias_0):
    return (sigma(norm_gain_0 * norm(gate("a"))[0] + norm_bias_0) + 0.5 * h,)


@cell
def random(h, c, *, a, b: Split):
    """Random operations in the step: dropout at every step and once for each sequence, and zoneout."""
    a = dropout(tanh(a), 0.25)
    c = zoneout(c, sigmoid(b.x) * c + dropout(b.h, 0.5, per="sequence"), 0.4)
    h = a * tanh(c) + 0.5 * h
    return h, c


def np_random(gate, h, c):
    a = np.tanh(gate("a"))
    a = np.where(gate.struck(0, 0.25, "step", a), 0, a / 0.75)
    b = gate("b", "h")
    b = np.where(gate.struck(1, 0.5, "sequence", b), 0, 2 * b)
    c = np.where(gate.struck(2, 0.4, "step", c), c, sigma(gate("b", "x")) * c + b)
    return a * np.tanh(c) + 0.5 * h, c


lstm_dropped = with_recurrent_dropout(cells.lstm, 0.3)
normal_zoned = with_zoneout(normal, (0.2, 0.1))


def np_normal_zoned(gate, h, c, **v):
    new_h, new_c = np_normal(gate, h, c, **v)
    masks = gate.struck(0, 0.2, "step", h), gate.struck(1, 0.1, "step", c)
    return np.where(masks[0], h, new_h), np.where(masks[1], c, new_c)


@dataclass(frozen=True)
class Example:
    """A cell and its reference in NumPy."""

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
IN_PHASES = [
    Example(reset_first, np_reset_first),
    Example(deep, np_deep),
    Example(direct, np_direct),
    Example(normal, np_normal),
    Example(everything, np_everything),
    Example(lstm_projected, np_lstm_projected),
    Example(feedforward_normal, np_feedforward_normal),
]
EXAMPLES = [*CLASSIC, *MADE_UP, *IN_PHASES]
# Random masks depend on the row's position in the batch and on the step of the sequence.
BY_CHANCE = [
    Example(random, np_random),
    Example(lstm_dropped, np_lstm),
    Example(normal_zoned, np_normal_zoned),
]

examples = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.cell.name)
by_chance = pytest.mark.parametrize("example", BY_CHANCE, ids=lambda example: example.cell.name)
# In float32 only cells with arithmetic of every kind; the rest of a kernel is the same for both types.
IN_FLOAT32 = [*CLASSIC, *(e for e in MADE_UP if e.cell in (peephole, exponential)), *IN_PHASES[:4]]
typed_examples = pytest.mark.parametrize(
    ("example", "dtype"),
    [*((e, "float64") for e in EXAMPLES), *((e, "float32") for e in IN_FLOAT32)],
    ids=lambda value: value if isinstance(value, str) else value.cell.name,
)
