"""Contextual decomposition, against the equations of Murdoch, Liu & Yu 2018, and its own identities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import gatewise
from gatewise import Cell, cell, cells, maximum, minimum, relu, softplus, tanh, where
from gatewise import nn as ours
from tests.insight.networks import ALL, CALLS, LENGTHS, B, H, I, T, calls, layer_of, name, sequence, start

Array = NDArray[np.float64]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def three(f: Any, beta: Array, gamma: Array, bias: Array) -> tuple[Array, Array, Array]:
    """The linearisation with the bias first, equations 13 to 15 of the paper."""
    one = 0.5 * (f(beta + bias) - f(bias) + f(beta + gamma + bias) - f(gamma + bias))
    two = 0.5 * (f(gamma + bias) - f(bias) + f(beta + gamma + bias) - f(beta + bias))
    return one, two, f(bias)


def lstm_of_the_paper(layer: Any, x: Array, phrase: range) -> tuple[Array, Array]:
    """Both parts of h at every step, ``[T, B, H]``, by the equations of the paper."""
    W, R = layer.weight_ih_l0.detach().double().numpy(), layer.weight_hh_l0.detach().double().numpy()
    biases = np.split((layer.bias_ih_l0 + layer.bias_hh_l0).detach().double().numpy(), 4)
    beta_h = gamma_h = beta_c = gamma_c = np.zeros((B, H))
    betas, gammas = [], []
    for t in range(T):
        inside = t in phrase
        own, other = x[t] @ W.T, np.zeros((B, 4 * H))
        own, other = (own, other) if inside else (other, own)
        beta = np.split(beta_h @ R.T + own, 4, -1)
        gamma = np.split(gamma_h @ R.T + other, 4, -1)
        bi, gi, ki = three(sigmoid, beta[0], gamma[0], biases[0])
        bf, gf, kf = three(sigmoid, beta[1], gamma[1], biases[1])
        bg, gg, kg = three(np.tanh, beta[2], gamma[2], biases[2])
        o = sigmoid(beta[3] + gamma[3] + biases[3])
        new_beta = (bf + kf) * beta_c + bi * (bg + kg) + ki * bg
        new_gamma = (bf + gf + kf) * gamma_c + gf * beta_c + gi * (bg + gg + kg) + (bi + ki) * gg
        if inside:
            new_beta = new_beta + ki * kg
        else:
            new_gamma = new_gamma + ki * kg
        beta_c, gamma_c = new_beta, new_gamma
        tb, tg, _ = three(np.tanh, beta_c, gamma_c, np.zeros(()))
        beta_h, gamma_h = o * tb, o * tg
        betas.append(beta_h)
        gammas.append(gamma_h)
    return np.stack(betas), np.stack(gammas)


@pytest.mark.parametrize("phrase", [slice(2, 5), slice(0, 1), slice(T - 1, T)])
def test_the_decomposition_of_an_lstm_is_that_of_the_paper(phrase: slice) -> None:
    layer, x = layer_of(cells.lstm), sequence()
    found = gatewise.decompose(layer, x, phrase)
    beta, gamma = lstm_of_the_paper(layer, x.double().numpy(), range(*phrase.indices(T)))
    np.testing.assert_allclose(found.beta, beta, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.gamma, gamma, rtol=1e-9, atol=1e-12)


def gru_by_the_same_rules(layer: Any, x: Array, phrase: range) -> Array:
    """The part of h that the phrase causes, at every step."""
    W, R = layer.weight_ih_l0.detach().double().numpy(), layer.weight_hh_l0.detach().double().numpy()
    b_x, b_h = (np.split(b.detach().double().numpy(), 3) for b in (layer.bias_ih_l0, layer.bias_hh_l0))
    beta_h = gamma_h = np.zeros((B, H))
    betas = []
    for t in range(T):
        inside = t in phrase
        own, other = x[t] @ W.T, np.zeros((B, 3 * H))
        x_beta, x_gamma = (np.split(part, 3, -1) for part in ((own, other) if inside else (other, own)))
        r_beta, r_gamma = np.split(beta_h @ R.T, 3, -1), np.split(gamma_h @ R.T, 3, -1)
        br, gr, kr = three(sigmoid, x_beta[0] + r_beta[0], x_gamma[0] + r_gamma[0], b_x[0] + b_h[0])
        bz, gz, kz = three(sigmoid, x_beta[1] + r_beta[1], x_gamma[1] + r_gamma[1], b_x[1] + b_h[1])
        reset_beta = br * (r_beta[2] + b_h[2]) + kr * r_beta[2]
        reset_gamma = gr * (r_beta[2] + r_gamma[2] + b_h[2]) + (br + kr) * r_gamma[2]
        bn, gn, kn = three(np.tanh, x_beta[2] + reset_beta, x_gamma[2] + reset_gamma, b_x[2] + kr * b_h[2])
        new_beta = -bz * (bn + kn) + (1 - kz) * bn + bz * beta_h + kz * beta_h
        new_gamma = -gz * (bn + gn + kn) + (1 - bz - kz) * gn + gz * beta_h + (bz + gz + kz) * gamma_h
        constant = (1 - kz) * kn
        beta_h, gamma_h = (new_beta + constant, new_gamma) if inside else (new_beta, new_gamma + constant)
        betas.append(beta_h)
    return np.stack(betas)


def test_the_decomposition_of_a_gru_follows_the_same_rules() -> None:
    layer, x = layer_of(cells.gru), sequence()
    found = gatewise.decompose(layer, x, slice(1, 6))
    expected = gru_by_the_same_rules(layer, x.double().numpy(), range(1, 6))
    np.testing.assert_allclose(found.beta, expected, rtol=1e-9, atol=1e-12)
    assert found.residual < 1e-5


@cell
def choosing(h, *, a, b):  # type: ignore[no-untyped-def]
    """Operations that no classic cell has."""
    h = where(a > 0, softplus(a) * tanh(h), relu(b) / (1 + abs(a))) + maximum(a, b) * 0.1 - minimum(a, 1.0)
    return h


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("cell", [*ALL, choosing], ids=name)
def test_the_parts_sum_to_the_output(cell: Cell, call: str, batch_first: bool) -> None:
    layer = layer_of(cell, num_layers=2, bidirectional=True, batch_first=batch_first, dtype=torch.float64)
    arguments = calls(batch_first)[call]
    x, hx = sequence(batch_first, torch.float64), start(layer)
    found = gatewise.decompose(layer, x, slice(2, 5), hx, **arguments)
    output = layer(x, hx, **arguments)[0]
    output = output.transpose(0, 1) if batch_first else output
    torch.testing.assert_close(found.beta + found.gamma, output, rtol=1e-10, atol=1e-10)
    assert found.residual < 1e-10


def test_a_phrase_of_all_steps_has_everything_and_an_empty_one_nothing() -> None:
    layer, x = layer_of(cells.lstm, num_layers=2), sequence()
    assert (gatewise.decompose(layer, x, slice(0, T)).gamma == 0).all()
    assert (gatewise.decompose(layer, x, slice(0, 0)).beta == 0).all()
    found = gatewise.decompose(layer, x, slice(4, 6))
    assert (found.beta[:4] == 0).all()
    assert (found.beta[4:] != 0).all()


def test_through_a_head_the_parts_sum_to_its_logits() -> None:
    layer, head = layer_of(cells.gru, num_layers=2), torch.nn.Linear(H, 2)
    x = sequence()
    found = gatewise.decompose(layer, x, slice(3, 5), lengths=LENGTHS)
    beta, gamma = found.through(head, step=2)
    expected = head(layer(x, lengths=LENGTHS)[0][2]) - head.bias
    torch.testing.assert_close((beta + gamma).float(), expected, rtol=1e-4, atol=1e-5)
    assert "Steps 3 to 4 have" in str(found)


def test_what_decompose_refuses() -> None:
    with pytest.raises(TypeError, match=r"a gatewise layer over sequences\. Got LSTM\."):
        gatewise.decompose(torch.nn.LSTM(I, H), sequence(), slice(1))
    with pytest.raises(ValueError, match=r"drops some of its outputs\. Call layer\.eval\(\) first\."):
        gatewise.decompose(ours.LSTM(I, H, 2, dropout=0.5), sequence(), slice(1))
