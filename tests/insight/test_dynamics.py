"""Fixed points and Lyapunov exponents, with known solutions, and against QR decompositions in NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import gatewise
from gatewise import Cell, cells
from gatewise import nn as ours
from tests.insight.networks import ALL, KEPT, LENGTHS, B, H, I, calls, layer_of, name, seen_by, sequence


def elman(weights: torch.Tensor) -> Any:
    """h' = tanh(R h), without input."""
    layer: Any = ours.RNN(1, len(weights), bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_ih_l0.zero_()
        layer.weight_hh_l0.copy_(weights)
    return layer


def settled(w: float) -> float:
    """The positive solution of h = tanh(w h)."""
    h = 1.0
    for _ in range(2000):
        h = math.tanh(w * h)
    return h


def test_two_independent_bistable_units_have_nine_fixed_points() -> None:
    layer = elman(torch.diag(torch.tensor([2.0, 1.5])))
    hx = torch.rand(1, 200, 2, dtype=torch.float64) * 2 - 1
    seen = seen_by(layer, torch.zeros(2, 200, 1, dtype=torch.float64), hx)
    found = gatewise.fixed_points(seen["l0"], starts=400)
    expected = {(a * settled(2.0), b * settled(1.5)) for a in (-1, 0, 1) for b in (-1, 0, 1)}
    for point in expected:
        distance = (found.points - torch.tensor(point, dtype=torch.float64)).abs().amax(1)
        place = int(distance.argmin())
        assert distance[place] < 1e-6
        slopes = sorted((w * (1 - h * h) for w, h in zip((2.0, 1.5), point, strict=True)), reverse=True)
        assert found.eigenvalues[place].real.tolist() == pytest.approx(slopes, abs=1e-5)
        assert bool(found.stable[place]) == (0 not in point)
    assert len(found.points) == 9
    assert int(found.visits.sum()) <= found.starts
    assert found.speeds.max() <= 1e-6
    assert "9 points, 4 of them stable" in str(found)


@pytest.mark.parametrize("cell", ALL, ids=name)
def test_a_fixed_point_is_a_fixed_point_of_the_layer(cell: Cell) -> None:
    layer = layer_of(cell, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_hh_l0.mul_(0.4)  # contracting: there is one fixed point, and it is stable
    x = torch.full((I,), 0.3, dtype=torch.float64)
    found = gatewise.fixed_points(seen_by(layer, sequence(dtype=torch.float64))["l0"], x=x)
    assert len(found.points) == 1
    states = tuple(part[None] for part in torch.split(found.points, H, 1))
    after = layer(x.expand(1, 1, I), states if len(states) > 1 else states[0])[1]
    after = after if isinstance(after, tuple) else (after,)
    torch.testing.assert_close(after, states, rtol=0, atol=1e-6)
    assert found.stable.all()


def test_without_a_fixed_point_none_is_found() -> None:
    layer = ours.RNN(1, 1, nonlinearity="relu", dtype=torch.float64)
    for parameter in layer.parameters():
        torch.nn.init.ones_(parameter)  # h' = h + 3 for x = 1
    found = gatewise.fixed_points(seen_by(layer, torch.ones(5, 2, 1, dtype=torch.float64))["l0"])
    assert len(found.points) == 0
    assert str(found) == "l0: none of 10 starts came to rest."


def test_the_exponents_of_a_linear_map_are_the_logarithms_of_its_singular_directions() -> None:
    torch.manual_seed(0)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    weights = turn @ torch.diag(torch.tensor([0.9, 0.5, 0.2], dtype=torch.float64)) @ turn.T
    layer = elman(weights)
    hx = 1e-9 * torch.randn(1, 2, 3, dtype=torch.float64)  # where tanh is linear
    found = gatewise.lyapunov(seen_by(layer, torch.zeros(300, 2, 1, dtype=torch.float64), hx)["l0"], skip=50)
    expected = torch.tensor([0.9, 0.5, 0.2], dtype=torch.float64).log().expand(2, 3)
    torch.testing.assert_close(found.exponents, expected, rtol=1e-6, atol=1e-6)
    assert found.residual < 1e-10
    assert (found.dimension == 0).all()


def test_a_growing_direction_is_reported_with_the_dimension() -> None:
    layer = elman(torch.diag(torch.tensor([1.2, 0.5])))
    hx = 1e-15 * torch.ones(1, 1, 2, dtype=torch.float64)
    found = gatewise.lyapunov(seen_by(layer, torch.zeros(60, 1, 1, dtype=torch.float64), hx)["l0"])
    assert found.exponents[0].tolist() == pytest.approx([math.log(1.2), math.log(0.5)], abs=0.05)
    first, second = found.exponents[0].tolist()
    assert float(found.dimension) == pytest.approx(1 + first / -second)
    assert "so nearby states diverge; 1 of 2 are positive" in str(found)


def test_a_unit_of_relu_that_is_off_has_no_derivative() -> None:
    layer: Any = ours.RNN(1, 2, nonlinearity="relu", dtype=torch.float64)
    with torch.no_grad():
        layer.bias_ih_l0[:] = torch.tensor([9.0, -9.0])
    found = gatewise.lyapunov(seen_by(layer, torch.zeros(9, 1, 1, dtype=torch.float64))["l0"], skip=2)
    expected = math.log(abs(float(layer.weight_hh_l0.detach()[0, 0])))
    assert found.exponents[0].tolist() == pytest.approx([expected, -math.inf])


@pytest.mark.parametrize("call", ["plain", "both"])
@pytest.mark.parametrize("cell", [cells.rnn, *KEPT], ids=name)
def test_the_exponents_are_those_of_qr_in_numpy(cell: Cell, call: str) -> None:
    layer = layer_of(cell, bidirectional=True, dtype=torch.float64)
    x, arguments = sequence(dtype=torch.float64), calls()[call]
    seen = seen_by(layer, x, **arguments)
    found = gatewise.lyapunov(seen["l0_reverse"])
    lengths, reset = arguments.get("lengths", [len(x)] * B), arguments.get("reset")
    step = ours.Step(cell, I, H, dtype=torch.float64)
    step.load_state_dict(
        {k.removesuffix("_l0_reverse"): v for k, v in layer.state_dict().items() if k.endswith("_reverse")}
    )

    def after(numbers: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        states = torch.split(numbers[None], H, 1)
        found = step(x[None], states if len(states) > 1 else states[0])
        return torch.cat(found if isinstance(found, tuple) else (found,), 1)[0]

    for row, length in enumerate(lengths):
        N = H * len(cell.states)
        logs, state = [], torch.zeros(N, dtype=torch.float64)
        frame = np.linalg.qr(np.random.default_rng(1).standard_normal((N, N)))[0]
        for t in reversed(range(length)):
            begins = t == length - 1 or (reset is not None and bool(reset[t + 1, row]))
            state = torch.zeros_like(state) if begins else state
            if not begins:
                jacobian = torch.func.jacrev(after)(state, x[t, row]).detach().numpy()
                frame, stretch = np.linalg.qr(jacobian @ frame)
                logs.append(np.log(np.abs(np.diag(stretch))))
            state = after(state, x[t, row]).detach()
        if logs:  # the sum does not depend on the first frame
            total = float(found.exponents[row].sum())
            assert total == pytest.approx(np.sum(logs) / len(logs), rel=1e-8)
        else:
            assert found.exponents[row].isnan().all()
    assert found.residual < 1e-8


def test_the_first_exponents_alone_are_the_same() -> None:
    torch.manual_seed(0)
    layer = layer_of(cells.gru, dtype=torch.float64)
    values = seen_by(layer, torch.randn(300, 2, I, dtype=torch.float64))["l0"]
    whole, some = gatewise.lyapunov(values), gatewise.lyapunov(values, count=2)
    torch.testing.assert_close(some.exponents, whole.exponents[:, :2], rtol=0.05, atol=0.02)
    assert math.isnan(some.residual)


def test_what_lyapunov_refuses() -> None:
    values = seen_by(layer_of(cells.gru), sequence(), lengths=LENGTHS)["l0"]
    with pytest.raises(ValueError, match=r"count must be from 1 to 4, the numbers of the state\. Got 5\."):
        gatewise.lyapunov(values, count=5)
    with pytest.raises(ValueError, match=r"skip must be from 0 to 8\. Got 9\."):
        gatewise.lyapunov(values, skip=9)
