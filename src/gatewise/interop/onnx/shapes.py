"""The operators of ONNX that move numbers about and compute nothing, in torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gatewise.interop.onnx.node import Node


def integers(tensor: Tensor) -> list[int]:
    """The whole numbers in a tensor."""
    return [int(number) for number in tensor.reshape(-1).tolist()]


def axes_of(node: Node, given: Tensor | None) -> list[int] | None:
    """The axes: an input in new files, an attribute in old ones."""
    axes: list[int] | None = node.get("axes") if given is None else integers(given)
    return axes


def squeeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Axes of size 1 away; all of them if none are named."""
    found = axes_of(node, axes)
    return x.squeeze() if found is None else x.squeeze(tuple(found))


def unsqueeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """New axes of size 1, numbered as in the result."""
    found = axes_of(node, axes) or []
    rank = x.dim() + len(found)
    for axis in sorted(axis % rank for axis in found):
        x = x.unsqueeze(axis)
    return x


def transpose(node: Node, x: Tensor) -> Tensor:
    """Axes in another order; turned round if none is given."""
    return x.permute(node.get("perm", tuple(reversed(range(x.dim())))))


def reshape(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    """Another shape; a 0 is the size that was there."""
    sizes = integers(shape)
    if not node.get("allowzero", 0):
        sizes = [size or x.size(k) for k, size in enumerate(sizes)]
    return x.reshape(sizes)


def flatten(node: Node, x: Tensor) -> Tensor:
    """Two axes: those before `axis`, and the rest."""
    axis = node.get("axis", 1)
    axis += x.dim() * (axis < 0)
    rows = x.shape[:axis].numel()
    return x.reshape(rows, x.shape[axis:].numel())


def concat(node: Node, *inputs: Tensor) -> Tensor:
    """One after another along an axis."""
    return torch.cat(inputs, node.get("axis"))


def split(node: Node, x: Tensor, sizes: Tensor | None = None) -> Sequence[Tensor]:
    """Parts along an axis: of given sizes, or as many as there are outputs."""
    axis = node.get("axis", 0)
    parts = node.get("split") if sizes is None else integers(sizes)
    if parts is None:
        parts = -(-x.size(axis) // len(node.outputs))
    return torch.split(x, parts, axis)


def slices(
    node: Node,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    """From starts to ends along some axes."""
    begin, end, chosen, stride = (
        node.get(name) if given is None else integers(given)
        for name, given in (("starts", starts), ("ends", ends), ("axes", axes), ("steps", steps))
    )
    for k, axis in enumerate(chosen or range(len(begin))):
        step = stride[k] if stride else 1
        places = range(x.size(axis))[begin[k] : _end(end[k], x.size(axis), step) : step]
        x = x.index_select(axis, torch.tensor(places, dtype=torch.long, device=x.device))
    return x


def _end(end: int, size: int, step: int) -> int | None:
    """An end as Python has it: before the first place is None for it, where ONNX has a very low number."""
    return None if step < 0 and end < -size else end


def gather(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    """Chosen places along an axis, which takes the shape of `indices`."""
    axis = node.get("axis", 0)
    places = torch.where(indices < 0, indices + x.size(axis), indices)
    chosen = x.index_select(axis, places.reshape(-1).long().to(x.device))
    axis %= x.dim()
    return chosen.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def expand(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    """Broadcast to a shape, which may itself be broadcast."""
    return torch.where(torch.ones(integers(shape), dtype=torch.bool, device=x.device), x, x)


def shape(node: Node, x: Tensor) -> Tensor:
    """The sizes, or some of them."""
    return torch.tensor(x.shape[slice(node.get("start", 0), node.get("end"))], dtype=torch.long)
