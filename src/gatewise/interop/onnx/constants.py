"""The constants of a graph: those that the file holds, and what is computed from them."""

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
    """What a graph is read with: the operator set, a limit on what is computed, the constants around it.

    `weights` are the names of those that may be trained. `layers` are shared by the branches of a node If.
    """

    opset: int
    limit: Limit
    around: Mapping[str, Tensor] = {}
    weights: Collection[str] = ()
    layers: Layers | None = None


class Constants:
    """The constants of a graph.

    Attributes:
        values: all that are known, those of the graphs around it too.
        weights: the names of those that may be trained: floating-point numbers of one dimension or more that
            the file holds, also in another arrangement, and those that it holds as integers with a scale.
        own: the names of those that the graph holds or computes itself.
    """

    def __init__(self, graph: GraphProto, scope: Scope) -> None:
        held = {proto.name: tensor_of(proto) for proto in graph.initializer if proto.name}
        taken = {value.name for value in graph.input}
        self.scope = scope
        self.values = {name: value for name, value in scope.around.items() if name not in taken} | held
        self.weights = {*scope.weights, *(name for name, value in held.items() if _trains(value))}
        self.own = set(held)

    def inside(self, layers: Layers | None) -> Scope:
        """What a graph inside this one is read with."""
        return self.scope._replace(around=self.values, weights=self.weights, layers=layers)

    def compute(self, node: Node) -> bool:
        """Whether a node is a constant; it is then computed.

        Raises:
            OnnxError: it would need too much memory.
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


# Operators that give a weight, and those that give one if their first input is one.
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
