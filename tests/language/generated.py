# mypy: allow-untyped-defs, allow-incomplete-defs
"""Random cells as graphs: any arithmetic, and every argument of operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from gatewise import Cell
from gatewise.language import Kind, Parameter
from gatewise.language.cell import Origin
from gatewise.language.form import ARITY
from gatewise.language.graph import COMPARISONS, OPERATIONS, Graph, Node, topological


@st.composite
def random_cells(draw: Callable[..., Any], more: tuple[str, ...] = ()) -> Cell:
    """Cells whose output depends on every parameter; `more` are operations besides arithmetic."""
    graph = Graph()
    states = tuple("hcmn"[: draw(st.integers(1, 3))])
    kinds = draw(st.lists(st.sampled_from(list(Kind)), max_size=4))
    parameters = (Parameter("a", Kind.GATE), *(Parameter(f"p{n}", kind) for n, kind in enumerate(kinds)))
    fed = [graph.leaf(*leaf) for p in parameters for leaf in p.leaves]
    bars = [bar for p in parameters for bar in p.bars]
    values = dict(zip(bars, (leaf for leaf in fed if leaf.op == "gate"), strict=True))
    numbers = [*fed, *(graph.leaf("state", state) for state in states)]
    linears: list[Node] = []
    operations = [op for op in OPERATIONS if op not in COMPARISONS]
    for n in range(draw(st.integers(0, 12))):
        op = draw(st.sampled_from([*operations, *more]))
        args = [draw(st.sampled_from(numbers)) for _ in range(ARITY[op] or draw(st.integers(1, 3)))]
        if op in OPERATIONS and draw(st.booleans()):
            args[-1] = graph.constant(draw(st.floats(allow_nan=False)))
        if op == "where":
            args[0] = graph.node(
                draw(st.sampled_from(sorted(COMPARISONS))), args[0], graph.leaf("state", "h")
            )
            if args[0].op == "constant":
                continue
        made = graph.node(op, *args, **_told(draw, op, args, n, linears))
        if any(node.op == "constant" and math.isnan(node.value) for node in topological([made])):
            continue
        numbers.append(made)
        if op == "linear":
            linears.append(made)
        if draw(st.booleans()):
            values[f"v{n}"] = made
    output = draw(st.sampled_from(numbers))
    for leaf in (*fed, *linears):
        output = graph.node("add", output, leaf)
    after = (output, *(draw(st.sampled_from(numbers)) for _ in states[1:]))
    values |= dict(zip(states, after, strict=True))
    return Cell(
        Origin("random", "random", __name__), states, parameters, after, values, graph.leaf("state", "h")
    )


def _told(draw: Callable[..., Any], op: str, args: list[Node], n: int, linears: list[Node]) -> dict[str, Any]:
    """The arguments of an operation that are not terms; `n` is a number that no other operation has."""
    match op:
        case "linear":
            return {"name": str(len(linears))}
        case "norm":
            name = str(draw(st.integers(0, len(args) - 1)))
            return {"name": name, "value": draw(st.sampled_from([1e-5, 0.0, 1.5]))}
        case "dropout" | "zoneout":
            part = draw(st.sampled_from(["step", "sequence"])) if op == "dropout" else "step"
            return {"name": str(n), "part": part, "value": draw(st.sampled_from([0.0, 0.25, 1 / 3]))}
    return {}
