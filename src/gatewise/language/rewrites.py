"""Rewrites of a cell into another cell: what the options of a layer do to the equations.

Both cells share the nodes that do not change. The old cell stays as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import Any

from gatewise.language import names
from gatewise.language.cell import Cell, Kind, Parameter
from gatewise.language.graph import RANDOM, Graph, Node, text
from gatewise.language.symbols import Code, Symbol, Trace

# The same rewrite of the same cell gives the same object, which is compiled once.
_remembered = functools.lru_cache(maxsize=256)


@_remembered
def without_random(cell: Cell) -> Cell:
    """The cell outside of training: `dropout` does nothing, `zoneout` gives its expected value."""

    def expected(graph: Graph, node: Node, args: Sequence[Node]) -> Node:
        if node.op == "dropout":
            return args[0]
        if node.op == "zoneout":
            old, new = args
            kept = graph.node("mul", graph.constant(node.value), old)
            return graph.node("add", kept, graph.node("mul", graph.constant(1 - node.value), new))
        return _again(graph, node, args)

    return rebuilt(cell, expected) if cell.is_random else cell


@_remembered
def written_out(cell: Cell) -> Cell:
    """The cell with every ``norm`` written out as arithmetic on ``mean``, for the compiler."""

    def by_means(graph: Graph, node: Node, args: Sequence[Node]) -> Node:
        if node.op != "norm":
            return _again(graph, node, args)
        mean = graph.node("mean", *args)
        # The derivative of the variance by the mean is 0, because deviations from the mean add up to 0. With
        # stop_gradient the gradient need not compute it, which would take one more pass for a mean.
        about = graph.node("stop_gradient", mean)
        centred = [graph.node("sub", arg, about) for arg in args]
        variance = graph.node("mean", *(graph.node("mul", value, value) for value in centred))
        root = graph.node("sqrt", graph.node("add", variance, graph.constant(node.value)))
        value = graph.node("sub", args[int(node.name)], mean)
        return graph.node("mul", value, graph.node("div", graph.constant(1), root))

    return rebuilt(cell, by_means)


@_remembered
def with_zoneout(cell: Cell, rates: tuple[float, ...]) -> Cell:
    """The cell whose states keep their old value with the given rates (Krueger et al. 2017, section 3.2)."""
    graph, first = cell.graph(), _draws(cell)
    new = {}
    for n, (state, node, rate) in enumerate(zip(cell.states, cell.next_states, rates, strict=True)):
        if rate:
            old, draw = cell.leaf("state", state), str(first + n)
            new[state] = graph.node("zoneout", old, node, name=draw, part="step", value=float(rate))
    return _with_states(cell, new)


@_remembered
def with_recurrent_dropout(cell: Cell, rate: float) -> Cell:
    """The cell with dropout on `seen`, with one mask for a whole sequence (Gal & Ghahramani 2016)."""
    draw = str(_draws(cell))
    seen = cell.graph().node("dropout", cell.seen, name=draw, part="sequence", value=float(rate))
    return replace(cell, seen=seen)


@_remembered
def projected(cell: Cell) -> Cell:
    """The cell with its output projected (Sak et al. 2014), as `torch.nn.LSTM` with ``proj_size``."""
    output = cell.next_states[0]
    return _with_states(cell, {cell.states[0]: cell.graph().node("project", output)})


def with_options(cell: Cell, projects: bool, zoneout: tuple[float, ...], recurrent_dropout: float) -> Cell:
    """The cell with the options of a layer written into its equations."""
    cell = projected(cell) if projects and not cell.projects else cell
    cell = with_zoneout(cell, zoneout) if any(zoneout) else cell
    return with_recurrent_dropout(cell, recurrent_dropout) if recurrent_dropout else cell


@dataclass(frozen=True)
class _Term:
    """A node of any graph, compared by its text."""

    text: str
    node: Node = field(compare=False)


def edited(cell: Cell, name: str, new: Node, mask: str, given: str = "") -> Cell:
    """The cell that uses `new` instead of the value `name`, where `mask` > 1/2.

    The mask is a new gate, fed by the input alone. `given`, if not empty, names one more such gate, which
    `new` may read. A pre-activation keeps its name, and its edited version is called by the name of the mask
    and that name: ``edit_0_f_bar``.

    ``a * b + c`` is a fused multiply-add, which rounds once. So that the rounding stays the same where
    nothing is edited, ``where`` selects between whole sums, not between products inside of sums.
    """
    return _edited(cell, name, _Term(text([new]), new), mask, given)


@_remembered
def _edited(cell: Cell, name: str, term: _Term, mask: str, given: str) -> Cell:
    graph, old = cell.graph(), cell.values[name]
    new = graph.own(term.node)
    gates = [Parameter(gate, Kind.INPUT) for gate in (mask, given) if gate]
    leaves = {names.bar(gate.name): graph.leaf("gate", gate.name, "x") for gate in gates}
    condition = graph.node("less", graph.constant(0.5), leaves[names.bar(mask)])
    after: dict[Node, Node] = {}
    for node in cell.nodes:
        again = _again(graph, node, [after[arg] for arg in node.args]) if node.args else node
        if node is old:
            again = graph.node("where", condition, new, again)
        elif old.op == "mul" and old in node.args and node.op in ("add", "sub"):
            of_new, of_old = (
                [value if arg is old else after[arg] for arg in node.args] for value in (new, old)
            )
            again = graph.node("where", condition, _again(graph, node, of_new), _again(graph, node, of_old))
        after[node] = again
    bars = (names.bar(old.name), names.bar(old.name, old.part)) if old.op == "gate" else ()
    values = {value: after[node] for value, node in cell.values.items()} | leaves
    values |= {f"{mask}_{bar}": after[old] for bar in bars if bar in values}
    values |= {bar: old for bar in bars if bar in values}
    return replace(
        cell,
        parameters=(*cell.parameters, *gates),
        next_states=tuple(after[node] for node in cell.next_states),
        values=values,
    )


def of_value(cell: Cell, name: str, function: Callable[[Any], Any]) -> Node:
    """The result of `function`, a ``def`` or ``lambda`` in the language, for the value `name` of the cell.

    Raises:
        CellError: the function breaks a rule of the language, needs weights, or is random.
    """
    assert isinstance(function, FunctionType)
    trace = Trace(cell.name, Code(function.__code__))
    trace.graph = cell.graph()
    node = trace.node_of(function(Symbol(trace, cell.values[name])), f"the edit of {name}")
    if any(trace.number(of) for of in ("linear", "project", "norm", "chance")):
        trace.fail(
            f"the edit of {name} needs weights or is random",
            "Use arithmetic: no linear, project, layer_norm, dropout or zoneout",
        )
    return node


def rebuilt(cell: Cell, change: Callable[[Graph, Node, Sequence[Node]], Node]) -> Cell:
    """The cell with every operation replaced by ``change(graph, node, new_arguments)``."""
    graph = cell.graph()
    new: dict[Node, Node] = {}
    for node in cell.nodes:
        new[node] = change(graph, node, [new[arg] for arg in node.args]) if node.args else node
    return replace(
        cell,
        next_states=tuple(new[node] for node in cell.next_states),
        values={name: new[node] for name, node in cell.values.items()},
        seen=new[cell.seen],
    )


def _again(graph: Graph, node: Node, args: Sequence[Node]) -> Node:
    return graph.node(node.op, *args, name=node.name, part=node.part, value=node.value)


def _with_states(cell: Cell, new: Mapping[str, Node]) -> Cell:
    """The cell with the next values of some states replaced."""
    pairs = zip(cell.states, cell.next_states, strict=True)
    next_states = tuple(new.get(state, node) for state, node in pairs)
    return replace(cell, next_states=next_states, values={**cell.values, **new})


def _draws(cell: Cell) -> int:
    """The lowest number that no random draw of the cell has."""
    return max((int(node.name) + 1 for node in cell.nodes if node.op in RANDOM), default=0)
