"""Inlining: functions of a file, and operators that the standard defines by other operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from onnx import ModelProto, NodeProto, defs, inliner

from gatewise.interop.onnx import OnnxError
from gatewise.interop.onnx.survey import SERVED

# Most nodes that a file may have after inlining.
_MOST_NODES = 200_000
# How deep functions may call each other.
_DEEPEST = 100


def written_out(model: ModelProto, opset: int) -> ModelProto:
    """The model with its functions inlined, as far as possible.

    Raises:
        OnnxError: there would be too many nodes.
    """
    unserved = any(_has_definition(node, opset) for node in _nodes(model.graph.node))
    if not model.functions and not unserved:
        return model
    _refuse_too_many(model)
    kept = [("", operator) for operator in SERVED]
    try:
        return inliner.inline_selected_functions(model, kept, exclude=True, inline_schema_functions=True)
    except RuntimeError:  # the definition of an operator depends on unknown types
        return inliner.inline_local_functions(model)


def _nodes(nodes: Sequence[NodeProto]) -> Iterator[NodeProto]:
    """Nodes, and the nodes of the graphs inside them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            yield from _nodes(attribute.g.node)


def _has_definition(node: NodeProto, opset: int) -> bool:
    """Whether an operator is not supported here, but the standard defines it by other operators."""
    if node.domain not in ("", "ai.onnx") or node.op_type in SERVED or not defs.has(node.op_type):
        return False
    try:
        schema = defs.get_schema(node.op_type, opset)
    except defs.SchemaError:
        return False
    return any(getattr(schema, kind) for kind in ("has_function", "has_context_dependent_function"))


def _refuse_too_many(model: ModelProto) -> None:
    functions = {(f.domain, f.name): f.node for f in model.functions}
    count = _written_out(model.graph.node, functions, {}, 0)
    if count > _MOST_NODES:
        raise OnnxError(f"its functions expand to {count} nodes; the limit is {_MOST_NODES}")


def _written_out(
    nodes: Sequence[NodeProto],
    functions: Mapping[tuple[str, str], Sequence[NodeProto]],
    counts: dict[tuple[str, str], int],
    depth: int,
) -> int:
    """The number of nodes after inlining. `counts` caches the numbers of functions seen before."""
    if depth > _DEEPEST:
        raise OnnxError(f"its functions call each other to a depth of more than {_DEEPEST}, or in a cycle")
    total = 0
    for node in _nodes(nodes):
        name = node.domain, node.op_type
        if name in functions and name not in counts:
            counts[name] = _written_out(functions[name], functions, counts, depth + 1)
        total += 1 + counts.get(name, 0)
    return total
