# mypy: allow-untyped-defs, allow-incomplete-defs
"""The eager interpreter against NumPy, torch's layers, and loops written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gatewise import Cell, Vector, cell, cells
from gatewise.language.graph import OPERATIONS, Graph
from gatewise.language.rewrites import projected
from gatewise.nn.walk import eager
from gatewise.nn.walk.walk import Weights
from gatewise.runtime.weights import shapes
from tests.nn.layers import mixed
from tests.nn.scanning import interpreted

T, B, I, H = 6, 3, 4, 5

# For each operation: its number of arguments, and its reference.
IN_NUMPY: dict[str, tuple[int, Callable[..., Any]]] = {
    "add": (2, np.add),
    "sub": (2, np.subtract),
    "mul": (2, np.multiply),
    "div": (2, np.divide),
    "neg": (1, np.negative),
    "exp": (1, np.exp),
    "log": (1, np.log),
    "sqrt": (1, np.sqrt),
    "abs": (1, np.abs),
    "tanh": (1, np.tanh),
    "sigmoid": (1, lambda a: 1 / (1 + np.exp(-a))),
    "softplus": (1, lambda a: np.logaddexp(a, 0)),
    "relu": (1, lambda a: np.maximum(a, 0)),
    "maximum": (2, np.maximum),
    "minimum": (2, np.minimum),
    "less": (2, np.less),
    "less_equal": (2, np.less_equal),
    "where": (3, np.where),
}


@cell
def still(h, m, n, *, a, v: Vector):
    """The next states `m` and `n` are a number and a vector, so they are the same for every row."""
    h = 0 * a + m
    return h, 0.25, v


def weights_of(cell_: Cell, bias: bool = True) -> Weights:
    shaped = shapes(cell_, I, H, bias)
    made: dict[str, Any] = {name: torch.randn(shape, dtype=torch.float64) for name, shape in shaped.items()}
    return Weights(vectors=tuple(made.pop(name) for name in cell_.vectors), **made)


def weights_in(layer: torch.nn.RNNBase) -> Weights:
    named = {name.removesuffix("_l0"): weight for name, weight in layer.named_parameters()}
    return Weights(**named)  # type: ignore[arg-type]  # a named tuple has no types by name


def test_every_operation_of_the_language_is_tested() -> None:
    assert IN_NUMPY.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("op", IN_NUMPY)
def test_an_operation(op: str) -> None:
    graph = Graph()
    arity, expected = IN_NUMPY[op]
    arguments = [torch.rand(100, dtype=torch.float64) + 0.1 for _ in range(arity)]
    if op == "where":
        arguments[0] = arguments[0] < 0.6
    leaves = {graph.leaf("state", str(k)): value for k, value in enumerate(arguments)}
    (found,) = eager.evaluate([graph.node(op, *leaves)], leaves)
    np.testing.assert_allclose(found, expected(*(value.numpy() for value in arguments)), rtol=1e-14)


def test_softplus_and_its_derivatives_are_exact_in_both_tails() -> None:
    graph = Graph()
    x = graph.leaf("state", "x")
    value = torch.tensor([-700.0, -40.0, 0.0, 40.0, 800.0], dtype=torch.float64, requires_grad=True)
    (y,) = eager.evaluate([graph.node("softplus", x)], {x: value})
    (first,) = torch.autograd.grad(y.sum(), value, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), value)
    at = value.detach().numpy()
    tail = np.exp(-np.abs(at))
    positive = 1 / (1 + tail)
    np.testing.assert_allclose(y.detach(), np.maximum(at, 0) + np.log1p(tail), rtol=1e-15)
    np.testing.assert_allclose(first.detach(), np.where(at < 0, tail * positive, positive), rtol=1e-14)
    np.testing.assert_allclose(second, tail * positive**2, atol=1e-16)  # torch computes it as (z - 1) z


def test_a_missing_leaf() -> None:
    graph = Graph()
    x, y = graph.leaf("state", "x"), graph.leaf("state", "y")
    with pytest.raises(KeyError):
        eager.evaluate([graph.node("add", x, y)], {x: torch.zeros(1)})


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("cell_", "kind", "options"),
    [
        (cells.rnn, "RNN", {}),
        (cells.rnn_relu, "RNN", {"nonlinearity": "relu"}),
        (cells.lstm, "LSTM", {}),
        (projected(cells.lstm), "LSTM", {"proj_size": 2}),
        (cells.gru, "GRU", {}),
    ],
    ids=["rnn", "rnn-relu", "lstm", "lstm-projected", "gru"],
)
def test_a_scan_is_the_layer_of_torch(cell_: Cell, kind: str, options: dict[str, Any], bias: bool) -> None:
    layer = getattr(torch.nn, kind)(I, H, bias=bias, dtype=torch.float64, **options)
    x = torch.randn(T, B, I, dtype=torch.float64)
    found = interpreted(cell_, x, weights_in(layer), record=cell_.states)
    output, final = layer(x)
    torch.testing.assert_close(found.output, output, rtol=1e-12, atol=1e-14)
    for state, expected in zip(found.states, final if kind == "LSTM" else (final,), strict=True):
        torch.testing.assert_close(state, expected[0], rtol=1e-12, atol=1e-14)
    for name, state in zip(cell_.states, found.states, strict=True):
        assert torch.equal(found.recorded[name][-1], state)


def by_hand(x: Tensor, w: Weights, h: Tensor, m: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
    """The cell `mixed` over ``x [T, B, I]``, with every product written out."""
    assert w.bias_ih is not None
    assert w.bias_hh is not None
    (wa, wb, wd), (ba, bb, bd) = w.weight_ih.chunk(3), w.bias_ih.chunk(3)
    (rb, rd), (cb, cd) = w.weight_hh.chunk(2), w.bias_hh.chunk(2)
    outputs = []
    for step in x:
        d = torch.sigmoid(step @ wd.T + bd + h @ rd.T + cd)
        m = d * m + (1 - d) * torch.tanh(step @ wa.T + ba + step @ wb.T + bb)
        h = torch.tanh(m * w.vectors[0] + h @ rb.T + cb) - 0.5 * h
        outputs.append(h)
    return outputs, h, m


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_every_kind_of_parameter(given: bool, batch_first: bool, reverse: bool) -> None:
    weights = weights_of(mixed)
    x = torch.randn(T, B, I, dtype=torch.float64)
    h, m = torch.randn(2, B, H, dtype=torch.float64) * given
    found = interpreted(
        mixed,
        x.transpose(0, 1) if batch_first else x,
        weights,
        (h, m) if given else None,
        reverse=reverse,
        batch_first=batch_first,
    )
    outputs, h, m = by_hand(x.flip(0) if reverse else x, weights, h, m)
    expected = torch.stack(outputs[::-1] if reverse else outputs, 1 if batch_first else 0)
    torch.testing.assert_close(found.output, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found.states, (h, m), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_packed_rows_with_resets(given: bool, reverse: bool) -> None:
    weights, lengths = weights_of(mixed), [6, 4, 1]
    x, resets = torch.randn(T, B, I, dtype=torch.float64), torch.rand(T, B) < 0.4
    h, m = torch.randn(2, B, H, dtype=torch.float64) * given
    running = torch.arange(T)[:, None] < torch.tensor(lengths)
    found = interpreted(
        mixed,
        x[running],
        weights,
        (h, m) if given else None,
        reverse=reverse,
        record=("m",),
        reset=resets[running],
        batch_sizes=running.sum(1),
    )
    outputs, seen = x.new_zeros(T, B, H), x.new_zeros(T, B, H)
    for row, length in enumerate(lengths):
        hs, ms = initial = h[row : row + 1], m[row : row + 1]
        for t in reversed(range(length)) if reverse else range(length):
            hs, ms = initial if resets[t, row] else (hs, ms)
            _, hs, ms = by_hand(x[t : t + 1, row : row + 1], weights, hs, ms)
            outputs[t, row], seen[t, row] = hs[0], ms[0]
        torch.testing.assert_close(tuple(state[row] for state in found.states), (hs[0], ms[0]))
    torch.testing.assert_close(found.output, outputs[running], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found.recorded["m"], seen[running], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("reverse", [False, True])
def test_what_is_recorded_satisfies_the_equations(reverse: bool) -> None:
    names = tuple(cells.lstm.values)
    x = torch.randn(B, T, I, dtype=torch.float64)
    output, _, seen = interpreted(
        cells.lstm, x, weights_of(cells.lstm), reverse=reverse, batch_first=True, record=names
    )
    assert tuple(seen) == names
    assert all(value.shape == (T, B, H) for value in seen.values())
    assert torch.equal(seen["h"], output.transpose(0, 1))
    torch.testing.assert_close(seen["f"], torch.sigmoid(seen["f_bar"]), rtol=1e-14, atol=0)
    before = slice(1, None) if reverse else slice(None, -1)
    after = slice(None, -1) if reverse else slice(1, None)
    written = seen["i"][after] * seen["g"][after]
    torch.testing.assert_close(seen["c"][after], seen["f"][after] * seen["c"][before] + written)


def test_a_state_that_is_the_same_for_all_rows_has_the_shape_of_a_batch() -> None:
    weights = weights_of(still)
    output, states, seen = interpreted(
        still, torch.randn(T, B, I, dtype=torch.float64), weights, record=("m", "n")
    )
    assert [state.shape for state in states] == [(B, H)] * 3
    assert torch.equal(output[1:], torch.full((T - 1, B, H), 0.25, dtype=torch.float64))
    assert torch.equal(seen["m"], torch.full((T, B, H), 0.25, dtype=torch.float64))
    assert torch.equal(seen["n"], weights.vectors[0].expand(T, B, H))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.complex64])
def test_any_element_type(dtype: torch.dtype) -> None:
    layer = torch.nn.LSTM(I, H, dtype=dtype)
    x = torch.randn(T, B, I, dtype=dtype)
    found = interpreted(cells.lstm, x, weights_in(layer))
    assert found.output.dtype == dtype
    expected = layer(x)[0]
    tolerance = 4 * torch.finfo(dtype).eps  # complex values within the unit circle
    assert (found.output - expected).abs().max() <= tolerance


def test_it_runs_on_another_device() -> None:
    layer = torch.nn.GRU(I, H, device="meta")
    output, (h,), _ = interpreted(cells.gru, torch.randn(T, B, I, device="meta"), weights_in(layer))
    assert (output.shape, h.shape, h.device.type) == ((T, B, H), (B, H), "meta")


def test_second_derivatives_of_every_kind_of_parameter() -> None:
    weights = weights_of(mixed)
    names = weights._fields[:4]
    x = torch.randn(2, 1, I, dtype=torch.float64)
    leaves = [x, *(getattr(weights, name) for name in names), *weights.vectors]

    def function(x: Tensor, *given: Tensor) -> Tensor:
        weight_ih, weight_hh, bias_ih, bias_hh, *vectors = given
        return interpreted(mixed, x, Weights(weight_ih, weight_hh, bias_ih, bias_hh, tuple(vectors))).output

    leaves = [leaf.requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)
