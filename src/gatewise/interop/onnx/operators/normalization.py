"""Normalisation operators."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gatewise.interop.onnx.node import Node
from gatewise.interop.onnx.operators.common import Operator, per_axis


def _batch(node: Node, x: Tensor, scale: Tensor, b: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    scale, b, mean, var = (per_axis(x, vector, 1) for vector in (scale, b, mean, var))
    return (x - mean) * torch.rsqrt(var + node.get("epsilon", 1e-5)) * scale + b


def _standard(x: Tensor, axes: tuple[int, ...], epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """``(x - mean) / deviation``, the mean, and one over the deviation."""
    var, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    inverse = torch.rsqrt(var + epsilon)
    return (x - mean) * inverse, mean, inverse


def _instance(node: Node, x: Tensor, scale: Tensor, b: Tensor) -> Tensor:
    y, _, _ = _standard(x, tuple(range(2, x.dim())), node.get("epsilon", 1e-5))
    return y * per_axis(x, scale, 1) + per_axis(x, b, 1)


def _layer(node: Node, x: Tensor, scale: Tensor, b: Tensor | None = None) -> tuple[Tensor, ...]:
    axes = tuple(range(node.get("axis", -1) % x.dim(), x.dim()))
    # Half precision is computed in float32, as stash_type says.
    y, mean, inverse = _standard(_wide(x), axes, node.get("epsilon", 1e-5))
    y = y.to(x.dtype) * scale
    return y if b is None else y + b, mean, inverse


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype is torch.float64 else x.float()


def _skip_layer(
    node: Node, x: Tensor, skip: Tensor, scale: Tensor, b: Tensor | None = None, bias: Tensor | None = None
) -> tuple[Tensor, ...]:
    total = x + skip if bias is None else x + skip + bias
    return (*_layer(node, total, scale, b), total)


def _root_mean_square(node: Node, x: Tensor, scale: Tensor) -> Tensor:
    axes = tuple(range(node.get("axis", -1) % x.dim(), x.dim()))
    inverse = torch.rsqrt(_wide(x).square().mean(axes, keepdim=True) + node.get("epsilon", 1e-5))
    return (x * inverse).to(x.dtype) * scale


def _group(node: Node, x: Tensor, scale: Tensor, b: Tensor) -> Tensor:
    groups, channels = node.get("num_groups"), x.size(1)
    y = F.group_norm(x, groups, eps=node.get("epsilon", 1e-5))
    if node.opset < 21:  # old versions have one scale and bias per group
        scale, b = (vector.repeat_interleave(channels // groups) for vector in (scale, b))
    return y * per_axis(x, scale, 1) + per_axis(x, b, 1)


def _mean_variance(node: Node, x: Tensor) -> Tensor:
    axes = tuple(node.get("axes", [0, 2, 3]))
    var, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return (x - mean) / (var.sqrt() + 1e-9)


def _lp(node: Node, x: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(x, node.get("p", 2), node.get("axis", -1), keepdim=True)
    return torch.where(norm == 0, 0, x / norm)


def _local_response(node: Node, x: Tensor) -> Tensor:
    size = node.get("size")
    around = [0, 0] * (x.dim() - 2) + [(size - 1) // 2, size // 2]
    sums = F.pad(x.square(), around).unfold(1, size, 1).sum(-1)
    alpha, beta, bias = node.get("alpha", 1e-4), node.get("beta", 0.75), node.get("bias", 1.0)
    return torch.div(x, (bias + alpha / size * sums).pow(beta))


NORMALIZATION: dict[str, Operator] = {
    "BatchNormalization": _batch,
    "InstanceNormalization": _instance,
    "LayerNormalization": _layer,
    "GroupNormalization": _group,
    "RMSNormalization": _root_mean_square,
    "LpNormalization": _lp,
    "LRN": _local_response,
    "MeanVarianceNormalization": _mean_variance,
    "com.microsoft.SkipLayerNormalization": _skip_layer,
}
