# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""Reference implementations in NumPy and float64, from the papers, of every cell that torch does not have.

A reference takes the weights of one layer by name, and the rows of one step: ``w.W(gate, x)`` is ``W x + b``,
``w.R(gate, h)`` is ``R h + b``, ``w.M(n, v)`` is product n in the middle of a step, ``w["name"]`` a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gatewise import Cell, cells

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Weights:
    """The arrays of one layer by name, and the order of its gates: one letter for each gate."""

    arrays: Mapping[str, Array]
    input_gates: str
    state_gates: str

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def W(self, gate: str, x: Array) -> Array:  # noqa: N802
        return self._affine("ih", self.input_gates.index(gate), len(self.input_gates), x)

    def R(self, gate: str, h: Array) -> Array:  # noqa: N802
        return self._affine("hh", self.state_gates.index(gate), len(self.state_gates), h)

    def M(self, n: int, v: Array) -> Array:  # noqa: N802
        return self._affine("linear", n, len(self["weight_linear"]) // v.shape[-1], v)

    def both(self, gate: str, x: Array, h: Array) -> Array:
        return self.W(gate, x) + self.R(gate, h)

    def normal(self, first: int, *v: Array) -> list[Array]:
        """Vectors normalised together, with the gains and biases from index `first` on."""
        joined = np.concatenate(v, -1)
        mean, variance = joined.mean(-1, keepdims=True), joined.var(-1, keepdims=True)
        parts = np.split((joined - mean) / np.sqrt(variance + 1e-5), len(v), -1)
        return [self[f"norm_gain_{n}"] * part + self[f"norm_bias_{n}"] for n, part in enumerate(parts, first)]

    def _affine(self, kind: str, n: int, of: int, v: Array) -> Array:
        product = v @ np.split(self[f"weight_{kind}"], of)[n].T
        bias = self.arrays.get(f"bias_{kind}")
        return product if bias is None else product + np.split(bias, of)[n]


def sigma(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def lstm_peephole(w, x, h, c):
    i = sigma(w.both("i", x, h) + w["p_i"] * c)
    f = sigma(w.both("f", x, h) + w["p_f"] * c)
    c = f * c + i * np.tanh(w.both("g", x, h))
    return sigma(w.both("o", x, h) + w["p_o"] * c) * np.tanh(c), c


def lstm_coupled(w, x, h, c):
    i = sigma(w.both("i", x, h))
    c = c - i * c + i * np.tanh(w.both("g", x, h))
    return sigma(w.both("o", x, h)) * np.tanh(c), c


def _lstm(w, x, h, c, sigma=sigma):
    i, f, o = (sigma(w.both(gate, x, h)) for gate in "ifo")
    c = f * c + i * np.tanh(w.both("g", x, h))
    return o * np.tanh(c), c


def lstm_projected(w, x, h, c):
    m, c = _lstm(w, x, h, c)
    return m @ w["weight_hr"].T, c


def lstm_layer_norm(w, x, h, c):
    from_x = w.normal(0, *(w.W(gate, x) for gate in "ifgo"))
    from_h = w.normal(4, *(w.R(gate, h) for gate in "ifgo"))
    i, f, g, o = (a + b for a, b in zip(from_x, from_h, strict=True))
    c = sigma(f) * c + sigma(i) * np.tanh(g)
    return sigma(o) * np.tanh(w.normal(8, c)[0]), c


def lstm_clipped(w, x, h, c):
    i, f, o = (sigma(w.both(gate, x, h)) for gate in "ifo")
    c = np.clip(f * c + i * np.tanh(w.both("g", x, h)), -3, 3)
    return o * np.tanh(c), c


def lstm_hard_sigmoid(w, x, h, c):
    return _lstm(w, x, h, c, lambda a: np.clip(0.2 * a + 0.5, 0, 1))


def gru_reset_before(w, x, h):
    r, z = sigma(w.both("r", x, h)), sigma(w.both("z", x, h))
    return (z * h + (1 - z) * np.tanh(w.W("n", x) + w.M(0, r * h)),)


def gru_layer_norm(w, x, h):
    from_x, from_h = w.normal(0, w.W("r", x), w.W("z", x)), w.normal(2, w.R("r", h), w.R("z", h))
    r, z = (sigma(a + b) for a, b in zip(from_x, from_h, strict=True))
    new = np.tanh(w.normal(4, w.W("n", x))[0] + r * w.normal(5, w.R("n", h))[0])
    return ((1 - z) * h + z * new,)


def gru_d(w, x, h):
    decayed = np.exp(-np.maximum(0, w.W("d", x))) * h
    r, z = sigma(w.W("r", x) + w.M(0, decayed)), sigma(w.W("z", x) + w.M(1, decayed))
    return ((1 - z) * decayed + z * np.tanh(w.W("n", x) + w.M(2, r * decayed)),)


def mgu(w, x, h):
    f = sigma(w.both("f", x, h))
    return ((1 - f) * h + f * np.tanh(w.W("n", x) + w.M(0, f * h)),)


def janet(w, x, h):
    s = w.both("f", x, h)
    return (sigma(s) * h + (1 - sigma(s - 1)) * np.tanh(w.both("g", x, h)),)


def ugrnn(w, x, h):
    g = sigma(w.both("g", x, h))
    return (g * h + (1 - g) * np.tanh(w.both("n", x, h)),)


def indrnn(w, x, h):
    return (np.maximum(0, w.W("a", x) + w["u"] * h),)


def sru(w, x, h, c):
    f, r = sigma(w.W("f", x) + w["v_f"] * c), sigma(w.W("r", x) + w["v_r"] * c)
    c = f * c + (1 - f) * w.W("w", x)
    return r * c + (1 - r) * w.W("s", x), c


def min_lstm(w, x, h):
    f, i = sigma(w.W("f", x)), sigma(w.W("i", x))
    return ((f * h + i * w.W("n", x)) / (f + i),)


def min_gru(w, x, h):
    z = sigma(w.W("z", x))
    return ((1 - z) * h + z * w.W("n", x),)


def slstm(w, x, h, c, n, m):
    """In the paper's c and n, which are ours times ``exp(m)``; m as in the paper, at first as in its code."""
    i, f = np.exp(w.both("i", x, h)), sigma(w.both("f", x, h))
    after = np.where(n > 0, np.maximum(np.log(f) + m, np.log(i)), np.log(i))
    c = f * c * np.exp(m) + i * np.tanh(w.both("z", x, h))
    n = f * n * np.exp(m) + i
    return sigma(w.both("o", x, h)) * c / n, c * np.exp(-after), n * np.exp(-after), after


@dataclass(frozen=True)
class Variant:
    """A cell, its reference, and the order of its gates in the weights, one letter for each gate."""

    cell: Cell
    statement: Callable[..., tuple[Any, ...]]
    input_gates: str
    state_gates: str


VARIANTS = [
    Variant(cells.lstm_peephole, lstm_peephole, "ifgo", "ifgo"),
    Variant(cells.lstm_coupled, lstm_coupled, "igo", "igo"),
    Variant(cells.lstm_projected, lstm_projected, "ifgo", "ifgo"),
    Variant(cells.lstm_layer_norm, lstm_layer_norm, "ifgo", "ifgo"),
    Variant(cells.lstm_clipped, lstm_clipped, "ifgo", "ifgo"),
    Variant(cells.lstm_hard_sigmoid, lstm_hard_sigmoid, "ifgo", "ifgo"),
    Variant(cells.gru_reset_before, gru_reset_before, "rzn", "rz"),
    Variant(cells.gru_layer_norm, gru_layer_norm, "rzn", "rzn"),
    Variant(cells.gru_d, gru_d, "drzn", ""),
    Variant(cells.mgu, mgu, "fn", "f"),
    Variant(cells.janet, janet, "fg", "fg"),
    Variant(cells.ugrnn, ugrnn, "gn", "gn"),
    Variant(cells.indrnn, indrnn, "a", ""),
    Variant(cells.sru, sru, "wfrs", ""),
    Variant(cells.min_lstm, min_lstm, "fin", ""),
    Variant(cells.min_gru, min_gru, "zn", ""),
    Variant(cells.slstm, slstm, "ifzo", "ifzo"),
]


def stated(
    variant: Variant,
    arrays: Mapping[str, Array],
    x: Array,
    states: list[Array],
    lengths: NDArray[np.int64],
    reset: NDArray[np.bool_],
) -> tuple[Array, list[Array]]:
    """The output ``[T, B, H]`` over ``x [T, B, I]`` and the final states ``[B, H]``, by the reference."""
    weights = Weights(arrays, variant.input_gates, variant.state_gates)
    initial, outputs = states, []
    for t, step in enumerate(x):
        starts, running = reset[t][:, None], (t < lengths)[:, None]
        entering = [np.where(starts, first, state) for first, state in zip(initial, states, strict=True)]
        after = variant.statement(weights, step, *entering)
        states = [np.where(running, new, old) for new, old in zip(after, states, strict=True)]
        outputs.append(np.where(running, after[0], 0))
    return np.stack(outputs), states
