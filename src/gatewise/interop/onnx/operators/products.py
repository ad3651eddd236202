"""Products of matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from gatewise.interop.onnx.node import Node
from gatewise.interop.onnx.operators.common import Operator, of


def _gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a = a.T if node.get("transA", 0) else a
    b = b.T if node.get("transB", 0) else b
    product = (a @ b).mul(node.get("alpha", 1.0))
    return product if c is None else product + c.mul(node.get("beta", 1.0))


def _fused_matmul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    a = a.mT if node.get("transA", 0) else a
    b = b.mT if node.get("transB", 0) else b
    return torch.matmul(a, b).mul(node.get("alpha", 1.0))


def _einsum(node: Node, *inputs: Tensor) -> Tensor:
    return torch.einsum(node.get("equation"), *inputs)


PRODUCTS: dict[str, Operator] = {
    "Gemm": _gemm,
    "MatMul": of(torch.matmul),
    "Einsum": _einsum,
    "Det": of(torch.linalg.det),
    "com.microsoft.FusedMatMul": _fused_matmul,
}
