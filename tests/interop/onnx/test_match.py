# mypy: allow-untyped-defs, allow-incomplete-defs
"""Cells are recognised as operators of ONNX by their equations."""

from __future__ import annotations

import pytest

from gatewise import Cell, Input, Split, Vector, cell, cells, linear, relu, sigmoid, tanh
from gatewise.interop.onnx.match import native


@cell
def other_names(out, memory, *, forget, write, say, what):
    """The LSTM with other gate names and order, and with sums and products in another order."""
    memory = tanh(what) * sigmoid(write) + memory * sigmoid(forget)
    return tanh(memory) * sigmoid(say), memory


@cell
def peepholes(h, c, *, i, f, g, o, pi: Vector, pf: Vector, po: Vector):
    """Gers & Schmidhuber 2000."""
    c = sigmoid(f + pf * c) * c + sigmoid(i + pi * c) * tanh(g)
    return sigmoid(o + po * c) * tanh(c), c


@cell
def coupled(h, c, *, i, g, o):
    """One gate, which writes as much as it forgets."""
    i = sigmoid(i)
    c = (1 - i) * c + i * tanh(g)
    return sigmoid(o) * tanh(c), c


@cell
def reset_first(h, *, r, n: Input, z):
    """Cho et al. 2014."""
    z = sigmoid(z)
    return z * h + (1 - z) * tanh(n + linear(sigmoid(r) * h))


FOUND: dict[str, tuple[Cell, str, dict[str, str]]] = {
    "rnn": (cells.rnn, "RNN", {"a": "a"}),
    "rnn_relu": (cells.rnn_relu, "RNN", {"a": "a"}),
    "lstm": (cells.lstm, "LSTM", dict(zip("ifgo", "ifgo", strict=True))),
    "gru": (cells.gru, "GRU", dict(zip("zrn", "zrn", strict=True))),
    "other names": (other_names, "LSTM", {"i": "write", "o": "say", "f": "forget", "g": "what"}),
    "peepholes": (
        peepholes, "LSTM", dict(zip("iofg", "iofg", strict=True)) | {"p_i": "pi", "p_o": "po", "p_f": "pf"},
    ),
    "coupled": (coupled, "LSTM", dict(zip("iog", "iog", strict=True))),
    "reset first": (reset_first, "GRU", dict(zip("zrn", "zrn", strict=True))),
}  # fmt: skip


@pytest.mark.parametrize(("made", "operator", "names"), FOUND.values(), ids=FOUND)
def test_cells_that_onnx_has_are_recognised(made: Cell, operator: str, names: dict[str, str]) -> None:
    found = native(made)
    assert found is not None
    assert (found.variant.operator, found.names) == (operator, names)


@cell
def one_gate_twice(h, c, *, i, g, o, u):
    """Like the LSTM, but one gate is used in two places."""
    c = sigmoid(i) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c + u), c


@cell
def switched_parts(h, *, r, z, n: Split):
    """Like the GRU, but the reset gate acts on the input part."""
    z = sigmoid(z)
    return (1 - z) * tanh(n.h + sigmoid(r) * n.x) + z * h


@cell
def other_way_round(h, *, r, z, n: Split):
    """Like the GRU, but the update gate keeps what it should forget."""
    z = sigmoid(z)
    return z * tanh(n.x + sigmoid(r) * n.h) + (1 - z) * h


@cell
def doubled(h, *, a):
    """Like an RNN, but with a factor that no activation has."""
    return tanh(2 * a + 1)


@cell
def swapped_states(c, h, *, i, f, g, o):
    """Like the LSTM, but the gates see the memory."""
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return c, sigmoid(o) * tanh(c)


@cell
def input_only(h, *, a: Input):
    """Like an RNN, but the gate does not see the state."""
    return relu(a)


@pytest.mark.parametrize(
    "made",
    [one_gate_twice, switched_parts, other_way_round, doubled, swapped_states, input_only],
    ids=lambda made: made.name,
)
def test_similar_cells_are_not_recognised(made: Cell) -> None:
    assert native(made) is None
