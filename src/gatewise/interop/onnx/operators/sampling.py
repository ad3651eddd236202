"""Interpolating operators: resizing, and sampling at a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gatewise.interop.onnx import OnnxError
from gatewise.interop.onnx.node import Node
from gatewise.interop.onnx.operators.common import Function, Operator, integers, per_axis


class Axis(NamedTuple):
    """An axis to resize: old and new size, scale factor, and the part of the axis to use."""

    axis: int
    old: int
    new: int
    scale: float
    start: float = 0.0
    end: float = 1.0


def _resize(
    node: Node,
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    if node.opset < 11:  # its second input was the scales, as in Upsample
        return _upsample(node, x, roi)
    y = x if x.is_floating_point() or node.get("mode", "nearest") == "nearest" else x.float()
    mode = node.get("coordinate_transformation_mode", "half_pixel")
    for axis in _axes(node, x, roi, scales, sizes):
        if axis.old != axis.new or axis.scale != 1 or mode == "tf_crop_and_resize":
            y = _along(node, y, axis, _places(mode, axis, x.device))
    return y.to(x.dtype)


def _upsample(node: Node, x: Tensor, scales: Tensor | None = None) -> Tensor:
    factors = node.get("scales") if scales is None else scales.tolist()
    mode = {"mode": node.get("mode", "nearest"), "nearest_mode": "floor"}
    plain = Node(node.operator, "", (), (), mode, node.opset)
    for k, (old, scale) in enumerate(zip(x.shape, factors, strict=True)):
        axis = Axis(k, old, math.floor(old * scale), scale)
        if scale != 1:
            x = _along(plain, x, axis, _places("asymmetric", axis, x.device))
    return x


def _axes(
    node: Node, x: Tensor, roi: Tensor | None, scales: Tensor | None, sizes: Tensor | None
) -> list[Axis]:
    chosen = [axis % x.dim() for axis in node.get("axes", range(x.dim()))]
    old = [x.size(axis) for axis in chosen]
    if scales is not None and scales.numel():
        factors = scales.tolist()
        new = [math.floor(n * scale) for n, scale in zip(old, factors, strict=True)]
    else:
        new = integers(sizes) if sizes is not None else old
        new, factors = _kept_in_ratio(node.get("keep_aspect_ratio_policy", "stretch"), old, new)
    parts = [0.0] * len(chosen) + [1.0] * len(chosen)
    parts = roi.tolist() if roi is not None and roi.numel() else parts
    return [
        Axis(*numbers)
        for numbers in zip(chosen, old, new, factors, parts[: len(old)], parts[len(old) :], strict=True)
    ]


def _kept_in_ratio(policy: str, old: Sequence[int], new: Sequence[int]) -> tuple[list[int], list[float]]:
    factors = [b / a for a, b in zip(old, new, strict=True)]
    if policy == "stretch":
        return list(new), factors
    scale = min(factors) if policy == "not_larger" else max(factors)
    return [math.floor(scale * n + 0.5) for n in old], [scale] * len(old)


def _places(mode: str, axis: Axis, device: torch.device) -> Tensor:
    """The position of each new element on the old axis, ``[axis.new]``."""
    i = torch.arange(axis.new, dtype=torch.float64, device=device)
    old, new, scale = axis.old, axis.new, axis.scale
    centred = (i + 0.5) / scale - 0.5
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and new > 1):
        return centred
    if mode == "half_pixel_symmetric":
        return old / 2 * (1 - new / (scale * old)) + centred
    if mode == "asymmetric":
        return i / scale
    if mode in ("align_corners", "pytorch_half_pixel"):
        return i * ((old - 1) / (new - 1) if new > 1 else 0)
    if mode == "tf_crop_and_resize":
        if new > 1:
            return axis.start * (old - 1) + i * (axis.end - axis.start) * (old - 1) / (new - 1)
        return i + 0.5 * (axis.start + axis.end) * (old - 1)
    raise OnnxError(f"coordinate_transformation_mode {mode!r} is not supported")


def _along(node: Node, x: Tensor, axis: Axis, places: Tensor) -> Tensor:
    """`x` interpolated at `places` of an axis."""
    if node.get("mode", "nearest") == "nearest":
        nearest = _ROUNDINGS[node.get("nearest_mode", "round_prefer_floor")](places)
        y = x.index_select(axis.axis, nearest.long().clamp(0, axis.old - 1))
    else:
        y = _mixed(node, x, axis, places)
    if node.get("coordinate_transformation_mode") != "tf_crop_and_resize":
        return y
    outside = per_axis(x, (places < 0) | (places > axis.old - 1), axis.axis)
    return torch.where(outside, node.get("extrapolation_value", 0.0), y)


_ROUNDINGS: dict[str, Function] = {
    "round_prefer_floor": lambda x: torch.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: torch.floor(x + 0.5),
    "floor": torch.floor,
    "ceil": torch.ceil,
}


def _mixed(node: Node, x: Tensor, axis: Axis, places: Tensor) -> Tensor:
    """`x` interpolated as a weighted sum of the neighbours of each position."""
    cubic = node.get("mode") == "cubic"
    spread = min(axis.scale, 1.0) if node.get("antialias", 0) else 1.0
    reach = math.ceil((2 if cubic else 1) / spread)
    taps = torch.arange(1 - reach, 1 + reach, device=x.device).unsqueeze(1)
    near = places.floor().long() + taps
    distance = ((near - places) * spread).abs()
    weights = _cubic(distance, node.get("cubic_coeff_a", -0.75)) if cubic else (1 - distance).clamp(min=0)
    if node.get("exclude_outside", 0):
        weights = torch.where((near < 0) | (near >= axis.old), 0, weights)
    weights = (weights / weights.sum(0)).to(x.dtype)
    near = near.clamp(0, axis.old - 1)
    y = x.index_select(axis.axis, near[0]) * per_axis(x, weights[0], axis.axis)
    for k in range(1, len(near)):
        y = y + x.index_select(axis.axis, near[k]) * per_axis(x, weights[k], axis.axis)
    return y


def _cubic(t: Tensor, a: float) -> Tensor:
    """The kernel of cubic convolution (Keys 1981) at distances `t`."""
    inner = ((a + 2) * t - (a + 3)) * t * t + 1
    outer = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return torch.where(t <= 1, inner, torch.where(t < 2, outer, 0))


def _grid_sample(node: Node, x: Tensor, grid: Tensor) -> Tensor:
    mode = node.get("mode", "bilinear")
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    padding, aligned = node.get("padding_mode", "zeros"), bool(node.get("align_corners", 0))
    return F.grid_sample(x, grid, mode, padding, aligned)


SAMPLING: dict[str, Operator] = {"Resize": _resize, "Upsample": _upsample, "GridSample": _grid_sample}
