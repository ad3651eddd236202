"""Activation functions."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from gatewise.interop.onnx.node import Node
from gatewise.interop.onnx.operators.common import Function, Operator, of, with_numbers
from gatewise.interop.onnx.operators.shapes import flatten


def _along(function: Function, node: Node, x: Tensor) -> Tensor:
    if node.opset >= 13:
        return function(x, node.get("axis", -1))
    # Before opset 13 the function went over all axes from `axis` on.
    rows = flatten(Node(node.operator, "", (), (), {"axis": node.get("axis", 1)}, node.opset), x)
    return function(rows, 1).reshape(x.shape)


def _hardmax(x: Tensor, axis: int) -> Tensor:
    return torch.zeros_like(x).scatter(axis, x.argmax(axis, keepdim=True), 1)


def _gelu(node: Node, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=node.get("approximate", "none"))


def _fast_gelu(node: Node, x: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.gelu(x if bias is None else x + bias, approximate="tanh")


ACTIVATIONS: dict[str, Operator] = {
    "Relu": of(torch.relu),
    "Sigmoid": of(torch.sigmoid),
    "Tanh": of(torch.tanh),
    "Softplus": of(lambda x: -F.logsigmoid(-x)),
    "Softsign": of(F.softsign),
    "Mish": of(F.mish),
    "HardSwish": of(lambda x: x * torch.clamp(x / 6 + 0.5, 0, 1)),
    "HardSigmoid": with_numbers(lambda x, a, b: torch.clamp(x * a + b, 0, 1), alpha=0.2, beta=0.5),
    "LeakyRelu": with_numbers(F.leaky_relu, alpha=0.01),
    "ThresholdedRelu": with_numbers(lambda x, a: torch.where(x > a, x, 0), alpha=1.0),
    "PRelu": of(lambda x, slope: torch.where(x < 0, x * slope, x)),
    "Elu": with_numbers(F.elu, alpha=1.0),
    "Celu": with_numbers(F.celu, alpha=1.0),
    "Selu": with_numbers(
        lambda x, alpha, gamma: gamma * F.elu(x, alpha),
        alpha=1.67326319217681884765625,
        gamma=1.05070102214813232421875,
    ),
    "Shrink": with_numbers(
        lambda x, bias, bound: torch.where(x < -bound, x + bias, torch.where(x > bound, x - bias, 0)),
        bias=0.0,
        lambd=0.5,
    ),
    "Swish": with_numbers(lambda x, alpha: x * torch.sigmoid(alpha * x), alpha=1.0),
    "Gelu": _gelu,
    "Softmax": partial(_along, F.softmax),
    "LogSoftmax": partial(_along, F.log_softmax),
    "Hardmax": partial(_along, _hardmax),
    "com.microsoft.Gelu": of(F.gelu),
    "com.microsoft.BiasGelu": of(lambda x, bias: F.gelu(x + bias)),
    "com.microsoft.FastGelu": _fast_gelu,
    "com.microsoft.QuickGelu": with_numbers(lambda x, alpha: x * torch.sigmoid(alpha * x), alpha=1.702),
}
