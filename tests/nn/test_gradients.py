"""Gradients of some leaves only, and gradients of gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gatewise import nn as ours
from gatewise.nn.kernels.scratch import nothing

T, B, I, H = 4, 2, 3, 3

KINDS = ["RNN", "LSTM", "GRU"]
LEAVES = ["input", "h_0", "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_hh_l0_reverse"]
USES: dict[str, Callable[[Any], Tensor]] = {
    "output": lambda results: results[0],
    "one-step": lambda results: results[0][1],
    "final-states": lambda results: results[1][0],
    "last-state": lambda results: results[1][-1],
}


def pair(kind: str, **options: Any) -> tuple[Any, Any]:
    made = []
    for package in (ours, torch.nn):
        torch.manual_seed(1)
        made.append(getattr(package, kind)(I, H, dtype=torch.float64, bidirectional=True, **options))
    return made[0], made[1]


def inputs(kind: str) -> tuple[Tensor, Any]:
    torch.manual_seed(2)
    x = torch.randn(T, B, I, dtype=torch.float64)
    h, c = torch.randn(2, 2, B, H, dtype=torch.float64)
    return x, (h, c) if kind == "LSTM" else h


def gradients(module: Any, kind: str, wanted: str, use: Callable[[Any], Tensor]) -> dict[str, Tensor | None]:
    """The gradient of every leaf, if only `wanted` requires one and only some results are used."""
    x, hx = inputs(kind)
    h = hx[0] if kind == "LSTM" else hx
    found = {"input": x, "h_0": h, **dict(module.named_parameters())}
    for name, leaf in found.items():
        leaf.requires_grad_(name == wanted)
    output, final = module(x, hx)
    used = use((output, final if kind == "LSTM" else (final,)))
    torch.autograd.backward(used, torch.arange(1.0, used.numel() + 1, dtype=used.dtype).view(used.shape))
    return {name: leaf.grad for name, leaf in found.items()}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("wanted", LEAVES)
@pytest.mark.parametrize("kind", KINDS)
def test_only_requested_leaves_get_a_gradient(kind: str, wanted: str, use: Callable[[Any], Tensor]) -> None:
    mine, theirs = pair(kind)
    found, expected = gradients(mine, kind, wanted, use), gradients(theirs, kind, wanted, use)
    assert [name for name, value in found.items() if value is not None] == [wanted]
    torch.testing.assert_close(found[wanted], expected[wanted], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("kind", KINDS)
def test_without_gradients_the_output_has_the_same_bits(kind: str, mode: Callable[[], Any]) -> None:
    layer, _ = pair(kind)
    x, hx = inputs(kind)
    with mode():
        output, _ = layer(x, hx)
    assert not output.requires_grad
    assert torch.equal(output, layer(x, hx)[0])


def test_a_tensor_cached_in_inference_mode_serves_calls_with_gradients() -> None:
    nothing.cache_clear()
    layer, _ = pair("RNN")
    with torch.inference_mode():
        layer(*inputs("RNN"))
    layer(*inputs("RNN"))[0].sum().backward()
    assert all(weight.grad is not None for weight in layer.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_in_evaluation_mode_has_gradients(kind: str) -> None:
    layer, _ = pair(kind)
    x, hx = inputs(kind)
    assert layer.eval()(x, hx)[0].requires_grad


def scalar_of(kind: str, module: Any) -> Callable[..., Tensor]:
    """`module` as a function of input, first state and every weight. It returns a vector of all results."""
    names = [name for name, _ in module.named_parameters()]

    def function(x: Tensor, h: Tensor, *weights: Tensor) -> Tensor:
        hx = (h, h.cos()) if kind == "LSTM" else h
        output, final = torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x, hx))
        return torch.cat(
            [output.flatten(), *(state.flatten() for state in (final if kind == "LSTM" else (final,)))]
        )

    return function


@pytest.mark.parametrize("kind", [*KINDS, "relu"])
def test_first_and_second_derivatives_against_finite_differences(kind: str) -> None:
    options = {"nonlinearity": "relu"} if kind == "relu" else {}
    layer = getattr(ours, "RNN" if kind == "relu" else kind)(2, 2, dtype=torch.float64, **options)
    x, h = torch.randn(3, 1, 2, dtype=torch.float64), torch.randn(1, 1, 2, dtype=torch.float64)
    leaves = [leaf.detach().clone().requires_grad_() for leaf in (x, h, *layer.parameters())]
    function = scalar_of(kind, layer)
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)
