"""Shared by the tables of operators: their type, and helpers that read integers and axes.

The tables follow operator sets 7 to 26 of the standard (https://onnx.ai/onnx/operators/). An operator is
supported in all its versions: what is an input in a new version may be an attribute in an old one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

from gatewise.interop.onnx.node import Node

Function: TypeAlias = Callable[..., Tensor]
# Takes the node and its inputs (None for an omitted one). Returns a tensor, or a tuple of tensors.
Operator: TypeAlias = Callable[..., Any]


def of(function: Function) -> Operator:
    """An operator that ignores attributes: a function of the inputs."""
    return lambda node, *inputs: function(*inputs)


def with_numbers(function: Function, **defaults: float) -> Operator:
    """An operator whose attributes, named in `defaults`, are further arguments of the function."""

    def operator(node: Node, *inputs: Tensor | None) -> Tensor:
        return function(*inputs, *(node.get(name, value) for name, value in defaults.items()))

    return operator


def integers(tensor: Tensor) -> list[int]:
    """The integers in a tensor, as a list."""
    return [int(number) for number in tensor.reshape(-1).tolist()]


def listed(node: Node, name: str, given: Tensor | None) -> list[int] | None:
    """Integers that are an input in new opsets and an attribute in old ones."""
    found: list[int] | None = node.get(name) if given is None else integers(given)
    return found


def per_axis(x: Tensor, vector: Tensor, axis: int) -> Tensor:
    """``vector [x.size(axis)]`` in a shape that broadcasts along an axis of `x`."""
    shape = [1] * x.dim()
    shape[axis] = -1
    return vector.reshape(shape)
