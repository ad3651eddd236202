"""Finds the states of a cell that are kept by a gate, in its graph.

A state s is kept by a gate if its next value is affine in s: ``s' = k * s + w``, where neither k nor w
contains s. For the LSTM's c, ``k = f`` and ``w = i * g``; for the GRU's h, ``k = z`` and ``w = (1 - z) * n``.
Gates may depend on the old output through the recurrent weights: that does not count as containing s.

The analyses need this identity exactly. `gatewise.language.gating` is less strict: it also accepts a
peephole, whose gate contains s.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from gatewise.language import Cell
from gatewise.language.graph import Graph, Node, topological


class Kept(NamedTuple):
    """A state that is kept by a gate: ``s' = keep * s + write``."""

    state: str
    keep: Node
    write: Node
    gate: str

    @property
    def nodes(self) -> dict[str, Node]:
        """The nodes of `keep` and `write`, by name."""
        return {"keep": self.keep, "write": self.write}


def kept_states(cell: Cell) -> dict[str, Kept]:
    """The states of `cell` that are kept by a gate, by name, in the order of the cell.

    Example:
        >>> from gatewise import cells
        >>> from gatewise.insight.keeping import kept_states
        >>> [(state, kept.gate) for state, kept in kept_states(cells.lstm).items()]
        [('c', 'f')]
        >>> list(kept_states(cells.rnn))
        []
    """
    return {kept.state: kept for kept in _kept(cell)}


@lru_cache  # the same nodes each time, so that their kernel is compiled once
def _kept(cell: Cell) -> tuple[Kept, ...]:
    names = {node: name for name, node in cell.values.items()}
    graph, found = cell.graph(), []
    for state, node in zip(cell.states, cell.next_states, strict=True):
        parts = _affine(graph, node, cell.leaf("state", state))
        keep, write = parts or (None, None)
        if keep is not None:
            gate = names.get(keep, f"what keeps {state}")
            found.append(Kept(state, keep, write or graph.constant(0), gate))
    return tuple(found)


def kept_state(cell: Cell, state: str | None, who: str) -> Kept:
    """The kept state named `state`; by default the last one, which is the memory of a cell with several.

    Raises:
        ValueError: the cell has no kept state, or none with that name.
    """
    found = kept_states(cell)
    if not found:
        raise ValueError(f"{who}: no state of cell {cell.name!r} is kept by a gate (s' = k * s + w).")
    if state is not None and state not in found:
        raise ValueError(f"{who}: state must be one that a gate keeps ({', '.join(found)}). Got {state!r}.")
    return found[next(reversed(found)) if state is None else state]


_Part = Node | None  # None: there is no such term


def _affine(graph: Graph, value: Node, state: Node) -> tuple[_Part, _Part] | None:
    """The factor of `state` in `value`, and the rest; None if `value` is not affine in `state`."""
    found: dict[Node, tuple[_Part, _Part] | None] = {state: (graph.constant(1), None)}
    for node in topological([value]):
        parts = [part for arg in node.args if (part := found[arg]) is not None]
        if node in found:
            continue
        if len(parts) < len(node.args):
            found[node] = None
        elif all(factor is None for factor, _ in parts):
            found[node] = None, node
        else:
            found[node] = _SUMS[node.op](graph, node, parts) if node.op in _SUMS else None
    return found[value]


_Parts = list[tuple[_Part, _Part]]


def _sum(graph: Graph, node: Node, parts: _Parts) -> tuple[_Part, _Part]:
    (k, w), (l, v) = parts
    return _joined(graph, node.op, k, l), _joined(graph, node.op, w, v)


def _joined(graph: Graph, op: str, a: _Part, b: _Part) -> _Part:
    if b is None:
        return a
    if a is None:
        return graph.node("neg", b) if op == "sub" else b
    return graph.node(op, a, b)


def _product(graph: Graph, node: Node, parts: _Parts) -> tuple[_Part, _Part] | None:
    (k, w), (l, v) = parts
    if k is not None and l is not None:
        return None  # its square
    if k is None:
        (k, w), (l, v) = (l, v), (k, w)
    assert v is not None  # the factor without the state
    return graph.node("mul", k, v) if k else None, graph.node("mul", w, v) if w else None


def _quotient(graph: Graph, node: Node, parts: _Parts) -> tuple[_Part, _Part] | None:
    (k, w), (l, v) = parts
    if l is not None or v is None:
        return None
    return graph.node("div", k, v) if k else None, graph.node("div", w, v) if w else None


def _negative(graph: Graph, node: Node, parts: _Parts) -> tuple[_Part, _Part]:
    ((k, w),) = parts
    return graph.node("neg", k) if k else None, graph.node("neg", w) if w else None


def _choice(graph: Graph, node: Node, parts: _Parts) -> tuple[_Part, _Part] | None:
    """For `where`, `dropout` and `zoneout`: apply the operation to the factors and to the rests."""
    if node.op == "where":
        (in_condition, _), *parts = parts
        if in_condition is not None or node.args[0].op == "constant":
            return None
    chosen = []
    for column in zip(*parts, strict=True):
        args = [graph.constant(0) if part is None else part for part in column]
        head = node.args[:1] if node.op == "where" else ()
        chosen.append(graph.node(node.op, *head, *args, name=node.name, part=node.part, value=node.value))
    return chosen[0], chosen[1]


_SUMS = {
    "add": _sum,
    "sub": _sum,
    "mul": _product,
    "div": _quotient,
    "neg": _negative,
    "where": _choice,
    "dropout": _choice,
    "zoneout": _choice,
}
