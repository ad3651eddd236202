"""Cells made of other cells: what layers do with their options.

The new cell shares what it leaves alone with the old one, whose nodes it never adds to.
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
from gatewise.language.symbols import Symbol, Trace

# The same cell for the same change, so that it is compiled once.
_remembered = functools.lru_cache(maxsize=256)


@_remembered
def without_random(cell: Cell) -> Cell:
    """The cell outside of training: nothing is dropped, and `zoneout` is its expected value."""

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
    """The cell with every ``norm`` in terms of ``mean``, as compilers want it."""

    def by_means(graph: Graph, node: Node, args: Sequence[Node]) -> Node:
        if node.op != "norm":
            return _again(graph, node, args)
        mean = graph.node("mean", *args)
        # The variance does not change with the mean (values about their mean add up to 0): to know that
        # spares a gradient one mean that waits for another.
        about = graph.node("stop_gradient", mean)
        centred = [graph.node("sub", arg, about) for arg in args]
        variance = graph.node("mean", *(graph.node("mul", value, value) for value in centred))
        root = graph.node("sqrt", graph.node("add", variance, graph.constant(node.value)))
        value = graph.node("sub", args[int(node.name)], mean)
        return graph.node("mul", value, graph.node("div", graph.constant(1), root))

    return rebuilt(cell, by_means)


@_remembered
def with_zoneout(cell: Cell, rates: tuple[float, ...]) -> Cell:
    """Each state kept as it was, with the rate given for it (Krueger et al. 2017, section 3.2)."""
    graph, first = cell.graph(), _draws(cell)
    new = {}
    for n, (state, node, rate) in enumerate(zip(cell.states, cell.next_states, rates, strict=True)):
        if rate:
            old, draw = cell.leaf("state", state), str(first + n)
            new[state] = graph.node("zoneout", old, node, name=draw, part="step", value=float(rate))
    return _with_states(cell, new)


@_remembered
def with_recurrent_dropout(cell: Cell, rate: float) -> Cell:
    """What the gates see of the state dropped out, one mask a sequence (Gal & Ghahramani 2016)."""
    draw = str(_draws(cell))
    seen = cell.graph().node("dropout", cell.seen, name=draw, part="sequence", value=float(rate))
    return replace(cell, seen=seen)


@_remembered
def projected(cell: Cell) -> Cell:
    """The cell with its output projected (Sak et al. 2014), as `torch.nn.LSTM` with ``proj_size``."""
    output = cell.next_states[0]
    return _with_states(cell, {cell.states[0]: cell.graph().node("project", output)})


def with_options(cell: Cell, projects: bool, zoneout: tuple[float, ...], recurrent_dropout: float) -> Cell:
    """The cell with what the arguments of a layer make of it."""
    cell = projected(cell) if projects and not cell.projects else cell
    cell = with_zoneout(cell, zoneout) if any(zoneout) else cell
    return with_recurrent_dropout(cell, recurrent_dropout) if recurrent_dropout else cell


@dataclass(frozen=True)
class _Term:
    """A node of any graph, compared by what it says."""

    text: str
    node: Node = field(compare=False)


def edited(cell: Cell, name: str, new: Node, mask: str, given: str = "") -> Cell:
    """The cell whose value `name` is replaced by `new`, for everything that reads it, where `mask` > 1/2.

    The mask is a further gate, fed by the input alone; `given`, if named, is one more, which `new` may read.
    A pre-activation keeps its name, and the edited one is called by the mask and that: ``edit_0_f_bar``.

    ``a * b + c`` is fused. To keep its rounding where nothing is edited, a product inside of sums is not
    replaced itself: ``where`` selects between whole sums.
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
    """What a function in the language, made by ``def`` or ``lambda``, makes of the value `name`.

    Raises:
        CellError: it breaks a rule of the language, or would need weights or draws of its own.
    """
    assert isinstance(function, FunctionType)
    trace = Trace(cell.name, function.__code__)
    trace.graph = cell.graph()
    node = trace.node_of(function(Symbol(trace, cell.values[name])), f"the edit of {name}")
    if any(trace.number(of) for of in ("linear", "project", "norm", "chance")):
        trace.fail(
            f"the edit of {name} asks for weights or for chance of its own",
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
    """The cell with other next values of some states."""
    pairs = zip(cell.states, cell.next_states, strict=True)
    next_states = tuple(new.get(state, node) for state, node in pairs)
    return replace(cell, next_states=next_states, values={**cell.values, **new})


def _draws(cell: Cell) -> int:
    """The number of the first draw that nothing in the cell has."""
    return max((int(node.name) + 1 for node in cell.nodes if node.op in RANDOM), default=0)
