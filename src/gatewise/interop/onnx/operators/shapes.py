"""Operators that change shapes and move elements without computing."""

from __future__ import annotations

import torch
from torch import Tensor

from gatewise.interop.onnx.node import Node
from gatewise.interop.onnx.operators.common import Operator, integers, listed


def squeeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Remove axes of size 1: those in `axes`, or all."""
    found = listed(node, "axes", axes)
    return x.squeeze() if found is None else x.squeeze(tuple(found))


def unsqueeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Add axes of size 1, numbered as in the result."""
    found = listed(node, "axes", axes) or []
    rank = x.dim() + len(found)
    for axis in sorted(axis % rank for axis in found):
        x = x.unsqueeze(axis)
    return x


def transpose(node: Node, x: Tensor) -> Tensor:
    """Permute the axes, by default reversing them."""
    return x.permute(node.get("perm", tuple(reversed(range(x.dim())))))


def reshape(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    """Change the shape. A 0 keeps the size of that axis."""
    sizes = integers(shape)
    if not node.get("allowzero", 0):
        sizes = [size or x.size(k) for k, size in enumerate(sizes)]
    return x.reshape(sizes)


def flatten(node: Node, x: Tensor) -> Tensor:
    """Flatten to two axes: those before `axis`, and the rest."""
    axis = node.get("axis", 1)
    axis += x.dim() * (axis < 0)
    rows = x.shape[:axis].numel()
    return x.reshape(rows, x.shape[axis:].numel())


def concat(node: Node, *inputs: Tensor) -> Tensor:
    """Concatenate along an axis."""
    return torch.cat(inputs, node.get("axis"))


def split(node: Node, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    """Split along an axis, into given sizes or into equal parts, one per output."""
    axis = node.get("axis", 0)
    parts: int | list[int] | None = listed(node, "split", sizes)
    if parts is None:
        parts = -(-x.size(axis) // len(node.outputs))
    return tuple(torch.split(x, parts, axis))


def slices(node: Node, x: Tensor, *given: Tensor | None) -> Tensor:
    """Slice some axes, from starts to ends in steps."""
    names = ("starts", "ends", "axes", "steps")
    found = dict(zip(names, given, strict=False))
    begin, end, axes, steps = (listed(node, name, found.get(name)) for name in names)
    if begin is None or end is None:
        raise ValueError("starts and ends must be given")
    for k, axis in enumerate(axes or range(len(begin))):
        step = steps[k] if steps else 1
        places = range(x.size(axis))[begin[k] : _end(end[k], x.size(axis), step) : step]
        x = _at(x, axis % x.dim(), places)
    return x


def _at(x: Tensor, axis: int, places: range) -> Tensor:
    if places.step > 0:
        return x[(slice(None),) * axis + (slice(places.start, places.stop, places.step),)]
    return x.index_select(axis, torch.tensor(places, dtype=torch.long, device=x.device))


def _end(end: int, size: int, step: int) -> int | None:
    """The end of a slice for Python. An end before the first element is None there, a low number in ONNX."""
    return None if step < 0 and end < -size else end


def reverse_sequence(node: Node, x: Tensor, lengths: Tensor) -> Tensor:
    """Reverse the first ``lengths`` steps of each row."""
    rows, time = node.get("batch_axis", 1), node.get("time_axis", 0)
    x = x.transpose(0, time).transpose(1, rows) if (time, rows) != (1, 0) else x.transpose(0, 1)
    step = torch.arange(x.size(0), device=x.device).unsqueeze(1)
    places = torch.where(step < lengths, lengths - 1 - step, step)
    y = x[places, torch.arange(x.size(1), device=x.device)]
    return y.transpose(1, rows).transpose(0, time) if (time, rows) != (1, 0) else y.transpose(0, 1)


def depth_to_space(node: Node, x: Tensor) -> Tensor:
    """Move blocks of channels into space."""
    n, (B, C, H, W) = node.get("blocksize"), x.shape
    if node.get("mode", "DCR") == "DCR":
        parts = x.reshape(B, n, n, C // n**2, H, W).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(B, C // n**2, n, n, H, W).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(B, C // n**2, H * n, W * n)


def space_to_depth(node: Node, x: Tensor) -> Tensor:
    """Move blocks of space into channels."""
    n, (B, C, H, W) = node.get("blocksize"), x.shape
    parts = x.reshape(B, C, H // n, n, W // n, n)
    parts = parts.permute((0, 3, 5, 1, 2, 4) if node.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4))
    return parts.reshape(B, C * n**2, H // n, W // n)


def shape(node: Node, x: Tensor) -> Tensor:
    """The sizes of the axes, or of a range of them."""
    return torch.tensor(x.shape[slice(node.get("start", 0), node.get("end"))], dtype=torch.long)


def size(node: Node, x: Tensor) -> Tensor:
    """The number of elements."""
    return torch.tensor(x.numel())


def trilu(node: Node, x: Tensor, k: Tensor | None = None) -> Tensor:
    """The upper or lower triangle of matrices."""
    diagonal = 0 if k is None else integers(k)[0]
    return torch.triu(x, diagonal) if node.get("upper", 1) else torch.tril(x, diagonal)


SHAPES: dict[str, Operator] = {
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Reshape": reshape,
    "Flatten": flatten,
    "Concat": concat,
    "Split": split,
    "Slice": slices,
    "ReverseSequence": reverse_sequence,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Trilu": trilu,
    "Shape": shape,
    "Size": size,
}
