"""The analyses for options of layers and for cells that are not classic: their identities still hold."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import gatewise
from gatewise import cell, cells, dropout, layer_norm, linear, project, sigmoid, tanh
from tests.insight.networks import LENGTHS, H, I, calls, layer_of, seen_by, sequence, start


@cell
def rich(h, c, *, i, f, g, o):  # type: ignore[no-untyped-def]
    """Products in the middle of a step, normalised gates, random masks."""
    i, f, g, o = layer_norm(i, f, g, o)
    c = sigmoid(f) * c + sigmoid(i) * dropout(tanh(g + linear(h)), 0.25)
    h = sigmoid(o) * layer_norm(tanh(c))
    return h, c


@cell
def narrow(h, c, *, i, f, g, o):  # type: ignore[no-untyped-def]
    """An LSTM with a projected output."""
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = project(sigmoid(o) * tanh(c))
    return h, c


LAYERS: dict[str, tuple[gatewise.Cell, dict[str, Any]]] = {
    "rich": (rich, {}),
    "narrow": (narrow, {"proj_size": 2}),
    "projected": (cells.lstm, {"proj_size": 2}),
    "zoneout": (cells.lstm, {"zoneout": (0.1, 0.3)}),
    "zoneout gru": (cells.gru, {"zoneout": 0.2}),
    "recurrent dropout": (cells.gru, {"recurrent_dropout": 0.3}),
    "weight drop": (cells.lstm, {"weight_drop": 0.3}),
    "learned start": (cells.lstm, {"learn_initial_state": True}),
}


def made(kind: str) -> Any:
    cell, options = LAYERS[kind]
    return layer_of(cell, num_layers=2, bidirectional=True, dtype=torch.float64, **options)


@pytest.mark.parametrize("call", ["plain", "both"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_ledger_sums_to_the_state_of_the_layer(kind: str, training: bool, call: str) -> None:
    layer = made(kind).train(training)
    seen = seen_by(layer, sequence(dtype=torch.float64), **calls()[call])
    for values in seen.values():
        ledger = values.ledger()
        torch.testing.assert_close(
            ledger.written.nansum(0) + ledger.initial, ledger.total, rtol=1e-12, atol=1e-13
        )
        assert ledger.residual < 1e-12


@pytest.mark.parametrize("call", ["plain", "both"])
@pytest.mark.parametrize("kind", LAYERS)
def test_contributions_sum_to_the_gradient_and_parts_to_the_output(kind: str, call: str) -> None:
    layer, arguments = made(kind).eval(), calls()[call]
    x = sequence(dtype=torch.float64)

    def loss() -> Tensor:
        return torch.as_tensor(layer(x, **arguments)[0].square().sum())

    flows = gatewise.gradient_flow(layer, loss, shares=True)
    assert all(flow.residual < 1e-10 for flow in flows.values())
    torch.autograd.backward(loss())
    for suffix, flow in flows.items():
        for parameter, share in (flow.shares or {}).items():
            expected = getattr(layer, f"{parameter}_{suffix}").grad
            torch.testing.assert_close(share.sum(0), expected, rtol=1e-9, atol=1e-10)
    assert gatewise.decompose(layer, x, slice(2, 5), **arguments).residual < 1e-11


@pytest.mark.parametrize("kind", LAYERS)
def test_spectra_and_fixed_points_are_found(kind: str) -> None:
    layer = made(kind).eval()
    seen = seen_by(layer, sequence(dtype=torch.float64), start(layer) if "proj" not in str(layer) else None)
    N = (2 if kind in ("narrow", "projected") else H) + (H if len(layer.cell.states) > 1 else 0)
    found = gatewise.lyapunov(seen["l1_reverse"])
    assert found.exponents.shape[1] == N
    assert found.exponents.isfinite().all()
    points = gatewise.fixed_points(seen["l0"], x=torch.zeros(I), starts=20, iterations=40)
    assert points.points.shape[1] == N
    assert points.speeds.numel() == 0 or points.speeds.max() <= 1e-6


@pytest.mark.parametrize("kind", ["rich", "zoneout", "recurrent dropout"])
def test_random_steps_cannot_be_computed_again(kind: str) -> None:
    layer, x = made(kind), sequence(dtype=torch.float64)
    values = seen_by(layer, x, lengths=LENGTHS)["l0"]
    for analysis in (gatewise.fixed_points, gatewise.lyapunov):
        with pytest.raises(ValueError, match=r"'l0' is random\. Call model\.eval\(\) first\."):
            analysis(values)
    with pytest.raises(ValueError, match="is random"):
        gatewise.gradient_flow(layer, lambda: layer(x)[0].sum())
    with pytest.raises(ValueError, match="is random"):
        gatewise.decompose(layer, x, slice(1))
