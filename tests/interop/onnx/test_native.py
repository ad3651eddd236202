# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""Activations with their numbers, and clips, are recognised in the equations. ONNX Runtime has them too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

from gatewise import (
    Cell,
    Input,
    Split,
    Vector,
    cell,
    cells,
    exp,
    export_onnx,
    linear,
    maximum,
    minimum,
    nn,
    relu,
    sigmoid,
    softplus,
    tanh,
    where,
)
from gatewise.interop.onnx.match import native

# A function, its name in the standard, and its numbers in the standard.
WRITTEN: dict[str, tuple[Any, str, tuple[float, ...]]] = {
    "affine": (lambda x: 0.75 * x + 0.125, "Affine", (0.75, 0.125)),
    "affine without its factor": (lambda x: x - 0.25, "Affine", (1, -0.25)),
    "affine without its sum": (lambda x: x / 2, "Affine", (0.5, 0)),
    "nothing": (lambda x: x, "Affine", (1, 0)),
    "elu": (lambda x: where(x > 0, x, 0.5 * (exp(x) - 1)), "Elu", (0.5,)),
    "elu without its factor": (lambda x: where(x >= 0, x, exp(x) - 1), "Elu", (1,)),
    "hard sigmoid": (lambda x: maximum(minimum(0.5 + 0.25 * x, 1), 0), "HardSigmoid", (0.25, 0.5)),
    "hard sigmoid by relu": (lambda x: minimum(relu(x / 4 + 0.5), 1), "HardSigmoid", (0.25, 0.5)),
    "hard sigmoid without its factor": (lambda x: minimum(maximum(x, 0), 1), "HardSigmoid", (1, 0)),
    "leaky relu": (lambda x: where(x > 0, x, x * 0.25), "LeakyRelu", (0.25,)),
    "relu": (relu, "Relu", ()),
    "relu by maximum": (lambda x: maximum(0, x), "Relu", ()),
    "scaled tanh": (lambda x: 1.5 * tanh(x * 0.5), "ScaledTanh", (1.5, 0.5)),
    "scaled tanh without one": (lambda x: tanh(x / 2), "ScaledTanh", (1, 0.5)),
    "sigmoid": (sigmoid, "Sigmoid", ()),
    "softplus": (softplus, "Softplus", ()),
    "softsign": (lambda x: x / (abs(x) + 1), "Softsign", ()),
    "tanh": (tanh, "Tanh", ()),
    "thresholded relu": (lambda x: where(x >= 0.25, x, 0), "ThresholdedRelu", (0.25,)),
}


def attributes_of(made: Cell, path: Path, **options: Any) -> dict[str, Any]:
    """The attributes of the only recurrent node of the file. Writing the file compared it with the layer."""
    export_onnx(nn.Recurrent(made, 3, 5, **options), path, lengths=True)
    nodes = [node for node in onnx.load(path).graph.node if node.op_type in ("RNN", "GRU", "LSTM", "Scan")]
    (node,) = nodes
    found = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    return {"operator": node.op_type, **found}


def numbers(attributes: dict[str, Any]) -> tuple[float, ...]:
    return (*attributes.get("activation_alpha", ()), *attributes.get("activation_beta", ()))


@pytest.mark.parametrize("bound", [None, 0.5])
@pytest.mark.parametrize(("function", "name", "given"), WRITTEN.values(), ids=WRITTEN)
def test_an_rnn_of_each_activation(function, name, given, bound, tmp_path: Path) -> None:
    @cell
    def made(h, *, a):
        h = function(a if bound is None else minimum(maximum(a, -bound), bound))
        return h

    found = attributes_of(made, tmp_path / "m")
    assert (found["operator"], found["activations"]) == ("RNN", [name.encode()])
    assert (numbers(found), found.get("clip")) == (given, bound)


def hard(x):
    return minimum(maximum(0.25 * x + 0.5, 0), 1)


def clip(x):
    return maximum(minimum(x, 0.75), -0.75)


@cell
def strange_lstm(h, c, *, i, f, g, o, p_i: Vector, p_f: Vector, p_o: Vector):
    """Three activations, two of them with numbers; peepholes, and a clip of the pre-activations."""
    i, f, g = hard(clip(i + p_i * c)), hard(clip(f + p_f * c)), 1.5 * tanh(0.5 * clip(g))
    c = f * c + i * g
    h = hard(clip(o + p_o * c)) * softplus(c)
    return h, c


@cell
def strange_coupled(h, c, *, i, g, o):
    """One gate, which writes as much as it forgets; the output is the memory itself."""
    i = hard(i)
    c = (1 - i) * c + i * where(g > 0, g, 0.25 * g)
    h = hard(o) * c
    return h, c


@cell
def strange_gru(h, *, r, z, n: Split):
    """Reset after the product."""
    z = hard(clip(z))
    h = (1 - z) * relu(clip(n.x + hard(clip(r)) * n.h)) + z * h
    return h


@cell
def strange_gru_before(h, *, r, z, n: Input):
    """Reset before the product."""
    z = hard(z)
    h = z * h + (1 - z) * ((n + linear(hard(r) * h)) / 2)
    return h


def test_every_operator_with_numbers_in_both_directions(tmp_path: Path) -> None:
    def of(made: Cell) -> tuple[Any, ...]:
        found = attributes_of(made, tmp_path / "m", bidirectional=True)
        names = [name.decode() for name in found["activations"]]
        assert names[: len(names) // 2] == names[len(names) // 2 :]
        own = {name: found[name] for name in ("linear_before_reset", "input_forget") if name in found}
        return found["operator"], names[: len(names) // 2], found["activation_alpha"], found.get("clip"), own

    assert of(strange_lstm) == (
        "LSTM", ["HardSigmoid", "ScaledTanh", "Softplus"], [0.25, 1.5] * 2, 0.75, {"input_forget": 0},
    )  # fmt: skip
    assert of(strange_coupled) == (
        "LSTM", ["HardSigmoid", "LeakyRelu", "Affine"], [0.25, 0.25, 1] * 2, None, {"input_forget": 1},
    )  # fmt: skip
    assert of(strange_gru) == ("GRU", ["HardSigmoid", "Relu"], [0.25] * 2, 0.75, {"linear_before_reset": 1})
    assert of(strange_gru_before) == (
        "GRU", ["HardSigmoid", "Affine"], [0.25, 0.5] * 2, None, {"linear_before_reset": 0},
    )  # fmt: skip


@cell
def two_functions(h, c, *, i, f, g, o):
    """Like the LSTM, but its gates have two different functions."""
    c = sigmoid(f) * c + hard(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


@cell
def two_numbers(h, *, r, z, n: Split):
    """Like a GRU, but its gates have different slopes."""
    z = minimum(maximum(0.25 * z, 0), 1)
    return (1 - z) * tanh(n.x + minimum(maximum(0.5 * r, 0), 1) * n.h) + z * h


@cell
def uneven_clip(h, *, a):
    """Like an RNN, but the clip has two different bounds."""
    return tanh(minimum(maximum(a, -1), 2))


@cell
def half_clipped(h, *, r, z, n: Split):
    """Like a GRU, but one gate is not clipped."""
    z = sigmoid(clip(z))
    return (1 - z) * tanh(clip(n.x + sigmoid(r) * n.h)) + z * h


@pytest.mark.parametrize(
    "made", [two_functions, two_numbers, uneven_clip, half_clipped, cells.lstm_clipped], ids=lambda c: c.name
)
def test_similar_cells_are_not_native(made: Cell) -> None:
    assert native(made) is None
