"""A node of an ONNX graph, in Python types."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from gatewise.interop.onnx import OnnxError


@final
@dataclass(frozen=True)
class Node:
    """One node: its operator, its attributes, and the names of its inputs and outputs ("" for omitted ones).

    `opset` is the version of the operators that the file uses.
    """

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int

    @classmethod
    def of(cls, node: NodeProto, opset: int) -> Node:
        """Read one."""
        attributes = {attribute.name: _value(attribute) for attribute in node.attribute}
        return cls(operator_of(node), node.name, tuple(node.input), tuple(node.output), attributes, opset)

    def get(self, attribute: str, default: Any = None) -> Any:
        """An attribute, or `default` if it is missing."""
        return self.attributes.get(attribute, default)

    @property
    def graphs(self) -> list[GraphProto]:
        """The graphs inside the node."""
        return [value for value in self.attributes.values() if isinstance(value, GraphProto)]

    def without_graphs(self) -> Node:
        """The node without its graphs, for when these have been read."""
        kept = {name: value for name, value in self.attributes.items() if not isinstance(value, GraphProto)}
        return replace(self, attributes=kept)

    def knows(self, names: Collection[str]) -> None:
        """Refuse attributes other than `names`, which would be ignored silently."""
        unknown = sorted(set(self.attributes) - set(names))
        if unknown:
            raise OnnxError(f"{self} has the unsupported attribute {unknown[0]!r}")

    def named(self, found: Tensor | tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The outputs of the node by name. Outputs without a name are unused."""
        several = found if isinstance(found, tuple) else (found,)
        return {name: value for name, value in zip(self.outputs, several, strict=False) if name}

    def __str__(self) -> str:
        return f"node {self.name or ', '.join(self.outputs)!r} ({self.operator})"


def operator_of(node: NodeProto) -> str:
    """The name of the operator, with its domain if that is not the standard one."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _value(attribute: AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    return [_plain(item) for item in value] if isinstance(value, list) else _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return tensor_of(value) if isinstance(value, TensorProto) else value


def dtype_of(element: int) -> torch.dtype:
    """The torch type for an ONNX element type.

    Raises:
        OnnxError: torch has no such type.
    """
    if element not in _DTYPES:
        known = TensorProto.DataType.values()
        name = TensorProto.DataType.Name(element) if element in known else str(element)
        raise OnnxError(f"the element type {name} has no counterpart in torch")
    return _DTYPES[element]


_DTYPES: dict[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.BOOL: torch.bool,
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT8: torch.uint8,
    TensorProto.UINT16: torch.uint16,
    TensorProto.UINT32: torch.uint32,
    TensorProto.UINT64: torch.uint64,
    TensorProto.COMPLEX64: torch.complex64,
    TensorProto.COMPLEX128: torch.complex128,
}


def tensor_of(proto: TensorProto) -> Tensor:
    """A tensor of a file, copied.

    Raises:
        OnnxError: torch does not have its element type.
    """
    dtype = dtype_of(proto.data_type)
    array = numpy_helper.to_array(proto)
    if dtype is torch.bfloat16 and array.dtype.itemsize == 2:  # not a NumPy type
        return torch.from_numpy(array.view("int16").copy()).view(dtype)
    return torch.from_numpy(array.copy()).to(dtype)
