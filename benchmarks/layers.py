"""The layers that are compared, as functions without arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import gatewise.nn
from benchmarks.measure import Run
from gatewise.runtime import Stream

KINDS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
MODES = ["inference", "training"]


class Shape(NamedTuple):
    """Batch, steps, inputs, units."""

    B: int
    T: int
    I: int
    H: int

    def __str__(self) -> str:
        return f"B{self.B} T{self.T} I{self.I} H{self.H}"

    def operations(self, kind: str, mode: str) -> float:
        """Floating-point operations of the products; training counts three times."""
        forward = 2.0 * GATES[kind] * self.H * (self.H + self.I) * self.B * self.T
        return 3 * forward if mode == "training" else forward


SHAPES = [
    Shape(1, 200, 32, 64),
    Shape(1, 200, 128, 128),
    Shape(1, 100, 512, 512),
    Shape(16, 100, 64, 128),
    Shape(32, 100, 128, 256),
    Shape(64, 200, 64, 64),
    Shape(256, 365, 32, 64),
    Shape(64, 100, 512, 512),
    Shape(128, 50, 1024, 1024),
]


def pair(kind: str, shape: Shape) -> tuple[nn.Module, nn.Module, Tensor]:
    """Our layer and torch's with the same weights, and an input."""
    theirs = getattr(nn, KINDS[kind])(shape.I, shape.H)
    ours = getattr(gatewise.nn, KINDS[kind])(shape.I, shape.H)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs, torch.randn(shape.T, shape.B, shape.I)


def stream(layer: nn.Module, x: Tensor) -> Callable[[], NDArray[Any]]:
    """Inference by `gatewise.runtime`, without torch; weights are packed once, as in ONNX Runtime."""
    weights = {name: weight.detach().numpy() for name, weight in layer.named_parameters()}
    made = Stream(cast("gatewise.nn.Recurrent", layer).cell, weights, batch=x.size(1))
    return partial(made.run, x.numpy())


def prepared(mode: str, layer: nn.Module, x: Tensor, **arguments: Tensor) -> Run:
    """A call in "inference" or "training" mode; `arguments` go to the layer."""
    return (training if mode == "training" else inference)(layer, x, **arguments)


def inference(layer: nn.Module, x: Tensor, **arguments: Tensor) -> Run:
    """The forward pass without gradients."""

    def run() -> object:
        with torch.no_grad():
            return layer(x, **arguments)

    return run


def training(layer: nn.Module, x: Tensor, by_output: Tensor | None = None, **arguments: Tensor) -> Run:
    """Forward, backward, all gradients, the input's among them; `by_output` is random if left out."""
    x = x.clone().requires_grad_()
    if by_output is None:
        by_output = torch.randn(*x.shape[:2], layer.get_parameter("weight_hh_l0").size(1))

    def run() -> object:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        layer(x, **arguments)[0].backward(by_output)
        return x.grad

    return run
