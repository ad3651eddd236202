"""Finds everything in a file that is not supported, before anything is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from onnx import GraphProto, TensorProto, TypeProto

from gatewise.interop.onnx import OnnxError
from gatewise.interop.onnx.control import CONTROL
from gatewise.interop.onnx.node import Node, dtype_of
from gatewise.interop.onnx.operators import AT_EACH_CALL, OPERATORS
from gatewise.interop.onnx.reading import RECURRENT, weights_named

SERVED = frozenset({*RECURRENT, *CONTROL, *OPERATORS})


class Lack(NamedTuple):
    """Something that is not supported, and where it is."""

    what: str
    where: str


def is_constant(node: Node, constants: Collection[str]) -> bool:
    """Whether a node can be computed from these constants."""
    known = all(not name or name in constants for name in node.inputs)
    return known and node.operator in OPERATORS and node.operator not in AT_EACH_CALL


def refuse_lacks(graph: GraphProto, opset: int) -> None:
    """Refuse a file that has unsupported parts.

    Raises:
        OnnxError: the message names every unsupported operator or use, how often it occurs, and where first.
    """
    lacks = list(_lacks(graph, opset, ()))
    if not lacks:
        return
    counts, first = Counter(lack.what for lack in lacks), {lack.what: lack.where for lack in reversed(lacks)}
    named = [
        f"{what} ({first[what]})" if count == 1 else f"{what} ({count} times, first {first[what]})"
        for what, count in counts.most_common()
    ]
    raise OnnxError(f"unsupported: {'; '.join(named)}")


def _lacks(graph: GraphProto, opset: int, around: Collection[str]) -> Iterator[Lack]:
    """The unsupported parts of a graph and of graphs inside it. `around`: the constants of outer graphs."""
    held = {proto.name for proto in graph.initializer}
    constants = set(around) - {value.name for value in graph.input} | held
    for proto in graph.initializer:
        yield from _of_type(proto.data_type, f"constant {proto.name!r}")
    for sparse in graph.sparse_initializer:
        yield Lack("sparse constants", f"constant {sparse.values.name!r}")
    for value in graph.input:
        yield from _of_kind(value.type, f"input {value.name!r}")
    for proto in graph.node:
        where = f"node {proto.name or ', '.join(proto.output)!r}"
        try:
            node = Node.of(proto, opset)
        except OnnxError as error:
            yield Lack(str(error), where)
            continue
        yield from (Lack(what, where) for what in _of_node(node, constants))
        for body in node.graphs:
            yield from _lacks(body, opset, constants)
        if is_constant(node, constants):
            constants.update(node.outputs)


def _of_type(element: int, where: str) -> Iterator[Lack]:
    try:
        dtype_of(element)
    except OnnxError as error:
        yield Lack(str(error), where)


def _of_kind(kind: TypeProto, where: str) -> Iterator[Lack]:
    found = kind.WhichOneof("value")
    if found == "sequence_type":
        yield from _of_kind(kind.sequence_type.elem_type, where)
        return
    if found == "tensor_type" and kind.tensor_type.elem_type:
        yield from _of_type(kind.tensor_type.elem_type, where)
    elif found not in (None, "tensor_type"):
        yield Lack(f"values that are no tensors but {found.removesuffix('_type')}s", where)


def _of_node(node: Node, constants: Collection[str]) -> Iterator[str]:
    if node.operator not in SERVED:
        yield f"the operator {node.operator!r}"
    for name in ("to", "dtype", "output_dtype"):
        yield from (
            f"{node.operator}: {lack.what}" for lack in _of_type(node.get(name) or TensorProto.FLOAT, "")
        )
    for uses in _USES.get(node.operator, ()):
        if uses.found(node):
            yield f"{node.operator} {uses.what}"
    if node.operator in RECURRENT:
        for name, value in weights_named(node).items():
            if value and value not in constants:
                yield f"{node.operator} whose {name} is no constant of the file"


class _Use(NamedTuple):
    """An unsupported use of an operator that is supported otherwise."""

    what: str
    found: Callable[[Node], bool]


_USES: dict[str, tuple[_Use, ...]] = {
    "Scan": (_Use("as of operator set 8", lambda node: node.opset < 9),),
    "BatchNormalization": (
        _Use("in training mode", lambda node: bool(node.get("training_mode", 0)) or len(node.outputs) > 1),
        _Use("with spatial=0", lambda node: not node.get("spatial", 1)),
    ),
    "MaxPool": (_Use("that gives indices", lambda node: len(node.outputs) > 1 and bool(node.outputs[1])),),
    "Constant": (
        _Use(
            "of strings or sparse",
            lambda node: bool({"value_string", "value_strings", "sparse_value"} & set(node.attributes)),
        ),
    ),
}
