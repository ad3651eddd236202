"""Gradient flow, against derivatives in NumPy, and against cells with a known derivative."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gatewise import Input, cell, cells, tanh
from gatewise.language import Cell
from gatewise.tasks.synthetic import TASKS, Sequences, Task
from gatewise.tasks.synthetic.flow import Flow, gradient_flow
from gatewise.tasks.synthetic.network import Network

Numbers = NDArray[np.float64]
H, ROWS = 5, 7
ADDING = TASKS["adding"]


def made(chosen: Cell, task: Task = ADDING, length: int = 30) -> tuple[Network, Sequences]:
    torch.manual_seed(0)
    rows = task.sequences(np.random.default_rng(0), ROWS, length)
    network = Network(chosen, rows.input.shape[-1], H, rows.target.shape[-1], {})
    return network, rows


def weights(network: Network) -> dict[str, Numbers]:
    return {name: value.detach().double().numpy() for name, value in network.named_parameters()}


def sigmoid(a: Numbers) -> Numbers:
    return np.asarray(1 / (1 + np.exp(-a)))


def last_by_state(w: dict[str, Numbers], h: Numbers, target: Numbers) -> Numbers:
    """The gradient ``[H]`` of the squared error of one row with respect to its last state."""
    error = w["readout.weight"] @ h + w["readout.bias"] - target
    return np.asarray(2 * error @ w["readout.weight"])


def rnn_norms(network: Network, rows: Sequences, b: int) -> list[float]:
    """The norms of the gradient with respect to h, from the last step of row b back.

    The gradient of the step before is g_{t-1} = R' (1 - h_t^2) g_t.
    """
    w, n = weights(network), int(rows.lengths[b])
    bias = w["layer.bias_ih_l0"] + w["layer.bias_hh_l0"]
    states, h = [], np.zeros(H)
    for x in rows.input[:n, b].astype(np.float64):
        h = np.tanh(w["layer.weight_ih_l0"] @ x + w["layer.weight_hh_l0"] @ h + bias)
        states.append(h)
    g = last_by_state(w, h, rows.target[n - 1, b].astype(np.float64))
    norms = []
    for h in reversed(states):
        norms.append(float(np.linalg.norm(g)))
        g = w["layer.weight_hh_l0"].T @ ((1 - h**2) * g)
    return norms


def lstm_norms(network: Network, rows: Sequences, b: int) -> tuple[list[float], list[float]]:
    """The norms of the gradients with respect to h and c, from the last step of row b back."""
    w, n = weights(network), int(rows.lengths[b])
    bias, R = w["layer.bias_ih_l0"] + w["layer.bias_hh_l0"], w["layer.weight_hh_l0"]
    steps, h, c = [], np.zeros(H), np.zeros(H)
    for x in rows.input[:n, b].astype(np.float64):
        i, f, g, o = np.split(w["layer.weight_ih_l0"] @ x + R @ h + bias, 4)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        before, c = c, f * c + i * g
        h = o * np.tanh(c)
        steps.append((i, f, g, o, before, c))
    by_h, by_c = last_by_state(w, h, rows.target[n - 1, b].astype(np.float64)), np.zeros(H)
    norms_h, norms_c = [], []
    for i, f, g, o, before, c in reversed(steps):
        norms_h.append(float(np.linalg.norm(by_h)))
        norms_c.append(float(np.linalg.norm(by_c)))
        through = by_c + by_h * o * (1 - np.tanh(c) ** 2)
        bars = [
            through * g * i * (1 - i),
            through * before * f * (1 - f),
            through * i * (1 - g**2),
            by_h * np.tanh(c) * o * (1 - o),
        ]
        by_h, by_c = R.T @ np.concatenate(bars), through * f
    return norms_h, norms_c


def medians(norms: list[list[float]]) -> Numbers:
    """The lower median over rows, as far back as the shortest row goes."""
    shortest = min(map(len, norms))
    return np.asarray(np.sort([row[:shortest] for row in norms], axis=0)[(len(norms) - 1) // 2])


def test_the_flow_of_an_rnn_is_the_product_of_its_jacobians() -> None:
    network, rows = made(cells.rnn)
    assert len(set(rows.lengths)) > 1
    flow = gradient_flow(network, ADDING, rows)
    wanted = medians([rnn_norms(network, rows, b) for b in range(ROWS)])
    assert len(wanted) == rows.lengths.min()
    assert np.allclose(flow.states["h"], wanted, rtol=1e-9, atol=0)
    assert np.array_equal(flow.whole, flow.states["h"])


def test_the_flow_of_an_lstm_follows_its_equations_for_each_state() -> None:
    network, rows = made(cells.lstm)
    flow = gradient_flow(network, ADDING, rows)
    found = [lstm_norms(network, rows, b) for b in range(ROWS)]
    assert np.allclose(flow.states["h"], medians([h for h, _ in found]), rtol=1e-9, atol=0)
    assert np.allclose(flow.states["c"], medians([c for _, c in found]), rtol=1e-9, atol=0)
    whole = [list(np.hypot(*pair)) for pair in found]
    assert np.allclose(flow.whole, medians(whole), rtol=1e-9, atol=0)
    assert flow.states["c"][0] == 0


@cell
def leaky(h, *, a: Input):  # type: ignore[no-untyped-def]
    h = 0.9 * h + tanh(a)
    return h


@pytest.mark.parametrize("name", ["adding", "temporal-order", "copy", "reber"])
def test_a_cell_that_keeps_nine_tenths_has_a_factor_of_nine_tenths(name: str) -> None:
    task = TASKS[name]
    network, rows = made(leaky, task)
    assert gradient_flow(network, task, rows).kept == pytest.approx(0.9, rel=1e-12)


def test_measuring_does_not_change_the_network() -> None:
    network, rows = made(cells.gru)
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    gradient_flow(network, ADDING, rows)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("whole", [[], [1.0], [0.0, 1.0], [1.0, 0.0]])
def test_the_factor_is_nan_where_it_is_not_defined(whole: list[float]) -> None:
    assert math.isnan(Flow({}, np.array(whole)).kept)
