"""Ranking units by effect and by activity, against derivatives and silenced units."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import gatewise
from gatewise import cells
from tests.insight.edited_by_hand import Change, by_hand
from tests.insight.networks import LENGTHS, B, H, T, layer_of, seen_by, sequence


def test_the_effect_is_the_derivative_of_a_gain_on_the_unit() -> None:
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


def test_activity_is_the_deviation_of_the_output_over_existing_steps() -> None:
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


@torch.no_grad()
@pytest.mark.parametrize(("name", "value"), [(None, 0.0), ("f", 1.0)])
def test_silencing_is_the_change_of_the_loss_without_the_unit(name: str | None, value: float) -> None:
    layer = layer_of(cells.lstm, bidirectional=True, dtype=torch.float64)
    x, by = sequence(dtype=torch.float64), torch.randn(T, B, 2 * H, dtype=torch.float64)

    def loss(output: Tensor) -> Tensor:
        return (output * by).sum().tanh()

    found = gatewise.rank_units(
        layer, lambda: loss(layer(x, lengths=LENGTHS)[0]), by="silenced", name=name, value=value
    )
    assert not layer._edits
    before = loss(by_hand(layer, x, {}, lengths=LENGTHS)[0])
    for where, scores in found.scores.items():
        for unit in range(H):
            held = Change(
                name or "h", lambda old, t, b: torch.full_like(old, value), [unit], range(T), range(B)
            )
            after = loss(by_hand(layer, x, {where: [held]}, lengths=LENGTHS)[0])
            assert float(scores[unit]) == pytest.approx(abs(float(after - before)), rel=1e-8, abs=1e-12)
    assert list(found.scores) == ["l0", "l0_reverse"]
    by_score = sorted(found.order, key=lambda place: -float(found.scores[place[0]][place[1]]))
    assert list(found.order) == by_score
    said = "By silenced, unit" if name is None else f"By {name} held at {value:g}, unit"
    assert str(found).startswith(said)


@torch.no_grad()
def test_one_kernel_silences_all_units_and_edits_stay() -> None:
    layer, x = layer_of(cells.gru), sequence()
    edited = gatewise.edit(layer, "l0", z=0.5, steps=[3])
    found = gatewise.rank_units(edited, lambda: edited(x)[0].square().sum(), by="silenced").scores["l0"]
    for unit in range(H):
        silent = gatewise.edit(edited, "l0", h=0.0, units=[unit])
        assert silent._edits["l0"].cell is gatewise.edit(edited, "l0", h=0.0, units=[])._edits["l0"].cell
        change = silent(x)[0].square().sum() - edited(x)[0].square().sum()
        assert float(found[unit]) == pytest.approx(abs(float(change)), rel=1e-5)
    assert list(edited._edits["l0"].called) == []


def test_what_rank_units_refuses() -> None:
    layer, x = layer_of(cells.gru, num_layers=2, dropout=0.5), sequence()
    with pytest.raises(ValueError, match=r"by must be one of effect, silenced, activity\. Got 'luck'\."):
        gatewise.rank_units(layer, lambda: torch.ones(()), by="luck")
    with pytest.raises(ValueError, match=r"name and value are for by='silenced'\. Got by='effect'"):
        gatewise.rank_units(layer, lambda: layer(x)[0].sum(), name="z")
    with pytest.raises(ValueError, match=r"changes from call to call\. Call model\.eval\(\) first"):
        gatewise.rank_units(layer, lambda: layer(x)[0].sum(), by="silenced")
    for by in ("silenced", "activity"):
        with pytest.raises(ValueError, match="the loss calls no gatewise layer over sequences"):
            gatewise.rank_units(layer, lambda: torch.ones(()), by=by)
    with pytest.raises(ValueError, match=r"'l0' \(gru\) has no value 'f'"):
        gatewise.rank_units(layer.eval(), lambda: layer(x)[0].sum(), by="silenced", name="f")
