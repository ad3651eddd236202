# mypy: allow-untyped-defs, allow-incomplete-defs
"""Single steps of cells with products, means and random operations: ONNX Runtime against the interpreter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gatewise import Cell, Input, Vector, cell, dropout, layer_norm, linear, project, sigmoid, tanh, zoneout
from gatewise.interop.onnx.builder import Builder
from gatewise.interop.onnx.step import Scanner, from_input, step
from gatewise.language.rewrites import with_recurrent_dropout, without_random, written_out
from gatewise.nn.walk.walk import Weights
from gatewise.runtime.weights import shapes
from tests.interop.onnx.models import by_onnx_runtime
from tests.nn.scanning import interpreted

B, I, H, P = 3, 4, 6, 2


@cell
def reset_first(h, *, r, z, n: Input):
    """Two products in the middle."""
    r, z = sigmoid(r), sigmoid(z)
    n = tanh(n + linear(r * h))
    return z * n + (1 - z) * linear(n)


@cell
def of_a_vector(h, *, a, v: Vector):
    """Products of a vector that all rows share."""
    return tanh(a + linear(v) + linear(2 * v))


@cell
def projected(h, c, *, i, f, g, o):
    """Sak et al. 2014."""
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return project(sigmoid(o) * tanh(c)), c


@cell
def normalised(h, c, *, i, f, g, o):
    """Ba, Kiros & Hinton 2016."""
    i, f, g, o = layer_norm(i, f, g, o)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    seen: Any = layer_norm(c, eps=0.1)
    return sigmoid(o) * tanh(seen), c


@cell
def by_chance(h, *, a):
    """Random operations in training only; an exported file is not random."""
    new = tanh(dropout(a, 0.3))
    return zoneout(h, new, 0.2)


def weights_of(made: Cell, dtype: torch.dtype) -> Weights:
    torch.manual_seed(0)
    drawn: Any = {
        name: torch.randn(shape, dtype=dtype)
        for name, shape in shapes(made, I, H, True, P if made.projects else 0).items()
    }
    vectors = tuple(drawn.pop(name) for name in made.vectors)
    return Weights(vectors=vectors, **drawn)


def stepped(made: Cell, weights: Weights, x: Tensor, states: list[Tensor]) -> list[Tensor]:
    b = Builder(str(x.dtype).removeprefix("torch."))
    scanner = Scanner(written_out(without_random(made)), weights, "_l0")
    given = {f"s{k}": state for k, state in enumerate(states)} | {"x": x}
    for name, tensor in given.items():
        b.input(name, tuple(tensor.shape))
    after = step(b, scanner, from_input(b, scanner, "x"), [f"s{k}" for k in range(len(states))])
    for value, state in zip(after, states, strict=True):
        b.output(value, tuple(state.shape))
    found = by_onnx_runtime(b.model("step", ""), {name: tensor.numpy() for name, tensor in given.items()})
    return [torch.from_numpy(value) for value in found]


MADE = {made.name: made for made in (reset_first, of_a_vector, projected, normalised, by_chance)} | {
    "with recurrent dropout": with_recurrent_dropout(reset_first, 0.4),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", MADE)
def test_a_step_is_that_of_the_interpreter(name: str, dtype: torch.dtype) -> None:
    made, weights = MADE[name], weights_of(MADE[name], dtype)
    widths = [P if made.projects else H, *[H] * (len(made.states) - 1)]
    x, states = torch.randn(B, I, dtype=dtype), [torch.randn(B, width, dtype=dtype) for width in widths]
    expected = interpreted(made, x[None], weights, tuple(states)).states
    bound = 1e-5 if dtype == torch.float32 else 1e-12
    for found, value in zip(stepped(made, weights, x, states), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=bound, atol=bound)
