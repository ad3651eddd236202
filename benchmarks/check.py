"""A check before any timing: gatewise computes the same numbers as torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from benchmarks import onnx_layer
from benchmarks.layers import KINDS, Shape, inference, pair, stream

# Ragged; enough work for threads that divide the rows; and for threads that divide the units.
SHAPES = (Shape(5, 9, 7, 37), Shape(33, 17, 24, 61), Shape(1, 20, 65, 250))
_CLOSE = 1e-5  # relative to the largest value: several times the rounding error of these sums


class WrongResultError(Exception):
    """Raised if a contender does not compute the same as torch."""


def check(kind: str, shapes: Sequence[Shape] = SHAPES) -> None:
    """Compare outputs, final states and all gradients with torch's, in float32.

    Raises:
        WrongResultError: one of them differs.
    """
    for shape in shapes:
        ours, theirs, x = pair(kind, shape)
        expected = results(theirs, x)
        agree(f"our {KINDS[kind]} {shape}", results(ours, x), expected)
        streamed = {"output": torch.from_numpy(stream(ours, x)())}
        agree(f"our stream of {KINDS[kind]} {shape}", streamed, expected)
        if not onnx_layer.missing():
            (output,) = onnx_layer.onnx_layer(kind, theirs, x, threads=1)()
            found = {"output": torch.from_numpy(output).squeeze(1)}
            agree(f"{onnx_layer.NAME}'s {KINDS[kind]} {shape}", found, expected)


def results(layer: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Everything a layer computes, by name."""
    x = x.clone().requires_grad_()
    output, finals = layer(x)
    finals = finals if isinstance(finals, tuple) else (finals,)
    values = [output, *finals]
    leaves = {"the input": x, **dict(layer.named_parameters())}
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(value.shape, generator=generator) for value in values]
    gradients = torch.autograd.grad(values, list(leaves.values()), weights)
    return {
        "output": output,
        "output without gradients": inference(layer, x)()[0],  # type: ignore[index]
        **{f"final state {k}": state for k, state in enumerate(finals)},
        **{f"gradient of {name}": g for name, g in zip(leaves, gradients, strict=True)},
    }


def agree(who: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise `WrongResultError` in one sentence unless everything found is what is expected."""
    for name, value in found.items():
        apart, bound = (value - expected[name]).abs().max(), _CLOSE * expected[name].abs().max()
        if not apart <= bound:  # NaN is not
            raise WrongResultError(
                f"Nothing was timed: {who}: the {name} must be torch's within {bound:.1g}. "
                f"Got a difference of {apart:.1g}."
            )
