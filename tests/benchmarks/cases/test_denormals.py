"""The benchmark with fading states: they become denormal, but not zero."""

from __future__ import annotations

import torch

from benchmarks.cases import denormals
from benchmarks.layers import pair

SMALLEST_NORMAL = torch.finfo(torch.float32).smallest_normal


def test_states_and_derivatives_become_and_stay_denormal() -> None:
    _, layer, x = pair("lstm", denormals._SHAPE)
    denormals._fade(layer)
    x = denormals._only(0, x).requires_grad_()
    output, (_, c) = layer(x)
    assert output[0].abs().max() > 0.01
    assert 0 < c.detach().abs().max() < SMALLEST_NORMAL
    output.backward(denormals._only(-1, torch.ones_like(output)))
    assert x.grad is not None
    assert x.grad[-1].abs().max() > 1e-3
    assert x.grad[:100].abs().max() < SMALLEST_NORMAL
