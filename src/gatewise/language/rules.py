"""The rules for the equations of a cell, each with its error message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gatewise.language import names
from gatewise.language.graph import Node, topological
from gatewise.language.parameters import Kind, Parameter
from gatewise.language.symbols import Symbol, Trace


def declarations_complete(states: Sequence[str], parameters: Sequence[Parameter], trace: Trace) -> None:
    """Refuse a cell without a state or an input, and names that the package reserves."""
    line = trace.source.first_line
    if not states:
        trace.fail("it has no state", "Make the state the first positional parameter: def f(h, *, a)", line)
    if not any(p.sees_input for p in parameters):
        trace.fail("no gate sees the input", "Declare a gate after the star: def f(h, *, a)", line)
    for p in parameters:
        if p.kind is Kind.VECTOR and names.is_of_norm(p.name):
            trace.fail(f"vector {p.name!r} has a name that is reserved for layer_norm", "Rename it", line)
    declared = {*states, *(p.name for p in parameters)}
    for gate in parameters:
        for name in declared.intersection(gate.bars):
            trace.fail(
                f"{name!r} is reserved for the pre-activation of gate {gate.name!r}", "Rename it", line
            )


def all_used(parameters: tuple[Parameter, ...], outputs: tuple[Node, ...], trace: Trace) -> None:
    """Refuse parameters that no returned state depends on: they would be learned for nothing."""
    used = {(node.op, node.name, node.part) for node in topological(outputs) if not node.args}
    for p in parameters:
        for leaf in p.leaves:
            if leaf not in used:
                label = f"{p.name}.{leaf[2]}" if p.kind is Kind.SPLIT else p.name
                trace.fail(
                    f"{p.kind.value} {label!r} is never used in what is returned",
                    "Use it, or remove the parameter",
                    trace.source.first_line,
                )


def norms_used(outputs: tuple[Node, ...], local_values: Mapping[str, Any], trace: Trace) -> None:
    """Refuse a result of `layer_norm` that no returned state depends on."""
    nodes = set(topological(outputs))
    called = {symbol._node: name for name, symbol in local_values.items() if isinstance(symbol, Symbol)}
    for normal in trace.norms:
        if normal.value not in nodes:
            what = (
                repr(called[normal.value]) if normal.value in called else "a result of this layer_norm(...)"
            )
            trace.fail(
                f"{what} is normalised and never used in what is returned",
                "Use it, or remove it from the layer_norm",
                normal.line,
            )


def products_in_place(states: tuple[str, ...], outputs: tuple[Node, ...], trace: Trace) -> None:
    """Refuse an unused `linear` or `project`, and a projected vector anywhere but in the output."""
    nodes, line = list(topological(outputs)), trace.source.first_line
    if sum(node.op == "linear" for node in nodes) < trace.number("linear"):
        trace.fail("a linear(...) is never used in what is returned", "Use it, or remove it", line)
    projected = {node for node in nodes if node.op == "project"}
    if len(projected) < trace.number("project"):
        trace.fail("a project(...) is never used in what is returned", "Use it, or remove it", line)
    if not projected <= {outputs[0]} or projected & {*outputs[1:], *(a for n in nodes for a in n.args)}:
        trace.fail(
            "a projected vector is used in a computation",
            f"It is narrower than the others: only return it, as the next value of {states[0]!r}",
            line,
        )
    if projected and trace.graph.leaf("state", states[0]) in nodes:
        trace.fail(
            f"the body uses its output {states[0]!r}, which is projected",
            "A projected output is narrower than the other vectors. Use it only through gates",
            line,
        )
