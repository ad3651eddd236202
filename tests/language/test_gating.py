# mypy: allow-untyped-defs, allow-incomplete-defs
"""Which biases open the gates that keep a state, and the gates that write to it."""

from __future__ import annotations

import pytest

from gatewise import Cell, Input, Split, Vector, cell, cells, layer_norm, sigmoid, tanh, zoneout
from gatewise.language.gating import keeping, writing


@cell
def minimal(h, *, f, g):
    f = sigmoid(f)
    return f * h + (1 - f) * tanh(g)


@cell
def other_way_round(h, c, *, i, f: Input, o):
    """The sum and its products in the other order, and the state after the output."""
    c = tanh(o) * sigmoid(i) + c * sigmoid(f)
    return tanh(c), c


@cell
def peephole(h, c, *, i, f, g, p: Vector):
    c = sigmoid(f + p * c) * c + sigmoid(i - p * c) * tanh(g)
    return tanh(c), c


@cell
def parts(h, *, a: Split, b, c):
    """A gate whose biases are added up, one of them subtracted."""
    return sigmoid(a.x + a.h + b - c) * h + tanh(b)


@cell
def two(h, m, *, a, b, c):
    """Two states, kept by two gates."""
    m = sigmoid(b) * m + tanh(c)
    h = sigmoid(a) * h + sigmoid(c) * m
    return h, m


@cell
def coupled(h, c, *, i, g):
    """A gate that writes as much as it forgets."""
    i = sigmoid(i)
    c = (1 - i) * c + i * tanh(g)
    return tanh(c), c


@cell
def normal(h, c, *, i, f, g):
    i, f, g = layer_norm(i, f, g)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return tanh(layer_norm(c)), c


@cell
def zoned(h, c, *, i, f, g):
    c = zoneout(c, sigmoid(f) * c + sigmoid(i) * tanh(g), 0.1)
    return tanh(c), c


@cell
def kept_by_no_gate(h, *, a, v: Vector):
    return 0.5 * h + sigmoid(v) * h + tanh(a) * h + sigmoid(a)


GATES: dict[str, tuple[Cell, str, str]] = {
    "lstm": (cells.lstm, "f", "i"),
    "gru": (cells.gru, "z", "-z"),
    "rnn": (cells.rnn, "", ""),
    "minimal": (minimal, "f", "-f"),
    "other-way-round": (other_way_round, "f.x", "i"),
    "peephole": (peephole, "f", "i"),
    "parts": (parts, "a.x+a.h+b", ""),
    "two": (two, "a b", "c"),
    "coupled": (coupled, "-i", "i"),
    "normal": (normal, "norm_bias_1", "norm_bias_0"),
    "zoned": (zoned, "f", "i"),
    "none": (kept_by_no_gate, "", ""),
}


def shown(gates) -> str:
    """The leaves that are added up in each gate, with a minus if they close the gate."""
    sums = ("+".join(leaf.name + (leaf.part and f".{leaf.part}") for leaf in gate.biases) for gate in gates)
    return " ".join(("-" if gate.sign < 0 else "") + text for gate, text in zip(gates, sums, strict=True))


@pytest.mark.parametrize(("of", "kept", "written"), GATES.values(), ids=GATES.keys())
def test_gates_that_keep_a_state_and_gates_that_write_to_it(of: Cell, kept: str, written: str) -> None:
    assert (shown(keeping(of)), shown(writing(of))) == (kept, written)
