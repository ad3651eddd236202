"""Operators on sequences of tensors, which are lists."""

from __future__ import annotations

import torch
from torch import Tensor

from gatewise.interop.onnx.node import Node
from gatewise.interop.onnx.operators.common import Operator, integers, of


def _insert(values: list[Tensor], value: Tensor, place: Tensor | None = None) -> list[Tensor]:
    at = len(values) if place is None else _place(values, place, len(values) + 1)
    return [*values[:at], value, *values[at:]]


def _erase(values: list[Tensor], place: Tensor | None = None) -> list[Tensor]:
    at = len(values) - 1 if place is None else _place(values, place, len(values))
    return [*values[:at], *values[at + 1 :]]


def _place(values: list[Tensor], place: Tensor, count: int) -> int:
    """A position counted from the start of `count` places."""
    (at,) = integers(place)
    at += len(values) * (at < 0)
    if not 0 <= at < count:
        raise IndexError(f"place {integers(place)[0]} of a sequence of {len(values)}")
    return at


def _joined(node: Node, values: list[Tensor]) -> Tensor:
    axis = node.get("axis")
    return torch.stack(values, axis) if node.get("new_axis", 0) else torch.cat(values, axis)


def _split(node: Node, x: Tensor, sizes: Tensor | None = None) -> list[Tensor]:
    axis = node.get("axis", 0)
    if sizes is None and not node.get("keepdims", 1):
        return list(x.unbind(axis))
    parts = [1] if sizes is None else integers(sizes)
    return list(torch.split(x, parts if sizes is not None and sizes.dim() else parts[0], axis))


SEQUENCES: dict[str, Operator] = {
    "SequenceEmpty": lambda node: [],
    "SequenceConstruct": lambda node, *values: list(values),
    "SequenceInsert": lambda node, *inputs: _insert(*inputs),
    "SequenceErase": lambda node, *inputs: _erase(*inputs),
    "SequenceAt": of(lambda values, place: values[_place(values, place, len(values))]),
    "SequenceLength": of(lambda values: torch.tensor(len(values))),
    "ConcatFromSequence": _joined,
    "SplitToSequence": _split,
}
