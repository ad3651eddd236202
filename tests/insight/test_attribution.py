"""Attributions, against Captum on the same model, and against their mathematical properties."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from captum import attr
from torch import Tensor

import gatewise
from gatewise import cells
from tests.insight.networks import LENGTHS, B, H, I, T, layer_of, sequence, start

METHODS = ["saliency", "input_x_gradient", "integrated_gradients", "occlusion"]


def scored(batch_first: bool, **call: Any) -> Callable[[Tensor], Tensor]:
    layer = layer_of(cells.lstm, batch_first=batch_first).eval()

    def scores(x: Tensor) -> Tensor:
        return torch.as_tensor(layer(x, **call)[1][0][0].sum(1))

    return scores


def theirs(method: str, function: Callable[[Tensor], Tensor], x: Tensor, baseline: Tensor) -> Tensor:
    """The attribution of Captum, for batch-first input."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Captum sets requires_grad and warns about it
        if method == "saliency":
            found = attr.Saliency(function).attribute(x, abs=False)
        elif method == "input_x_gradient":
            found = attr.InputXGradient(function).attribute(x)
        elif method == "integrated_gradients":
            found = attr.IntegratedGradients(function).attribute(x, baseline, n_steps=50)
        else:
            found = attr.Occlusion(function).attribute(x, (2, 1), (2, 1), baseline)
    return torch.as_tensor(found).detach()


@pytest.mark.parametrize("method", METHODS)
def test_attributions_are_those_of_captum(method: str) -> None:
    function, x = scored(batch_first=True), sequence(batch_first=True)
    baseline = x.mean((0, 1)) if method in ("integrated_gradients", "occlusion") else torch.zeros(I)
    wide = baseline.expand_as(x).contiguous()
    found = gatewise.attribute(function, x, method=method, baseline=baseline, batch_first=True, window=(2, 1))
    torch.testing.assert_close(found.values, theirs(method, function, x, wide), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_time_first_gives_the_same_transposed(method: str) -> None:
    found = gatewise.attribute(scored(False), sequence(), method=method)
    turned = gatewise.attribute(scored(True), sequence().transpose(0, 1), method=method, batch_first=True)
    torch.testing.assert_close(found.values, turned.values.transpose(0, 1))
    torch.testing.assert_close(found.by_step(), turned.by_step())
    torch.testing.assert_close(found.scores, turned.scores)


def test_integrated_gradients_are_complete_for_states_too() -> None:
    layer = layer_of(cells.lstm, dtype=torch.float64)
    h, c = start(layer)

    def scores(x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        return torch.as_tensor(layer(x, (h, c))[0][-1].square().sum(1))

    x = sequence(dtype=torch.float64)
    found = gatewise.attribute(scores, x, h, c)
    sums = found.values.sum((0, 2)) + sum(state.sum((0, 2)) for state in found.states)
    base = scores(torch.zeros_like(x), torch.zeros_like(h), torch.zeros_like(c))
    torch.testing.assert_close(sums, scores(x, h, c) - base, rtol=1e-9, atol=1e-10)
    assert found.residual < 1e-9
    assert [state.shape for state in found.states] == [h.shape, c.shape]
    coarse = gatewise.attribute(scores, x, h, c, points=1)
    assert coarse.residual > 1e-3


def test_values_after_the_end_of_a_row_have_no_share() -> None:
    x = sequence()
    function = scored(False, lengths=LENGTHS)
    for method in METHODS:
        found = gatewise.attribute(function, x, method=method, lengths=LENGTHS, baseline=1.0)
        for row, length in enumerate(LENGTHS):
            assert found.values[length:, row].isnan().all()
            if length:
                part = x[:length, row : row + 1]
                alone = gatewise.attribute(scored(False), part, method=method, baseline=1.0)
                torch.testing.assert_close(
                    found.values[:length, row], alone.values[:, 0], rtol=1e-4, atol=1e-6
                )


def test_linear_scores_are_attributed_exactly() -> None:
    weight = torch.randn(T, 1, I)
    x = sequence()
    for method in METHODS[1:]:
        found = gatewise.attribute(lambda x: (weight * x).sum((0, 2)), x, method=method, window=(1, 1))
        torch.testing.assert_close(found.values, weight * x, rtol=1e-4, atol=1e-5)
        assert found.residual < 1e-5
    slopes = gatewise.attribute(lambda x: (weight * x).sum((0, 2)), x, method="saliency")
    torch.testing.assert_close(slopes.values, weight.expand_as(x))
    assert np.isnan(slopes.residual)


def test_a_state_is_occluded_as_a_whole() -> None:
    x, h = sequence(), torch.randn(1, B, H)
    found = gatewise.attribute(lambda x, h: x.sum((0, 2)) + 2 * h.sum((0, 2)), x, h, method="occlusion")
    torch.testing.assert_close(found.states[0], (2 * h.sum((0, 2)))[None, :, None].expand_as(h))
    assert found.residual < 1e-5


def test_the_result_prints_as_a_sentence() -> None:
    x = torch.zeros(T, B, I)
    x[3, :, 1] = 1.0
    found = gatewise.attribute(lambda x: x.sum((0, 2)), x)
    assert str(found).startswith(
        "By integrated_gradients, step 3 matters most, with 100% of all, and feature 1, with 100%; "
        "the shares miss the scores by "
    )


def test_what_attribute_refuses() -> None:
    with pytest.raises(ValueError, match=r"method must be one of saliency, .*\. Got 'magic'\."):
        gatewise.attribute(lambda x: x.sum((0, 2)), sequence(), method="magic")
    with pytest.raises(ValueError, match=r"one number for each row, \[5\]\. Got \[\]\."):
        gatewise.attribute(lambda x: x.sum(), sequence())
