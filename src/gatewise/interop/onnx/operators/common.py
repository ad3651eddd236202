"""What the tables of operators share: their type, and reading whole numbers and axes.

The tables follow the standard's operator sets 7 to 26 (https://onnx.ai/onnx/operators/), each operator in
every form that it has had in them: what became an input of a node may also be its attribute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

from gatewise.interop.onnx.node import Node

Function: TypeAlias = Callable[..., Tensor]
# Takes the node and its inputs, None for one that is left out. Gives a tensor, or a tuple of several.
Operator: TypeAlias = Callable[..., Any]


def of(function: Function) -> Operator:
    """A function of the inputs alone."""
    return lambda node, *inputs: function(*inputs)


def with_numbers(function: Function, **defaults: float) -> Operator:
    """A function of the inputs and of attributes, which have these defaults."""

    def operator(node: Node, *inputs: Tensor | None) -> Tensor:
        return function(*inputs, *(node.get(name, value) for name, value in defaults.items()))

    return operator


def integers(tensor: Tensor) -> list[int]:
    """The whole numbers in a tensor."""
    return [int(number) for number in tensor.reshape(-1).tolist()]


def listed(node: Node, name: str, given: Tensor | None) -> list[int] | None:
    """Whole numbers that are an input in new files and an attribute in old ones."""
    found: list[int] | None = node.get(name) if given is None else integers(given)
    return found


def per_axis(x: Tensor, vector: Tensor, axis: int) -> Tensor:
    """``vector [x.size(axis)]`` in a shape that broadcasts along an axis of `x`."""
    shape = [1] * x.dim()
    shape[axis] = -1
    return vector.reshape(shape)
