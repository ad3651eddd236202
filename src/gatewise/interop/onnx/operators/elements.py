"""Elementwise operators: arithmetic, comparisons, logic and bits."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from gatewise.interop.onnx.node import Node, dtype_of
from gatewise.interop.onnx.operators.common import Function, Operator, of


def _cast(node: Node, x: Tensor) -> Tensor:
    return x.to(dtype_of(node.get("to")))


def _divided(a: Tensor, b: Tensor) -> Tensor:
    return torch.div(a, b, rounding_mode=None if a.is_floating_point() else "trunc")


def _remainder(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.fmod(a, b) if node.get("fmod", 0) else torch.remainder(a, b)


def _clipped(node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    bounds = node.get("min") if low is None else low, node.get("max") if high is None else high
    return x if bounds == (None, None) else torch.clamp(x, *bounds)


def _shifted(node: Node, x: Tensor, by: Tensor) -> Tensor:
    return (
        torch.bitwise_left_shift(x, by)
        if node.get("direction") == "LEFT"
        else torch.bitwise_right_shift(x, by)
    )


def _infinite(node: Node, x: Tensor) -> Tensor:
    positive, negative = (bool(node.get(f"detect_{sign}", 1)) for sign in ("positive", "negative"))
    return (x.isposinf() & positive) | (x.isneginf() & negative)


def _all(function: Function) -> Operator:
    """An operator that applies a function of two arguments to any number of inputs."""
    return lambda node, *inputs: reduce(function, inputs)


def _mean(node: Node, *inputs: Tensor) -> Tensor:
    return reduce(torch.add, inputs) / len(inputs)


ELEMENTS: dict[str, Operator] = {
    "Add": of(torch.add),
    "Sub": of(torch.sub),
    "Mul": of(torch.mul),
    "Div": of(_divided),
    "Mod": _remainder,
    "Pow": of(lambda x, y: torch.pow(x, y).to(x.dtype)),
    "Neg": of(torch.neg),
    "Abs": of(torch.abs),
    "Sign": of(torch.sign),
    "Reciprocal": of(torch.reciprocal),
    "Sqrt": of(torch.sqrt),
    "Exp": of(torch.exp),
    "Log": of(torch.log),
    "Erf": of(torch.erf),
    "Floor": of(torch.floor),
    "Ceil": of(torch.ceil),
    "Round": of(torch.round),  # halves to even, as in ONNX
    "Clip": _clipped,
    "Sum": _all(torch.add),
    "Mean": _mean,
    "Max": _all(torch.maximum),
    "Min": _all(torch.minimum),
    "Sin": of(torch.sin),
    "Cos": of(torch.cos),
    "Tan": of(torch.tan),
    "Asin": of(torch.asin),
    "Acos": of(torch.acos),
    "Atan": of(torch.atan),
    "Sinh": of(torch.sinh),
    "Cosh": of(torch.cosh),
    "Asinh": of(torch.asinh),
    "Acosh": of(torch.acosh),
    "Atanh": of(torch.atanh),
    "Equal": of(torch.eq),
    "Less": of(torch.lt),
    "LessOrEqual": of(torch.le),
    "Greater": of(torch.gt),
    "GreaterOrEqual": of(torch.ge),
    "Where": of(torch.where),
    "IsNaN": of(torch.isnan),
    "IsInf": _infinite,
    "Not": of(torch.logical_not),
    "And": of(torch.logical_and),
    "Or": of(torch.logical_or),
    "Xor": of(torch.logical_xor),
    "BitwiseNot": of(torch.bitwise_not),
    "BitwiseAnd": of(torch.bitwise_and),
    "BitwiseOr": of(torch.bitwise_or),
    "BitwiseXor": of(torch.bitwise_xor),
    "BitShift": _shifted,
    "Cast": _cast,
    "CastLike": of(lambda x, like: x.to(like.dtype)),
    "Identity": of(lambda x: x),
}
