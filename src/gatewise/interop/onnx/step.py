"""One step of a cell as ONNX operators, one for each node of its graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple

from torch import Tensor

from gatewise.interop.onnx import OnnxError
from gatewise.interop.onnx.builder import Array, Builder
from gatewise.language import Cell, Kind
from gatewise.language.graph import Node, topological
from gatewise.nn.walk.walk import Weights


class Scanner(NamedTuple):
    """The cell and the weights of one layer in one direction. The names of its parameters end in `suffix`.

    The cell is not random, and its norms are written out as arithmetic.
    """

    cell: Cell
    weights: Weights
    suffix: str

    @property
    def name(self) -> str:
        """The name of its node."""
        return f"{self.cell.name}{self.suffix}"


def from_input(b: Builder, scanner: Scanner, x: str) -> str:
    """The input part of all gates, from ``x [..., I]``: ``[..., Gx*H]``."""
    weights, suffix = scanner.weights, scanner.suffix
    matrix = b.weight(f"weight_ih{suffix} transposed", array(weights.weight_ih).T)
    product = b.node("MatMul", x, matrix)
    if weights.bias_ih is None:
        return product
    return b.node("Add", product, b.weight(f"bias_ih{suffix}", array(weights.bias_ih)))


def step(b: Builder, scanner: Scanner, fed: str, states: Sequence[str]) -> list[str]:
    """The next states, from the input part of the gates ``[B, Gx*H]`` and the states, each ``[B, H]``.

    Raises:
        OnnxError: the cell has an unknown operation.
    """
    cell = scanner.cell
    x = _parts(b, fed, len(cell.input_gates))
    values = _leaves(b, scanner, x, states)
    whole = {node for node in values if node.op != "vector"}  # of shape [B, H]

    def widen(node: Node) -> str:
        if node not in whole:
            values[node] = b.node("Expand", values[node], b.node("Shape", x[0]))
            whole.add(node)
        return values[node]

    for node in topological(cell.next_states):
        if node.op == "constant":
            values[node] = b.number(node.value)
        elif node not in values:
            if node.op in _PRODUCTS:
                widen(node.args[0])
            if node.op != "mean" and whole.intersection(node.args):
                whole.add(node)
            values[node] = _written(b, scanner, node, [values[arg] for arg in node.args])
    return [widen(node) for node in cell.next_states]


def _leaves(b: Builder, scanner: Scanner, fed: Sequence[str], states: Sequence[str]) -> dict[Node, str]:
    """The values of the leaves: previous states, vectors and pre-activations."""
    cell, weights = scanner.cell, scanner.weights
    leaf = cell.leaf
    x = dict(zip(cell.input_gates, fed, strict=True))
    h = dict(zip(cell.state_gates, _from_state(b, scanner, states[0]), strict=True))
    leaves = {leaf("state", name): state for name, state in zip(cell.states, states, strict=True)}
    for name, vector in zip(cell.vectors, weights.vectors, strict=True):
        leaves[leaf("vector", name)] = b.weight(f"vector_{name}{scanner.suffix}", array(vector))
    for p in cell.parameters:
        if p.kind is Kind.GATE:
            leaves[leaf("gate", p.name)] = b.node("Add", x[p.name], h[p.name])
        elif p.sees_input:
            leaves[leaf("gate", p.name, "x")] = x[p.name]
        if p.kind is Kind.SPLIT:
            leaves[leaf("gate", p.name, "h")] = h[p.name]
    return leaves


def _from_state(b: Builder, scanner: Scanner, state: str) -> list[str]:
    weights, gates = scanner.weights, len(scanner.cell.state_gates)
    if not gates:
        return []
    return _parts(b, _product(b, state, "hh" + scanner.suffix, weights.weight_hh, weights.bias_hh), gates)


def _parts(b: Builder, value: str, count: int) -> list[str]:
    """A value split along its last axis into `count` parts; not split if `count` is 1."""
    return b.nodes("Split", count, value, axis=-1) if count > 1 else [value]


def _product(b: Builder, value: str, name: str, matrix: Tensor, bias: Tensor | None) -> str:
    """``M v + b`` for ``value [B, H]``."""
    inputs = [value, b.weight(f"weight_{name}", array(matrix))]
    if bias is not None:
        inputs.append(b.weight(f"bias_{name}", array(bias)))
    return b.node("Gemm", *inputs, transB=1)


def array(tensor: Tensor) -> Array:
    """A weight as a constant."""
    numbers: Array = tensor.detach().cpu().numpy()
    return numbers


# (builder, scanner, node, names of the arguments) -> name of the result
_Writer = Callable[[Builder, Scanner, Node, Sequence[str]], str]


def _as(operator: str) -> _Writer:
    return lambda b, scanner, node, args: b.node(operator, *args)


def _mean(b: Builder, scanner: Scanner, node: Node, args: Sequence[str]) -> str:
    """The mean over all units of all arguments, which are equally wide: ``[B, 1]``."""
    means = [b.node("ReduceMean", arg, axes=[-1], keepdims=1) for arg in args]
    total = reduce(lambda x, y: b.node("Add", x, y), means)
    return b.node("Div", total, b.number(len(means)))


def _linear(b: Builder, scanner: Scanner, node: Node, args: Sequence[str]) -> str:
    matrices, biases = scanner.weights.weight_linear, scanner.weights.bias_linear
    assert matrices is not None  # since the cell has a linear
    number, count = int(node.name), len(scanner.cell.linears)
    bias = None if biases is None else biases.chunk(count)[number]
    return _product(b, args[0], f"linear{scanner.suffix} {number}", matrices.chunk(count)[number], bias)


def _project(b: Builder, scanner: Scanner, node: Node, args: Sequence[str]) -> str:
    assert scanner.weights.weight_hr is not None  # since the cell projects
    return _product(b, args[0], f"hr{scanner.suffix}", scanner.weights.weight_hr, None)


def _softplus(b: Builder, scanner: Scanner, node: Node, args: Sequence[str]) -> str:
    if b.dtype == "float32":
        return b.node("Softplus", *args)
    # ONNX Runtime has the operator for float32 only: max(x, 0) + log(1 + exp(-|x|)).
    small = b.node("Exp", b.node("Neg", b.node("Abs", *args)))
    logarithm = b.node("Log", b.node("Add", small, b.number(1)))
    return b.node("Add", b.node("Relu", *args), logarithm)


_PRODUCTS: dict[str, _Writer] = {"linear": _linear, "project": _project}

# The ONNX operator for each operation of a cell. To support another operation, add a line.
_WRITERS: dict[str, _Writer] = _PRODUCTS | {
    "add": _as("Add"),
    "sub": _as("Sub"),
    "mul": _as("Mul"),
    "div": _as("Div"),
    "neg": _as("Neg"),
    "stop_gradient": _as("Identity"),
    "exp": _as("Exp"),
    "log": _as("Log"),
    "sqrt": _as("Sqrt"),
    "abs": _as("Abs"),
    "tanh": _as("Tanh"),
    "sigmoid": _as("Sigmoid"),
    "softplus": _softplus,
    "relu": _as("Relu"),
    "maximum": _as("Max"),
    "minimum": _as("Min"),
    "less": _as("Less"),
    "less_equal": _as("LessOrEqual"),
    "where": _as("Where"),
    "mean": _mean,
}


def _written(b: Builder, scanner: Scanner, node: Node, args: Sequence[str]) -> str:
    if node.op not in _WRITERS:
        known = ", ".join(_WRITERS)
        raise OnnxError(
            f"export_onnx: cell {scanner.cell.name!r} has the unsupported operation {node.op!r}. "
            f"Known are {known}."
        )
    return _WRITERS[node.op](b, scanner, node, args)
