# mypy: allow-untyped-defs, allow-incomplete-defs
"""The recurrent operators of ONNX as cells, one for each combination of their attributes.

The equations are those of the standard, version 22 of RNN, GRU and LSTM. Where it leaves a choice, they
follow ONNX Runtime: `clip` bounds the argument of every activation except the last one of an LSTM, whose
argument is the cell state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from gatewise.interop.onnx.activations import Activation, function
from gatewise.language import Cell, Input, Split, Vector, cell, linear, maximum, minimum
from gatewise.language.symbols import Symbol

# A function of symbols.
_Function: TypeAlias = Callable[[Any], Any]

# The gates of each operator, by the names of its cell, in the order of their rows in W and R.
GATES = {"RNN": ("a",), "GRU": ("z", "r", "n"), "LSTM": ("i", "o", "f", "g")}
# The peepholes, in the order of P.
PEEPHOLES = ("p_i", "p_o", "p_f")
# The default activations of each operator. The standard calls their positions f, g and h.
ACTIVATIONS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
SLOTS = {"RNN": ("f",), "GRU": ("f", "g"), "LSTM": ("f", "g", "h")}
CLIP = "clip"


class Variant(NamedTuple):
    """The attributes that decide the equations of a node in one direction. `clip` is None for no clipping."""

    operator: str
    activations: tuple[Activation, ...]
    clip: float | None = None
    linear_before_reset: bool = False
    input_forget: bool = False
    peepholes: bool = False


@cache
def cell_of(variant: Variant) -> Cell:
    """The cell of a variant. Equal variants give the same object.

    Raises:
        ValueError: an activation is not in the standard.
    """
    functions = [function(activation) for activation in variant.activations]
    bound = variant.clip or 0.0
    return _stated(variant, functions, lambda x: -bound, lambda x: bound)


@cache
def pattern_of(variant: Variant) -> Cell:
    """The cell of a variant with holes (wildcards), only for `match`: it cannot be compiled or run.

    A node ``activation`` stands for any activation in that position, a node ``number`` for any number times
    the ``value`` of the node.
    """
    functions = [_hole("activation", slot) for slot in SLOTS[variant.operator]]
    return _stated(variant, functions, _hole("number", CLIP, -1), _hole("number", CLIP, 1))


def _hole(op: str, name: str, value: float = 0) -> _Function:
    def hole(x: Symbol) -> Symbol:
        return x._trace.symbol(op, *([x] if op == "activation" else []), name=name, value=value)

    return hole


def _stated(variant: Variant, functions: Sequence[_Function], low: _Function, high: _Function) -> Cell:
    """The equations with the activations `functions`, whose arguments are clipped by `low` and `high`."""
    clipped = [f if variant.clip is None else _clipped(f, low, high) for f in functions]
    if variant.operator == "RNN":
        return _rnn(*clipped)
    if variant.operator == "GRU":
        return (_gru_reset_after if variant.linear_before_reset else _gru_reset_before)(*clipped)
    F, G, H = *clipped[:2], functions[2]
    return _LSTM[variant.peepholes, variant.input_forget](F, G, H)


def _clipped(f: _Function, low: _Function, high: _Function) -> _Function:
    return lambda x: f(minimum(maximum(x, low(x)), high(x)))


def _rnn(F: _Function) -> Cell:
    @cell
    def rnn(h, *, a):
        h = F(a)
        return h

    return rnn


def _gru_reset_after(F: _Function, G: _Function) -> Cell:
    @cell
    def gru(h, *, z, r, n: Split):
        z, r = F(z), F(r)
        n = G(n.x + r * n.h)
        h = (1 - z) * n + z * h
        return h

    return gru


def _gru_reset_before(F: _Function, G: _Function) -> Cell:
    @cell
    def gru(h, *, z, r, n: Input):
        z, r = F(z), F(r)
        n = G(n + linear(r * h))
        h = (1 - z) * n + z * h
        return h

    return gru


def _lstm(F: _Function, G: _Function, H: _Function) -> Cell:
    @cell
    def lstm(h, c, *, i, o, f, g):
        i, o, f, g = F(i), F(o), F(f), G(g)
        c = f * c + i * g
        h = o * H(c)
        return h, c

    return lstm


def _lstm_coupled(F: _Function, G: _Function, H: _Function) -> Cell:
    @cell
    def lstm(h, c, *, i, o, g):
        i, o, g = F(i), F(o), G(g)
        c = (1 - i) * c + i * g
        h = o * H(c)
        return h, c

    return lstm


def _lstm_peephole(F: _Function, G: _Function, H: _Function) -> Cell:
    @cell
    def lstm(h, c, *, i, o, f, g, p_i: Vector, p_o: Vector, p_f: Vector):
        i, f, g = F(i + p_i * c), F(f + p_f * c), G(g)
        c = f * c + i * g
        o = F(o + p_o * c)
        h = o * H(c)
        return h, c

    return lstm


def _lstm_peephole_coupled(F: _Function, G: _Function, H: _Function) -> Cell:
    @cell
    def lstm(h, c, *, i, o, g, p_i: Vector, p_o: Vector):
        i, g = F(i + p_i * c), G(g)
        c = (1 - i) * c + i * g
        o = F(o + p_o * c)
        h = o * H(c)
        return h, c

    return lstm


# By (has peepholes, couples input and forget gate).
_LSTM = {
    (False, False): _lstm,
    (False, True): _lstm_coupled,
    (True, False): _lstm_peephole,
    (True, True): _lstm_peephole_coupled,
}
