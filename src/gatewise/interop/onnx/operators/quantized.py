"""Operators on 8-bit integers, computed exactly.

Between operators integers are held as floating-point numbers, so that gradients can flow. Rounding has the
gradient of the identity (the straight-through estimator, Bengio et al. 2013); values clipped at the ends of
the range have none. Sums of products are computed in float64, where they are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from gatewise.interop.onnx.node import Node, dtype_of
from gatewise.interop.onnx.operators.common import Function, Operator, per_axis
from gatewise.interop.onnx.operators.windows import convolution

_BYTE = (0, 255)


def _rounded(x: Tensor) -> Tensor:
    return x + (x.detach().round() - x.detach())


def _range_of(zero_point: Tensor | None) -> tuple[int, int]:
    if zero_point is None or zero_point.is_floating_point():
        return _BYTE
    found = torch.iinfo(zero_point.dtype)
    return int(found.min), int(found.max)


def _spread(node: Node, x: Tensor, given: Tensor, default: int = 1) -> Tensor:
    """A scale or zero point in a shape that broadcasts with `x`: one for all, per axis, or per block."""
    axis, block = node.get("axis", default), node.get("block_size", 0)
    if block:
        return given.repeat_interleave(block, axis).narrow(axis, 0, x.size(axis))
    return per_axis(x, given, axis) if given.numel() > 1 else given.reshape(())


def _quantized(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    low, high = _range_of(zero)
    if zero is None and node.get("output_dtype", 0):
        found = torch.iinfo(dtype_of(node.get("output_dtype")))
        low, high = found.min, found.max
    moved = _rounded(x / _spread(node, x, scale).to(x.dtype))
    return (moved if zero is None else moved + _spread(node, x, zero)).clamp(low, high)


def _dequantized(node: Node, q: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    scale = _spread(node, q, scale)
    return (q.to(scale.dtype) if zero is None else q.to(scale.dtype) - _spread(node, q, zero)) * scale


def dynamically_quantized(node: Node, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`x` as bytes, with scale and zero point. The range is that of `x`, extended to contain 0."""
    given = x.detach()
    low, high = (
        (given.amin().clamp(max=0), given.amax().clamp(min=0)) if x.numel() else (x.new_zeros(()),) * 2
    )
    scale = torch.where(high == low, 1, (high - low) / 255)
    zero = (-low / scale).clamp(0, 255).round()
    return (_rounded(x / scale) + zero).clamp(*_BYTE), scale, zero


def _centred(q: Tensor, zero: Tensor | None, axis: int) -> Tensor:
    """`q` minus its zero point, in float64, where sums of products of bytes are exact."""
    if zero is None:
        return q.double()
    return q.double() - (per_axis(q, zero, axis) if zero.dim() == 1 and zero.numel() > 1 else zero)


def _matmul(
    node: Node, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    return torch.matmul(_centred(a, a_zero, -2), _centred(b, b_zero, -1))


def _conv(
    node: Node, x: Tensor, w: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None
) -> Tensor:
    return convolution(node, _centred(x, x_zero, 1), _centred(w, w_zero, 0))


def _requantized(sums: Tensor, factor: Tensor, zero: Tensor) -> Tensor:
    return (_rounded((sums * factor).float()) + zero).clamp(*_range_of(zero))


def _qlinear_matmul(
    node: Node, a: Tensor, a_scale: Tensor, a_zero: Tensor, b: Tensor, b_scale: Tensor, b_zero: Tensor,
    y_scale: Tensor, y_zero: Tensor,
) -> Tensor:  # fmt: skip
    if a_scale.dim() == 1 and a_scale.numel() > 1:
        a_scale = a_scale.unsqueeze(-1)
    return _requantized(_matmul(node, a, b, a_zero, b_zero), a_scale * b_scale / y_scale, y_zero)


def _qlinear_conv(
    node: Node, x: Tensor, x_scale: Tensor, x_zero: Tensor, w: Tensor, w_scale: Tensor, w_zero: Tensor,
    y_scale: Tensor, y_zero: Tensor, b: Tensor | None = None,
) -> Tensor:  # fmt: skip
    sums = _conv(node, x, w, x_zero, w_zero)
    sums = sums if b is None else sums + per_axis(sums, b, 1)
    factor = x_scale * w_scale / y_scale
    return _requantized(sums, per_axis(sums, factor, 1) if factor.numel() > 1 else factor, y_zero)


def _scaled_matmul(
    node: Node, a: Tensor, b: Tensor, a_scale: Tensor, b_scale: Tensor,
    a_zero: Tensor | None = None, b_zero: Tensor | None = None, bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    found = _matmul(node, a, b, a_zero, b_zero).to(a_scale.dtype) * (a_scale * b_scale)
    return found if bias is None else found + bias


def _dynamic_matmul(
    node: Node, a: Tensor, b: Tensor, scale: Tensor, zero: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    q, a_scale, a_zero = dynamically_quantized(node, a)
    return _scaled_matmul(node, q, b, a_scale, scale, a_zero, zero, bias)


def _around(function: Function, count: int, node: Node, *inputs: Tensor) -> Tensor:
    """Apply a function of `count` quantized inputs: dequantize, compute, quantize the result."""
    values = [_dequantized(node, *inputs[3 * k : 3 * k + 3]) for k in range(count)]
    return _quantized(node, function(*values), *inputs[3 * count : 3 * count + 2])


def _concatenated(node: Node, y_scale: Tensor, y_zero: Tensor, *inputs: Tensor) -> Tensor:
    values = [_dequantized(node, *inputs[k : k + 3]) for k in range(0, len(inputs), 3)]
    return _quantized(node, torch.cat(values, node.get("axis")), y_scale, y_zero)


def _leaky(node: Node, x: Tensor, *rest: Tensor) -> Tensor:
    slope = node.get("alpha", 0.01)
    return _around(lambda x: torch.where(x < 0, x * slope, x), 1, node, x, *rest)


def _pooled(node: Node, x: Tensor, *rest: Tensor) -> Tensor:
    axes: Sequence[int] = range(1, x.dim() - 1) if node.get("channels_last", 0) else range(2, x.dim())
    return _around(lambda x: x.mean(tuple(axes), keepdim=True), 1, node, x, *rest)


QUANTIZED: dict[str, Operator] = {
    "QuantizeLinear": _quantized,
    "DequantizeLinear": _dequantized,
    "DynamicQuantizeLinear": dynamically_quantized,
    "MatMulInteger": _matmul,
    "ConvInteger": _conv,
    "QLinearMatMul": _qlinear_matmul,
    "QLinearConv": _qlinear_conv,
    "com.microsoft.QuantizeLinear": _quantized,
    "com.microsoft.DequantizeLinear": _dequantized,
    "com.microsoft.DynamicQuantizeMatMul": _dynamic_matmul,
    "com.microsoft.MatMulIntegerToFloat": _scaled_matmul,
    "com.microsoft.QLinearAdd": partial(_around, torch.add, 2),
    "com.microsoft.QLinearMul": partial(_around, torch.mul, 2),
    "com.microsoft.QLinearSigmoid": partial(_around, torch.sigmoid, 1),
    "com.microsoft.QLinearLeakyRelu": _leaky,
    "com.microsoft.QLinearGlobalAveragePool": _pooled,
    "com.microsoft.QLinearConcat": _concatenated,
}
