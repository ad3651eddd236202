"""Operators whose inputs give the size of the result: filling, padding, ranges, random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from gatewise.interop.onnx import OnnxError
from gatewise.interop.onnx.node import Node, dtype_of
from gatewise.interop.onnx.operators.common import Operator, integers, listed, of, per_axis


def _constant(node: Node) -> Tensor:
    kinds = {"value": None, "value_float": torch.float32, "value_floats": torch.float32}
    kinds |= {"value_int": torch.int64, "value_ints": torch.int64}
    for name, dtype in kinds.items():
        if name in node.attributes:
            value: Tensor = node.get(name) if dtype is None else torch.tensor(node.get(name), dtype=dtype)
            return value
    raise OnnxError(f"{node} has no number: {', '.join(node.attributes)}")


def _constant_of_shape(node: Node, shape: Tensor) -> Tensor:
    value: Tensor = node.get("value", torch.zeros(1))
    return value.reshape(()).expand(integers(shape)).clone()


def _range(start: Tensor, end: Tensor, step: Tensor) -> Tensor:
    return torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)


def _eye_like(node: Node, x: Tensor) -> Tensor:
    dtype = dtype_of(node.get("dtype")) if node.get("dtype") else x.dtype
    ones = torch.ones(x.shape, dtype=torch.float32, device=x.device)
    k = node.get("k", 0)
    return ones.tril(k).triu(k).to(dtype)


def _expand(x: Tensor, shape: Tensor) -> Tensor:
    """Broadcast a tensor and a shape to each other."""
    sizes = torch.broadcast_shapes(x.shape, integers(shape))  # type: ignore[no-untyped-call]
    return x.expand(sizes).clone()


def _one_hot(node: Node, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    axis, count = node.get("axis", -1), integers(depth)[0]
    places = torch.where(indices < 0, indices + count, indices).unsqueeze(axis)
    found = places == per_axis(places, torch.arange(count, device=indices.device), axis)
    return torch.where(found, values[1], values[0])


def _padded(
    node: Node,
    x: Tensor,
    pads: Tensor | None = None,
    value: Tensor | None = None,
    axes: Tensor | None = None,
) -> Tensor:
    sizes = listed(node, "pads", pads) or []
    chosen = [axis % x.dim() for axis in integers(axes)] if axes is not None else range(x.dim())
    around = {axis: (sizes[k], sizes[k + len(sizes) // 2]) for k, axis in enumerate(chosen)}
    mode = node.get("mode", "constant")
    if mode == "constant":
        flat = [size for axis in reversed(range(x.dim())) for size in around.get(axis, (0, 0))]
        return F.pad(x, flat, value=node.get("value", 0.0) if value is None else value.item())
    for axis, (before, after) in around.items():
        places = _places(mode, torch.arange(-before, x.size(axis) + after, device=x.device), x.size(axis))
        x = x.index_select(axis, places)
    return x


def _places(mode: str, places: Tensor, size: int) -> Tensor:
    """Map positions that may lie outside of an axis to positions inside of it, by the padding mode."""
    if mode == "edge":
        return places.clamp(0, size - 1)
    if mode == "wrap":
        return places % size
    if mode != "reflect":
        raise OnnxError(f"mode is {mode!r}; the standard has constant, reflect, edge, wrap")
    period = max(2 * (size - 1), 1)
    places = places % period
    return torch.minimum(places, period - places) if size > 1 else torch.zeros_like(places)


def _dropped(
    node: Node, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    share = 0.5 if ratio is None else ratio.item()
    if training is None or not training.item() or not share:
        return x, torch.ones_like(x, dtype=torch.bool)
    kept = torch.rand_like(x) >= share
    return x * kept / (1 - share), kept


def _drawn(kind: str, node: Node, like: Tensor | None = None) -> Tensor:
    shape: Sequence[int] = node.get("shape") if like is None else like.shape
    dtype = torch.float32 if like is None or not like.is_floating_point() else like.dtype
    dtype = dtype_of(node.get("dtype")) if node.get("dtype") else dtype
    made = torch.empty(shape, dtype=dtype, device=None if like is None else like.device)
    if kind == "normal":
        return made.normal_(node.get("mean", 0.0), node.get("scale", 1.0))
    return made.uniform_(node.get("low", 0.0), node.get("high", 1.0))


FILLING: dict[str, Operator] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Range": of(_range),
    "EyeLike": _eye_like,
    "Expand": of(_expand),
    "Tile": of(lambda x, repeats: x.repeat(integers(repeats))),
    "OneHot": _one_hot,
    "Pad": _padded,
    "Dropout": _dropped,
    "RandomNormal": partial(_drawn, "normal"),
    "RandomNormalLike": partial(_drawn, "normal"),
    "RandomUniform": partial(_drawn, "uniform"),
    "RandomUniformLike": partial(_drawn, "uniform"),
    "Bernoulli": lambda node, p: torch.bernoulli(p).to(
        dtype_of(node.get("dtype")) if node.get("dtype") else p.dtype
    ),
}

# Random at each call.
RANDOM = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli"})
