"""Edge cases: packed, unbatched, one step, no steps, NaN after the end, half precision, layers in a loop."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

import gatewise
from gatewise import cells
from gatewise.insight.values import Values
from tests.insight.networks import LENGTHS, I, layer_of, seen_by, sequence

OF_VALUES: list[Callable[[Values], Any]] = [
    gatewise.ledger, gatewise.half_life, gatewise.time_scale, gatewise.saturation, gatewise.fixed_points,
    gatewise.lyapunov,
]  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["packed", "unbatched", "pickled", "copied", "without gradients", "checkpoint"]
)
def test_it_is_the_same_however_the_layer_was_called(kind: str) -> None:
    layer = layer_of(cells.lstm, bidirectional=True, checkpoint=2 if kind == "checkpoint" else 0)
    x = sequence()
    expected = seen_by(layer, x[:, 1:2])["l0_reverse"].ledger()
    if kind == "packed":
        lengths = torch.tensor([3, 9, 1, 6, 1])
        seen = seen_by(layer, pack_padded_sequence(x, lengths, enforce_sorted=False))
    elif kind == "unbatched":
        seen = seen_by(layer, x[:, 1])
    else:
        with torch.inference_mode(kind == "without gradients"):
            seen = seen_by(layer, x)
        seen = pickle.loads(pickle.dumps(seen)) if kind == "pickled" else seen
        seen = copy.deepcopy(seen) if kind == "copied" else seen
    found = seen["l0_reverse"].ledger()
    row = min(1, found.written.size(1) - 1)
    torch.testing.assert_close(found.written[:, row], expected.written[:, 0])
    assert found.residual < 1e-6


@pytest.mark.parametrize("analysis", OF_VALUES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("call", ["no steps", "no rows"])
def test_without_steps_there_is_nothing_to_explain(analysis: Callable[[Values], Any], call: str) -> None:
    layer = layer_of(cells.gru)
    x = sequence() if call == "no steps" else sequence()[:, :0]
    seen = seen_by(layer, x, lengths=[0] * x.size(1))
    with pytest.raises(ValueError, match="'l0' has no steps"):
        analysis(seen["l0"])


def test_one_step_has_a_ledger_and_no_exponents() -> None:
    values = seen_by(layer_of(cells.gru), sequence()[:1])["l0"]
    assert values.ledger().residual < 1e-6
    assert values.half_life().realised.isinf().all()
    with pytest.raises(ValueError, match="no row of 'l0' has more than one step"):
        gatewise.lyapunov(values)


def test_nan_in_the_padding_is_never_read() -> None:
    layer, clean = layer_of(cells.lstm, bidirectional=True), sequence()
    x = clean.clone()
    for row, length in enumerate(LENGTHS):
        x[length:, row] = torch.nan

    def loss(x: Tensor) -> Tensor:
        return torch.as_tensor(layer(x, lengths=LENGTHS)[0].sum((0, 2)))

    flow = gatewise.gradient_flow(layer, lambda: loss(x).sum(), jacobians=True)["l0_reverse"]
    assert flow.residual < 1e-5
    assert gatewise.decompose(layer, x, slice(1, 3), lengths=LENGTHS).residual < 1e-5
    found = gatewise.attribute(loss, x, lengths=LENGTHS)
    expected = gatewise.attribute(loss, clean, lengths=LENGTHS)
    torch.testing.assert_close(found.values, expected.values, equal_nan=True)
    assert found.residual < 1e-4


def test_the_residual_of_half_precision_is_its_rounding() -> None:
    layer, x = layer_of(cells.gru).bfloat16(), sequence().bfloat16()
    residual = seen_by(layer, x)["l0"].ledger().residual
    assert 1e-5 < residual < 0.05


class Loop(torch.nn.Module):
    """A layer, each of whose calls reads the result of the call before."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = gatewise.nn.LSTM(I, I)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for _ in range(3):
            x, state = self.layer(x, state)
        return x


def test_of_a_layer_that_is_called_again_the_last_call_counts() -> None:
    torch.manual_seed(0)
    model = Loop()
    flow = gatewise.gradient_flow(model, lambda: model(sequence()).square().sum())["layer.l0"]
    assert flow.residual < 1e-5


def test_gradients_flow_although_they_are_switched_off() -> None:
    layer, x = layer_of(cells.gru), sequence()
    with torch.no_grad():
        flow = gatewise.gradient_flow(layer, lambda: layer(x)[0].sum())["l0"]
        connected = gatewise.connectivity(lambda x: layer(x)[0], x, [-1])
    assert flow.residual < 1e-5
    assert connected.norms[0, -1].min() > 0
