"""The operators that stand around recurrent nodes, in torch, as in every version of the standard from 7 on.

To serve another one, add its line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import TypeAlias

import torch
from onnx import helper
from torch import Tensor
from torch.nn import functional as F

from gatewise.interop.onnx import OnnxError, shapes
from gatewise.interop.onnx.node import Node
from gatewise.interop.onnx.shapes import axes_of, integers

_Function: TypeAlias = Callable[..., Tensor]
# Is given the node and its inputs, None where one is left out.
Operator: TypeAlias = Callable[..., "Tensor | Sequence[Tensor]"]


def _of(function: _Function) -> Operator:
    """A function of the inputs alone."""
    return lambda node, *inputs: function(*inputs)


def _cast(node: Node, x: Tensor) -> Tensor:
    return x.to(dtype_of(node.get("to")))


def dtype_of(element: int) -> torch.dtype:
    """The type of torch for one of ONNX.

    Raises:
        OnnxError: torch has none.
    """
    try:
        return torch.from_numpy(helper.tensor_dtype_to_np_dtype(element).type([0])).dtype
    except (KeyError, TypeError) as error:
        raise OnnxError(f"element type {element} has no counterpart in torch") from error


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


def _gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a = a.T if node.get("transA", 0) else a
    b = b.T if node.get("transB", 0) else b
    product = (a @ b).mul(node.get("alpha", 1.0))
    return product if c is None else product + c.mul(node.get("beta", 1.0))


def _softmax(function: _Function, node: Node, x: Tensor) -> Tensor:
    if node.opset >= 13:
        return function(x, node.get("axis", -1))
    # Before version 13 it went over all axes from `axis` on.
    rows = shapes.flatten(Node(node.operator, "", (), (), {"axis": node.get("axis", 1)}, node.opset), x)
    return function(rows, 1).reshape(x.shape)


def _div(a: Tensor, b: Tensor) -> Tensor:
    return torch.div(a, b, rounding_mode=None if a.is_floating_point() else "trunc")


def _reduce(function: _Function, node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    found = axes_of(node, axes)
    if not found and node.get("noop_with_empty_axes", 0):
        return x
    return function(x, found or list(range(x.dim())), keepdim=bool(node.get("keepdims", 1)))


def _dropout(node: Node, x: Tensor, *training: Tensor | None) -> Sequence[Tensor]:
    return x, torch.ones_like(x, dtype=torch.bool)


def _range(start: Tensor, end: Tensor, step: Tensor) -> Tensor:
    return torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)


OPERATORS: dict[str, Operator] = {
    "Squeeze": shapes.squeeze,
    "Unsqueeze": shapes.unsqueeze,
    "Transpose": shapes.transpose,
    "Reshape": shapes.reshape,
    "Flatten": shapes.flatten,
    "Concat": shapes.concat,
    "Split": shapes.split,
    "Slice": shapes.slices,
    "Gather": shapes.gather,
    "Expand": shapes.expand,
    "Shape": shapes.shape,
    "Cast": _cast,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Range": _of(_range),
    "Identity": _of(lambda x: x),
    "Dropout": _dropout,
    "Gemm": _gemm,
    "MatMul": _of(torch.matmul),
    "Softmax": partial(_softmax, F.softmax),
    "LogSoftmax": partial(_softmax, F.log_softmax),
    "ReduceMean": partial(_reduce, torch.mean),
    "ReduceSum": partial(_reduce, torch.sum),
    "Add": _of(torch.add),
    "Sub": _of(torch.sub),
    "Mul": _of(torch.mul),
    "Div": _of(_div),
    "Neg": _of(torch.neg),
    "Abs": _of(torch.abs),
    "Exp": _of(torch.exp),
    "Log": _of(torch.log),
    "Sqrt": _of(torch.sqrt),
    "Relu": _of(torch.relu),
    "Sigmoid": _of(torch.sigmoid),
    "Tanh": _of(torch.tanh),
    "Softplus": _of(lambda x: -F.logsigmoid(-x)),
    "Max": _of(lambda *inputs: reduce(torch.maximum, inputs)),
    "Min": _of(lambda *inputs: reduce(torch.minimum, inputs)),
    "Less": _of(torch.lt),
    "LessOrEqual": _of(torch.le),
    "Greater": _of(torch.gt),
    "Where": _of(torch.where),
}
