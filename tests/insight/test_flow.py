"""Gradient flow and connectivity, against autograd graphs that keep every step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import gatewise
from gatewise import Cell, cells
from gatewise import nn as ours
from tests.insight.networks import (
    ALL,
    CALLS,
    LENGTHS,
    B,
    H,
    I,
    T,
    calls,
    layer_of,
    leaky,
    name,
    sequence,
    start,
)


def loss_of(layer: Any, x: Tensor, hx: Any, arguments: dict[str, Any]) -> Tensor:
    """A number that every output and every final state contributes to."""
    output, finals = layer(x, hx, **arguments)
    finals = (finals,) if isinstance(finals, Tensor) else finals
    weight = torch.linspace(0.5, 1.5, output.numel(), dtype=output.dtype).view_as(output)
    parts = [(output * weight).square().sum(), *((k + 1) * f.sum() for k, f in enumerate(finals))]
    return torch.stack(parts).sum()


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("cell", ALL, ids=name)
def test_the_contributions_of_the_steps_sum_to_the_gradient(cell: Cell, call: str, batch_first: bool) -> None:
    layer = layer_of(cell, num_layers=2, bidirectional=True, batch_first=batch_first)
    x, hx, arguments = sequence(batch_first), start(layer), calls(batch_first)[call]
    torch.autograd.backward(loss_of(layer, x, hx, arguments))
    flows = gatewise.gradient_flow(layer, lambda: loss_of(layer, x, hx, arguments), shares=True)
    assert list(flows) == ["l0", "l0_reverse", "l1", "l1_reverse"]
    for suffix, flow in flows.items():
        assert flow.residual < 1e-5
        assert flow.shares is not None
        for parameter, share in flow.shares.items():
            expected = getattr(layer, f"{parameter}_{suffix}").grad
            scale = float(expected.abs().max()) or 1.0
            torch.testing.assert_close(share.sum(0).float(), expected, rtol=0, atol=1e-5 * scale)
            torch.testing.assert_close(flow.weights[parameter], share.flatten(1).norm(dim=1))


def by_hand(layer: Any, x: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """An LSTM by its equations. Returns every h and c, which stay in the graph, and the output."""
    h = c = torch.zeros(B, H, dtype=x.dtype)
    hs, cs = [], []
    for t in range(T):
        gates = x[t] @ layer.weight_ih_l0.T + h @ layer.weight_hh_l0.T + layer.bias_ih_l0 + layer.bias_hh_l0
        i, f, g, o = gates.chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        c.retain_grad()
        h = torch.sigmoid(o) * torch.tanh(c)
        h.retain_grad()
        hs.append(h)
        cs.append(c)
    return hs, cs, torch.stack(hs)


def test_derivatives_of_states_are_those_of_autograd() -> None:
    layer = layer_of(cells.lstm, dtype=torch.float64)
    x = sequence(dtype=torch.float64)
    hs, cs, output = by_hand(layer, x)
    torch.autograd.backward(output[2:].square().sum())
    flow = gatewise.gradient_flow(layer, lambda: layer(x)[0][2:].square().sum())["l0"]
    for state, kept in (("h", hs), ("c", cs)):
        expected = torch.stack([s.grad.norm(dim=1) for s in kept if s.grad is not None])
        torch.testing.assert_close(flow.states[state], expected, rtol=1e-10, atol=1e-12)
    assert flow.residual < 1e-12
    # The direct path of c: without the effect of h in the same step.
    c, h = torch.stack(cs).detach(), torch.stack(hs).detach()
    through_h = flow.derivatives["h"] * (h / c.tanh()) * (1 - c.tanh() ** 2)
    torch.testing.assert_close(flow.partials["h"], flow.derivatives["h"])
    torch.testing.assert_close(flow.partials["c"] + through_h, flow.derivatives["c"], rtol=1e-10, atol=1e-12)
    assert not flow.partials["c"][-1].any()


def test_jacobians_are_those_of_one_step() -> None:
    layer = layer_of(cells.lstm, dtype=torch.float64)
    x = sequence(dtype=torch.float64)
    flow = gatewise.gradient_flow(layer, lambda: layer(x)[0].sum(), jacobians=True)["l0"]
    assert flow.jacobians is not None
    step = ours.LSTMCell(I, H, dtype=torch.float64)
    step.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    h, c = layer(x[:4])[1]

    def after(numbers: Tensor) -> Tensor:
        return torch.cat(step(x[4, 1:2], torch.split(numbers[None], H, 1)), 1)[0]

    jacobian = torch.func.jacrev(after)(torch.cat([h[0, 1], c[0, 1]]))
    assert float(flow.jacobians[4, 1]) == pytest.approx(float(torch.linalg.matrix_norm(jacobian.detach(), 2)))
    assert (flow.jacobians[0] == 0).all()


def test_steps_after_the_end_are_nan_and_unused_layers_are_omitted() -> None:
    model = torch.nn.ModuleDict({"used": layer_of(leaky), "unused": layer_of(cells.gru)})
    x = sequence()

    def loss() -> Tensor:
        model["unused"](x)
        return torch.as_tensor(model["used"](x, lengths=LENGTHS)[0].sum())

    flows = gatewise.gradient_flow(model, loss, jacobians=True)
    assert list(flows) == ["used.l0"]
    flow = flows["used.l0"]
    assert flow.residual < 1e-5
    for norms in (*flow.states.values(), flow.jacobians):
        assert norms is not None
        for row, length in enumerate(LENGTHS):
            assert norms[length:, row].isnan().all()
            assert norms[:length, row].isfinite().all()


def test_a_vanishing_gradient_is_reported() -> None:
    layer = layer_of(cells.rnn)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(0.1 * torch.eye(H))
        layer.bias_ih_l0.zero_()
        layer.bias_hh_l0.zero_()
    x = 0.01 * sequence()
    flow = gatewise.gradient_flow(layer, lambda: layer(x)[0][-1].sum())["l0"]
    norms = flow.states["h"][:, 0]
    torch.testing.assert_close(norms[:-1] / norms[1:], torch.full((T - 1,), 0.1).double(), rtol=0.02, atol=0)
    assert "|dL/dh| is " in repr({"l0": flow})
    assert f"residual {flow.residual:.1e}" in str(flow)


def test_what_gradient_flow_refuses() -> None:
    layer = layer_of(cells.rnn)
    with pytest.raises(ValueError, match="the loss does not depend on a parameter"):
        gatewise.gradient_flow(layer, lambda: torch.ones(()))
    with pytest.raises(TypeError, match=r"gradient_flow: model must be a torch\.nn\.Module. Got int"):
        gatewise.gradient_flow(1, lambda: torch.ones(()))  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("cell", [cells.lstm, cells.gru], ids=name)
def test_connectivity_is_the_norm_of_the_jacobian(cell: Cell, batch_first: bool) -> None:
    layer = layer_of(cell, bidirectional=True, batch_first=batch_first, dtype=torch.float64)
    x = sequence(batch_first, torch.float64)
    found = gatewise.connectivity(lambda x: layer(x, lengths=LENGTHS)[0], x, [2, -1], batch_first)
    whole = torch.func.jacrev(lambda x: layer(x, lengths=LENGTHS)[0])(x)
    for place, t in enumerate((2, T - 1)):
        for row in range(B):
            block = whole[row, t, :, row] if batch_first else whole[t, row, :, :, row]  # [O, T, I]
            torch.testing.assert_close(found.norms[place, :, row], block.square().sum((0, 2)).sqrt())
    assert found.steps == (2, T - 1)
    assert found.residual < 1e-7
    assert "residual against differences" in str(found)


def test_connectivity_of_a_function_without_steps() -> None:
    with pytest.raises(ValueError, match=r"function must return \[T, B, O\] with 5 rows\. Got \(5, 3\)\."):
        gatewise.connectivity(lambda x: x[0], sequence())
