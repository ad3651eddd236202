"""Reductions: sums, extremes and their positions, cumulative sums."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from gatewise.interop.onnx.node import Node
from gatewise.interop.onnx.operators.common import Function, Operator, integers, listed


def _reduced(function: Function, node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    found = tuple(axis % x.dim() for axis in listed(node, "axes", axes) or ())
    if not found and not node.get("noop_with_empty_axes", 0):
        found = tuple(range(x.dim()))
    return function(x, found, bool(node.get("keepdims", 1))).to(x.dtype)


def _sum(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep) if axes else x


def _mean(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return _floats(x).mean(axes, keepdim=keep) if axes else x


def _product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _extreme(function: Function, sign: int, x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    if x.numel() == 0:  # the maximum of nothing is the lowest value, the minimum the highest
        lowest = _bounds(x.dtype)[0 if sign > 0 else 1]
        shape = [1 if k in axes else n for k, n in enumerate(x.shape) if keep or k not in axes]
        return torch.full(shape, lowest, dtype=x.dtype, device=x.device)
    return function(x, axes, keepdim=keep) if axes else x


def _bounds(dtype: torch.dtype) -> tuple[Any, Any]:
    if dtype.is_floating_point:
        return float("-inf"), float("inf")
    return (False, True) if dtype is torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)


def _length(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return torch.linalg.vector_norm(_floats(x), 2, axes, keep) if axes else x.abs()


def _floats(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.double()


def _place(function: Function, node: Node, x: Tensor) -> Tensor:
    axis, keep = node.get("axis", 0), bool(node.get("keepdims", 1))
    if not node.get("select_last_index", 0):
        return function(x, axis, keepdim=keep)
    return function(x.flip(axis), axis, keepdim=keep).neg().add(x.size(axis) - 1)


def _top(node: Node, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
    axis, count = node.get("axis", -1), node.get("k") if k is None else integers(k)[0]
    # A stable sort keeps the order of equal numbers.
    values, places = x.sort(dim=axis, descending=bool(node.get("largest", 1)), stable=True)
    return values.narrow(axis, 0, count), places.narrow(axis, 0, count)


def _running(function: Function, node: Node, x: Tensor, axis: Tensor) -> Tensor:
    (along,) = integers(axis)
    x = x.flip(along) if node.get("reverse", 0) else x
    y = function(x, along, dtype=x.dtype)
    if node.get("exclusive", 0):
        start = torch.full_like(x.narrow(along, 0, 1), 0 if function is torch.cumsum else 1)
        y = torch.cat([start, y.narrow(along, 0, x.size(along) - 1)], along)
    return y.flip(along) if node.get("reverse", 0) else y


def _reduction(function: Function) -> Operator:
    return partial(_reduced, function)


REDUCTIONS: dict[str, Operator] = {
    "ReduceSum": _reduction(_sum),
    "ReduceMean": _reduction(_mean),
    "ReduceProd": _reduction(_product),
    "ReduceMax": _reduction(partial(_extreme, torch.amax, 1)),
    "ReduceMin": _reduction(partial(_extreme, torch.amin, -1)),
    "ReduceL1": _reduction(lambda x, axes, keep: _sum(x.abs(), axes, keep)),
    "ReduceL2": _reduction(_length),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: _sum(x.square(), axes, keep)),
    "ReduceLogSum": _reduction(lambda x, axes, keep: _sum(_floats(x), axes, keep).log()),
    "ReduceLogSumExp": _reduction(
        lambda x, axes, keep: torch.logsumexp(_floats(x), axes, keep) if axes else x
    ),
    "ArgMax": partial(_place, torch.argmax),
    "ArgMin": partial(_place, torch.argmin),
    "TopK": _top,
    "CumSum": partial(_running, torch.cumsum),
    "CumProd": partial(_running, torch.cumprod),
}
