"""Operators that read and write at given indices."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gatewise.interop.onnx import OnnxError
from gatewise.interop.onnx.node import Node
from gatewise.interop.onnx.operators.common import Operator, of

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _counted(places: Tensor, size: int) -> Tensor:
    """Indices with negative ones, which count from the end, made positive."""
    return torch.where(places < 0, places + size, places).long()


def _gather(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    """Take indices along an axis, which gets the shape of `indices`."""
    axis = node.get("axis", 0) % x.dim()
    chosen = x.index_select(axis, _counted(indices, x.size(axis)).reshape(-1).to(x.device))
    return chosen.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _gather_elements(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    axis = node.get("axis", 0)
    return x.gather(axis, _counted(indices, x.size(axis)))


def _scatter_elements(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    axis = node.get("axis", 0)
    return _written(node, x, axis, _counted(indices, x.size(axis)), updates)


def _written(node: Node, x: Tensor, axis: int, places: Tensor, updates: Tensor) -> Tensor:
    how = node.get("reduction", "none")
    if how == "none":
        return x.scatter(axis, places, updates)
    if how not in _REDUCTIONS:
        raise OnnxError(f"reduction is {how!r}; the standard has none, {', '.join(_REDUCTIONS)}")
    return x.scatter_reduce(axis, places, updates, _REDUCTIONS[how])


def _flat_places(indices: Tensor, sizes: torch.Size) -> Tensor:
    """Flat indices for multi-dimensional ones, which are the last axis of `indices`, in axes of `sizes`."""
    found = torch.zeros(indices.shape[:-1], dtype=torch.long, device=indices.device)
    for k, size in enumerate(sizes):
        found = found * size + _inside(_counted(indices[..., k], size), size)
    return found


def _inside(places: Tensor, size: int) -> Tensor:
    if bool(((places < 0) | (places >= size)).any()):
        raise IndexError(f"an index is outside of an axis of size {size}")
    return places


def _gather_nd(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    shared = node.get("batch_dims", 0)
    depth = indices.size(-1)
    rows, sizes, rest = x.shape[:shared], x.shape[shared : shared + depth], x.shape[shared + depth :]
    places = _flat_places(indices, sizes).reshape(rows.numel(), -1)
    flat = x.reshape(rows.numel(), sizes.numel(), *rest)
    found = flat[torch.arange(len(flat), device=x.device).unsqueeze(1), places]
    return found.reshape(*indices.shape[:-1], *rest)


def _scatter_nd(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    depth = indices.size(-1)
    sizes, rest = x.shape[:depth], x.shape[depth:]
    places = _flat_places(indices, sizes).reshape(-1, 1)
    flat = x.reshape(sizes.numel(), math.prod(rest))
    changed = updates.reshape(len(places), flat.size(1))
    return _written(node, flat, 0, places.expand_as(changed), changed).reshape(x.shape)


def _compress(node: Node, x: Tensor, condition: Tensor) -> Tensor:
    x, axis = (x, node.get("axis")) if "axis" in node.attributes else (x.reshape(-1), 0)
    return x.index_select(axis, condition.nonzero().reshape(-1))


INDEXING: dict[str, Operator] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Compress": _compress,
    "NonZero": of(lambda x: x.nonzero().T),
}
