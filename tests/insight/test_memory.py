"""Ledgers, half-lives, time scales and saturation, against sums and means in NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import gatewise
from gatewise import Cell, cells
from gatewise.insight.keeping import kept_states
from tests.insight.networks import CALLS, KEPT, B, H, T, calls, layer_of, name, seen_by, sequence, start

Array = NDArray[np.float64]


def keep_and_write(values: Any) -> tuple[Array, Array]:
    """What the equations keep and write, computed from watched gates."""
    v = {name: values[name].double().numpy() for name in values.names}
    if values.cell.name == "lstm":
        return v["f"], v["i"] * v["g"]
    if values.cell.name == "gru":
        return v["z"], (1 - v["z"]) * v["n"]
    return 1 - v["d"], v["d"] * np.tanh(v["a_bar"] + v["b_bar_x"])


def pieces(order: list[int], length: int, reset: Array | None, reverse: bool) -> list[int]:
    """The steps of a row after its last reset, in the order of the scan."""
    steps = [t for t in order if t < length]
    begins = [0]
    for place, t in enumerate(steps):
        boundary = t + 1 if reverse else t
        if place and reset is not None and reset[boundary]:
            begins.append(place)
    return steps[begins[-1] :]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("cell", KEPT, ids=name)
def test_the_parts_of_a_ledger_follow_its_formula(cell: Cell, call: str, batch_first: bool) -> None:
    layer = layer_of(cell, num_layers=2, bidirectional=True, batch_first=batch_first)
    arguments, hx = calls(batch_first)[call], start(layer)
    seen = seen_by(layer, sequence(batch_first), hx, **arguments)
    state = next(iter(kept_states(cell)))
    initial = hx if isinstance(hx, torch.Tensor) else hx[cell.states.index(state)]
    for number, values in enumerate(seen.values()):
        reverse = number % 2 == 1
        found = values.ledger()
        keep, write = keep_and_write(values)
        reset = arguments.get("reset")
        reset = reset.T if reset is not None and batch_first else reset
        for row in range(B):
            length = arguments.get("lengths", [T] * B)[row]
            own = None if reset is None else reset[:, row].numpy()
            steps = pieces(list(range(T))[:: -1 if reverse else 1], length, own, reverse)
            written, left = np.zeros((T, H)), np.ones(H)
            for t in reversed(steps):
                written[t] = left * write[t, row]
                left = left * keep[t, row]
            np.testing.assert_allclose(found.written[:length, row], written[:length], atol=2e-6)
            assert found.written[length:, row].isnan().all()
            share = left * initial[number, row].double().numpy() if length else np.zeros(H)
            np.testing.assert_allclose(found.initial[row], share, atol=2e-6)
        assert found.residual < 1e-6
        assert found.state == state


def test_the_total_of_a_ledger_is_the_final_state() -> None:
    layer = layer_of(cells.lstm)
    with gatewise.watch(layer) as seen:
        _, (_, c) = layer(sequence(), start(layer))
    found = gatewise.ledger(seen["l0"])
    torch.testing.assert_close(found.total, c[0].double(), rtol=0, atol=0)
    assert found.gate == "f"
    shares = found.shares()
    assert shares.shape == (T + 1,)
    assert float(shares.sum()) == pytest.approx(1)
    assert f"residual {found.residual:.1e}" in str(found)


def test_a_ledger_does_not_need_watched_gates() -> None:
    layer = layer_of(cells.gru)
    with gatewise.watch(layer, names=["r"], units=[0], steps=[1]) as seen:
        layer(sequence())
    assert seen["l0"].r.shape == (1, B, 1)
    assert seen["l0"].ledger().residual < 1e-6


def test_weights_that_change_afterwards_do_not_change_a_recording() -> None:
    layer = layer_of(cells.lstm)
    seen = seen_by(layer, sequence())
    before = seen["l0"].ledger()
    with torch.no_grad():
        layer.weight_ih_l0.zero_()
    assert torch.equal(seen["l0"].ledger().written, before.written)


def test_an_elman_network_keeps_nothing() -> None:
    seen = seen_by(layer_of(cells.rnn), sequence())
    with pytest.raises(ValueError, match=r"ledger: no state of cell 'rnn' is kept by a gate"):
        seen["l0"].ledger()
    with pytest.raises(ValueError, match=r"state must be one that a gate keeps \(c\)\. Got 'h'\."):
        seen_by(layer_of(cells.lstm), sequence())["l0"].ledger("h")


@pytest.mark.parametrize("keep", [0.5, 0.9, 0.99])
def test_a_constant_gate_has_the_half_life_of_the_formula(keep: float) -> None:
    gate = torch.full((80, 2, 3), keep, dtype=torch.float64)
    gate[50:, 1] = torch.nan
    expected = math.log(0.5) / math.log(keep)
    found = gatewise.half_life(gate)
    torch.testing.assert_close(found.expected, torch.full((3,), expected).double())
    torch.testing.assert_close(found.realised, torch.full((3,), expected).double())
    torch.testing.assert_close(gatewise.time_scale(gate).steps, found.expected / math.log(2))


def test_retention_is_the_mean_over_all_segments_of_data() -> None:
    rng = np.random.default_rng(0)
    keep = rng.uniform(0.7, 1, (12, 3, 2))
    lengths = [12, 5, 8]
    for row, length in enumerate(lengths):
        keep[length:, row] = np.nan
    found = gatewise.half_life(torch.from_numpy(keep))
    for lag in range(len(found.retention)):
        stretches = [
            keep[t + 1 : t + 1 + lag, row].prod(0)
            for row, length in enumerate(lengths)
            for t in range(length - lag)
        ]
        np.testing.assert_allclose(found.retention[lag], np.mean(stretches, 0), rtol=1e-12)


def test_a_gate_that_stays_open_never_forgets() -> None:
    found = gatewise.half_life(torch.ones(6, 1, 2))
    assert found.expected.isinf().all()
    assert found.realised.isinf().all()
    assert "2 of 2 units keep more than half throughout" in str(found)


@pytest.mark.parametrize("call", ["plain", "both"])
def test_half_lives_do_not_cross_resets_or_ends_of_rows(call: str) -> None:
    layer, arguments = layer_of(cells.lstm, bidirectional=True), calls()[call]
    values = seen_by(layer, sequence(), **arguments)["l0_reverse"]
    f, found = values.f.double().numpy(), values.half_life()
    reset, lengths = arguments.get("reset"), arguments.get("lengths", [T] * B)
    products = [
        f[t - 1, row]
        for row in range(B)
        for t in range(1, lengths[row])
        if reset is None or not reset[t, row]
    ]
    np.testing.assert_allclose(found.retention[1], np.mean(products, 0), rtol=1e-5)
    running = f[~np.isnan(f).any(-1)]
    np.testing.assert_allclose(found.expected, np.log(0.5) / np.log(running).mean(0), rtol=1e-5)


def test_saturation_counts_steps() -> None:
    layer, arguments = layer_of(cells.lstm), calls()["lengths"]
    with torch.no_grad():
        layer.weight_ih_l0.mul_(6)
    values = seen_by(layer, sequence(), **arguments)["l0"]
    found = gatewise.saturation(values)
    assert found.gates == ("i", "f", "o")
    for number, gate in enumerate("ifo"):
        flat = values[gate].flatten(0, 1)
        steps = flat[~flat.isnan().any(1)].numpy()
        assert len(steps) == sum(arguments["lengths"])
        np.testing.assert_allclose(found.left[number], (steps < 0.1).mean(0))
        np.testing.assert_allclose(found.right[number], (steps > 0.9).mean(0))
    assert found.left.max() > 0
    assert "f < 0.1: " in str(found)


def test_saturation_needs_a_gate() -> None:
    with pytest.raises(ValueError, match="saturation: no gate"):
        seen_by(layer_of(cells.rnn), sequence())["l0"].saturation()
