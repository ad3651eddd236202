"""Units ranked by their effect, against the derivative by a gain on each, and by their activity."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import gatewise
from gatewise import cells
from tests.insight.networks import LENGTHS, B, H, T, layer_of, seen_by, sequence


def test_the_effect_is_the_derivative_by_a_gain_on_the_unit() -> None:
    layer, x = layer_of(cells.lstm, dtype=torch.float64), sequence(dtype=torch.float64)

    def loss(output: Tensor) -> Tensor:
        return output[3:].square().sum()

    gain = torch.ones(H, dtype=torch.float64, requires_grad=True)
    h = c = torch.zeros(B, H, dtype=torch.float64)
    outputs = []
    for t in range(T):
        gates = x[t] @ layer.weight_ih_l0.T + h @ layer.weight_hh_l0.T + layer.bias_ih_l0 + layer.bias_hh_l0
        i, f, g, o = gates.chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = gain * torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    (expected,) = torch.autograd.grad(loss(torch.stack(outputs)), gain)
    flow = gatewise.gradient_flow(layer, lambda: loss(layer(x)[0]))["l0"]
    torch.testing.assert_close(flow.effects["h"], -expected, rtol=1e-10, atol=1e-12)
    found = gatewise.rank_units(layer, lambda: loss(layer(x)[0]))
    torch.testing.assert_close(found.scores["l0"], expected.abs(), rtol=1e-10, atol=1e-12)
    assert [unit for _, unit in found.order] == expected.abs().argsort(descending=True).tolist()


def test_activity_is_the_spread_of_the_output_over_steps_that_there_are() -> None:
    layer, x = layer_of(cells.gru, num_layers=2), sequence()
    found = gatewise.rank_units(layer, lambda: layer(x, lengths=LENGTHS)[0].sum(), by="activity")
    h = seen_by(layer, x, lengths=LENGTHS)["l1"].h
    steps = torch.cat([h[:length, row] for row, length in enumerate(LENGTHS)])
    torch.testing.assert_close(found.scores["l1"], steps.double().std(0))
    assert len(found.order) == 2 * H
    best = max(float(scores.max()) for scores in found.scores.values())
    layer_name, unit = found.order[0]
    assert float(found.scores[layer_name][unit]) == best
    assert str(found).startswith(f"By activity, unit {unit} of {layer_name} matters most, with ")


def test_what_rank_units_refuses() -> None:
    layer = layer_of(cells.gru)
    with pytest.raises(ValueError, match=r"by must be one of effect, activity\. Got 'luck'\."):
        gatewise.rank_units(layer, lambda: torch.ones(()), by="luck")
