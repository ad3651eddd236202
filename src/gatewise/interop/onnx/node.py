"""A node of an ONNX graph, read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, final

import torch
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from gatewise.interop.onnx import OnnxError


@final
@dataclass(frozen=True)
class Node:
    """One node: its operator, the names of its values (empty where one is left out) and its attributes.

    `opset` is the version of the standard that the file was written for.
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
        """An attribute, or what stands for it if it is left out."""
        return self.attributes.get(attribute, default)

    def knows(self, names: Collection[str]) -> None:
        """Refuse attributes beside these: what they ask for would be left undone in silence."""
        unknown = sorted(set(self.attributes) - set(names))
        if unknown:
            raise OnnxError(f"{self} has the attribute {unknown[0]!r}, which is not known")

    def __str__(self) -> str:
        return f"node {self.name or ', '.join(self.outputs)!r} ({self.operator})"


def operator_of(node: NodeProto) -> str:
    """The operator, with its domain if that is not the standard's own."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _value(attribute: AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    return [_plain(item) for item in value] if isinstance(value, list) else _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return tensor_of(value) if isinstance(value, TensorProto) else value


def tensor_of(proto: TensorProto) -> Tensor:
    """The numbers in a file, as a tensor of their own.

    Raises:
        OnnxError: an element type that torch has not.
    """
    array = numpy_helper.to_array(proto)
    try:
        return torch.from_numpy(array.copy())
    except TypeError as error:
        raise OnnxError(f"constant {proto.name!r} is of type {array.dtype}, which torch has not") from error
