"""Variants that ONNX Runtime and torch also have, compared with these."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gatewise import Cell, cells, nn
from gatewise.nn.walk.walk import Weights
from tests.interop.onnx.models import by_onnx_runtime, fed, model

T, B, I, H = 9, 3, 4, 7
HARD = {
    "activations": ["HardSigmoid", "Tanh", "Tanh"],
    "activation_alpha": [0.2],
    "activation_beta": [0.5],
}
# The operator, its attributes, the order of its gates, and the order of its peepholes.
OPERATORS: dict[str, tuple[str, dict[str, Any], str, tuple[str, ...]]] = {
    "lstm_peephole": ("LSTM", {}, "iofg", ("p_i", "p_o", "p_f")),
    "lstm_coupled": ("LSTM", {"input_forget": 1}, "iofg", ()),
    "lstm_hard_sigmoid": ("LSTM", HARD, "iofg", ()),
    "gru_reset_before": ("GRU", {"linear_before_reset": 0}, "zrn", ()),
}


def in_their_order(cell: Cell, weights: Weights, order: str) -> tuple[NDArray[np.float32], ...]:
    """W, R and B in the order of the operator, with zeros for gates that the cell does not have."""
    there = {
        "W": (cell.input_gates, weights.weight_ih),
        "R": (cell.state_gates, weights.weight_hh),
        "b_x": (cell.input_gates, weights.bias_ih),
        "b_h": (cell.state_gates, weights.bias_hh),
    }
    found = {}
    for name, (gates, stacked) in there.items():
        assert stacked is not None
        rows = dict(zip(gates, torch.split(stacked.detach(), H), strict=True))
        if cell is cells.gru_reset_before and name in ("R", "b_h"):
            linear = weights.weight_linear if name == "R" else weights.bias_linear
            assert linear is not None
            rows["n"] = linear.detach()
        nothing = torch.zeros_like(next(iter(rows.values())))
        found[name] = torch.cat([rows.get(gate, nothing) for gate in order]).numpy()
    return found["W"][None], found["R"][None], np.concatenate([found["b_x"], found["b_h"]])[None]


@pytest.mark.parametrize("name", OPERATORS)
def test_it_computes_as_the_operator_of_onnx_runtime(name: str) -> None:
    operator, attributes, order, peepholes = OPERATORS[name]
    cell: Cell = getattr(cells, name)
    torch.manual_seed(0)
    layer: Any = nn.Recurrent(cell, I, H)
    W, R, biases = in_their_order(cell, layer._weights("_l0"), order)
    vectors = [getattr(layer, f"{vector}_l0").detach().numpy() for vector in peepholes]
    states = [torch.randn(1, B, H) for _ in cell.states]
    lengths = np.array([9, 2, 5], np.int32)
    given: dict[str, NDArray[Any] | None] = {
        "X": torch.randn(T, B, I).numpy(), "W": W, "R": R, "B": biases, "sequence_lens": lengths,
        "initial_h": states[0].numpy(),
    }  # fmt: skip
    if len(states) > 1:
        given["initial_c"] = states[1].numpy()
    if vectors:
        given["P"] = np.concatenate(vectors)[None]
    made = model(operator, {"hidden_size": H, "direction": "forward"} | attributes, given)
    Y, *finals = by_onnx_runtime(made, fed(given))
    X = torch.from_numpy(given["X"])
    hx: Any = tuple(states) if len(states) > 1 else states[0]
    output, ends = layer(X, hx, lengths=lengths.tolist())
    tolerance: dict[str, Any] = {"rtol": 0, "atol": 1e-5}  # its exponential is approximate in float32
    np.testing.assert_allclose(output.detach(), Y[:, 0], **tolerance)
    for mine, theirs in zip(ends if len(states) > 1 else [ends], finals, strict=True):
        np.testing.assert_allclose(mine.detach(), theirs, **tolerance)


def test_a_projected_lstm_computes_as_torchs() -> None:
    torch.manual_seed(0)
    theirs = torch.nn.LSTM(I, H, proj_size=3, dtype=torch.float64)
    mine = nn.Recurrent(cells.lstm_projected, I, H, proj_size=3, dtype=torch.float64)
    mine.load_state_dict(theirs.state_dict())
    x = torch.randn(T, B, I, dtype=torch.float64)
    (output, (h, c)), (expected, (h_n, c_n)) = mine(x), theirs(x)
    for one, other in ((output, expected), (h, h_n), (c, c_n)):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


def test_layer_norm_computes_as_torchs() -> None:
    """One step of the LSTM of Ba et al. from a state, by `torch.nn.functional.layer_norm`, without biases."""
    torch.manual_seed(0)
    layer: Any = nn.Recurrent(cells.lstm_layer_norm, I, H, bias=False, dtype=torch.float64)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x, h, c = (torch.randn(1, B, size, dtype=torch.float64) for size in (I, H, H))

    def norm(v: torch.Tensor, first: int, last: int) -> Any:
        gain, bias = (
            torch.cat([getattr(layer, f"norm_{of}_{n}_l0") for n in range(first, last)])
            for of in ("gain", "bias")
        )
        return torch.nn.functional.layer_norm(v, (v.size(-1),), gain, bias)

    from_x, from_h = norm(x @ layer.weight_ih_l0.T, 0, 4), norm(h @ layer.weight_hh_l0.T, 4, 8)
    i, f, g, o = (from_x + from_h).chunk(4, -1)
    after = f.sigmoid() * c + i.sigmoid() * g.tanh()
    _, (h_n, c_n) = layer(x, (h, c))
    torch.testing.assert_close(c_n, after, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(h_n, o.sigmoid() * norm(after, 8, 9).tanh(), rtol=1e-12, atol=1e-13)


def test_a_gru_d_keeps_time_and_values_apart_where_weights_are_zero() -> None:
    """Columns as in the docstring of the class. One step, with every product of the paper written out."""
    torch.manual_seed(0)
    V = 2  # values, with as many masks and as many gaps (times since a value was observed)
    layer: Any = nn.Recurrent(cells.gru_d, 3 * V, H, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_ih_l0[:H, : 2 * V] = 0
        layer.weight_ih_l0[H:, 2 * V :] = 0
    value, mask, gap = torch.randn(3, B, V, dtype=torch.float64)
    h = torch.randn(B, H, dtype=torch.float64)
    d, *gates = layer.weight_ih_l0.split(H)
    (b_d, *biases), M, b = (
        layer.bias_ih_l0.split(H),
        layer.weight_linear_l0.split(H),
        layer.bias_linear_l0.split(H),
    )
    decayed = torch.exp(-torch.relu(gap @ d[:, 2 * V :].T + b_d)) * h
    W, V_m = ([gate[:, part] for gate in gates] for part in (slice(V), slice(V, 2 * V)))

    def affine(n: int, state: torch.Tensor) -> Any:
        return value @ W[n].T + state @ M[n].T + mask @ V_m[n].T + biases[n] + b[n]

    r, z = affine(0, decayed).sigmoid(), affine(1, decayed).sigmoid()
    expected = (1 - z) * decayed + z * affine(2, r * decayed).tanh()
    _, found = layer(torch.cat([value, mask, gap], -1)[None], h[None])
    torch.testing.assert_close(found[0], expected, rtol=1e-12, atol=1e-13)
