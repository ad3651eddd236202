"""The constants of a graph: those in the file, and what can be computed from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch
from onnx import GraphProto
from torch import Tensor

from gatewise.interop.onnx.limits import Limit
from gatewise.interop.onnx.node import Node, tensor_of
from gatewise.interop.onnx.operators import OPERATORS
from gatewise.interop.onnx.recurrent import Layers
from gatewise.interop.onnx.survey import is_constant


class Scope(NamedTuple):
    """The context for reading a graph.

    Attributes:
        opset: the version of the operators.
        limit: the limit on the cost of computing constants.
        values: the constants of the graphs around this one.
        weights: the names of those that are trainable.
        layers: recurrent layers that the branches of an If share.
    """

    opset: int
    limit: Limit
    around: Mapping[str, Tensor] = {}
    weights: Collection[str] = ()
    layers: Layers | None = None


class Constants:
    """The constants of a graph.

    Attributes:
        values: all known constants, including those of the graphs around this one.
        weights: the names of the trainable ones: floating-point constants of the file with at least one
            dimension, also reshaped or transposed, and integer constants with a scale.
        own: the names of the constants of this graph itself.
    """

    def __init__(self, graph: GraphProto, scope: Scope) -> None:
        held = {proto.name: tensor_of(proto) for proto in graph.initializer if proto.name}
        taken = {value.name for value in graph.input}
        self.scope = scope
        self.values = {name: value for name, value in scope.around.items() if name not in taken} | held
        self.weights = {*scope.weights, *(name for name, value in held.items() if _trains(value))}
        self.own = set(held)

    def inside(self, layers: Layers | None) -> Scope:
        """The context for reading a graph inside this one."""
        return self.scope._replace(around=self.values, weights=self.weights, layers=layers)

    def compute(self, node: Node) -> bool:
        """Compute a node if all its inputs are constants. Returns whether it was computed.

        Raises:
            OnnxError: the result would need too much memory.
        """
        if not is_constant(node, self.values):
            return False
        with torch.no_grad(), self.scope.limit:
            found = OPERATORS[node.operator](node, *map(self.values.get, node.inputs))
        named = node.named(found)
        self.values |= named
        self.own.update(named)
        if node.operator in _HOLDING or (node.operator in _REARRANGING and node.inputs[0] in self.weights):
            self.weights.update(name for name, value in named.items() if _trains(value))
        return True


# Operators whose result is trainable, and those whose result is trainable if their first input is.
_HOLDING = frozenset({"Constant", "DequantizeLinear", "com.microsoft.DequantizeLinear"})
_REARRANGING = frozenset(
    {
        "Cast",
        "Concat",
        "Flatten",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)


def _trains(value: Tensor) -> bool:
    return value.is_floating_point() and value.dim() > 0
