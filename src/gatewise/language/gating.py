"""Which gates of a cell keep a state, and which let something new in: read off its equations."""

from __future__ import annotations

from collections.abc import Iterator

from gatewise.language.cell import Cell
from gatewise.language.graph import Node, topological


def keeping_gates(cell: Cell) -> tuple[str, ...]:
    """Names of the gates whose sigmoid multiplies a state in its own next value, in the order of the states.

    ``f`` of an LSTM (``c = f * c + i * g``), ``z`` of a GRU (``h = (1 - z) * n + z * h``).
    """
    return tuple(dict.fromkeys(name for kept, _ in _sums(cell) for name in _gates(kept)))


def writing_gates(cell: Cell) -> tuple[str, ...]:
    """Names of the gates whose sigmoid multiplies what is added to a kept state: ``i`` of an LSTM."""
    factors = (factor for _, added in _sums(cell) for factor in added.args if added.op == "mul")
    return tuple(dict.fromkeys(name for factor in factors for name in _gates(factor)))


def _sums(cell: Cell) -> Iterator[tuple[Node, Node]]:
    """For each ``k * s + w`` in the next value of a state s: k and w."""
    for state, value in zip(cell.states, cell.next_states, strict=True):
        old = cell.graph.leaf("state", state)
        for node in topological([value]):
            if node.op == "add":
                a, b = node.args
                for product, other in ((a, b), (b, a)):
                    if product.op == "mul" and old in product.args:
                        yield product.args[0] if product.args[1] is old else product.args[1], other


def _gates(factor: Node) -> Iterator[str]:
    """The gates that a sigmoid opens, if the factor is one."""
    if factor.op == "sigmoid":
        yield from (node.name for node in _summands(factor.args[0]) if node.op == "gate" and node.part != "h")


def _summands(node: Node) -> Iterator[Node]:
    if node.op in ("add", "sub"):
        for arg in node.args:
            yield from _summands(arg)
    elif node.op == "mul" and any(arg.op == "norm" for arg in node.args):
        for norm in (arg for arg in node.args if arg.op == "norm"):
            yield norm.args[int(norm.name)]
    else:
        yield node
