"""Builds an ONNX graph, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TypeProto, ValueInfoProto, checker, helper, numpy_helper

from gatewise._version import __version__

# The oldest operator set that has all we need, and the file version that belongs to it.
OPSET, IR_VERSION = 17, 8

Array = NDArray[Any]


@final
class Builder:
    """Builds a graph. Every method that adds something returns the name of its value.

    Args:
        dtype: the element type, "float32" or "float64".
        outer: for the body of a node, the builder of the graph around it, which holds the constants of both.
    """

    def __init__(self, dtype: str, outer: Builder | None = None) -> None:
        self.dtype = dtype
        self._root: Builder = outer._root if outer else self
        self._numbers: count[int] = outer._numbers if outer else count()
        self._nodes: list[Any] = []
        self._inputs: list[ValueInfoProto] = []
        self._outputs: list[ValueInfoProto] = []
        self._constants: dict[str, Array] = {}

    def inside(self) -> Builder:
        """A builder for the body of a node in this graph. It can use the constants of this graph."""
        return Builder(self.dtype, self)

    def input(self, name: str, shape: Sequence[int | str], dtype: Any = None) -> str:
        """Add an input. A size given as a name is a free axis."""
        self._inputs.append(self._described(name, shape, dtype))
        return name

    def output(self, value: str, shape: Sequence[int | str], name: str = "") -> str:
        """Make a value an output of the graph."""
        name = self.node("Identity", value, name=name)
        self._outputs.append(self._described(name, shape, None))
        return name

    def node(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node with one output."""
        name = name or self.new(op)
        self._nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def nodes(self, op: str, outputs: int, *inputs: str, name: str = "", **attributes: Any) -> list[str]:
        """Add a node with several outputs. `name` is the name of the node."""
        names = [self.new(op) for _ in range(outputs)]
        self._nodes.append(helper.make_node(op, inputs, names, name, **attributes))
        return names

    def weight(self, name: str, array: Array) -> str:
        """Add a weight as a constant. The same name must stand for the same numbers."""
        self._root._constants[name] = np.ascontiguousarray(array, self.dtype)
        return name

    def number(self, value: float) -> str:
        """Add a constant number of shape ``[1]``."""
        return self.weight(f"number {value!r}", np.array([value]))

    def integers(self, *values: int) -> str:
        """Add constant integers of shape ``[N]``."""
        name = f"integers {values}"
        self._root._constants[name] = np.array(values, np.int64)
        return name

    def scalar(self, value: int) -> str:
        """Add a constant integer of shape ``[]``."""
        name = f"integer {value}"
        self._root._constants[name] = np.array(value, np.int64)
        return name

    def graph(self, name: str) -> GraphProto:
        """The finished graph."""
        constants = [numpy_helper.from_array(array, key) for key, array in self._constants.items()]
        return helper.make_graph(self._nodes, name, self._inputs, self._outputs, constants)

    def model(self, name: str, description: str) -> ModelProto:
        """The finished graph as a model, checked against the standard."""
        model = helper.make_model(
            self.graph(name),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="gatewise",
            producer_version=__version__,
            doc_string=description,
        )
        checker.check_model(model)
        return model

    def new(self, op: str) -> str:
        """A name that is not used yet."""
        return f"{op} {next(self._numbers)}"

    def _described(self, name: str, shape: Sequence[int | str], dtype: Any) -> ValueInfoProto:
        element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype or self.dtype))
        described: TypeProto = helper.make_tensor_type_proto(element, shape)
        return helper.make_value_info(name, described)
