"""Which biases open the gates that keep a state, and those that write to it: read off the equations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from gatewise.language.cell import Cell
from gatewise.language.graph import Node, topological

# The leaves whose biases add up inside one sigmoid: gates, and biases of `layer_norm`.
Biases: TypeAlias = tuple[Node, ...]


def keeping(cell: Cell) -> tuple[Biases, ...]:
    """The biases of each sigmoid that multiplies a state in its own next value, in the order of the states.

    ``f`` of an LSTM (``c = f * c + i * g``), ``z`` of a GRU (``h = (1 - z) * n + z * h``). What is normalised
    forgets its own bias, so the one of `layer_norm` stands for it.
    """
    return _distinct(_biases(kept) for kept, _ in _sums(cell))


def writing(cell: Cell) -> tuple[Biases, ...]:
    """The biases of each sigmoid that multiplies what is added to a kept state: ``i`` of an LSTM."""
    added = (added for kept, added in _sums(cell) if _biases(kept))
    return _distinct(_biases(factor) for term in added for factor in term.args if term.op == "mul")


def _distinct(found: Iterator[Biases]) -> tuple[Biases, ...]:
    return tuple(dict.fromkeys(filter(None, found)))


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


def _biases(factor: Node) -> Biases:
    """The biases that are added up in a factor, if it is a sigmoid."""
    if factor.op != "sigmoid":
        return ()
    leaves = _summands(factor.args[0])
    return tuple(leaf for leaf in leaves if leaf.op == "gate" or leaf.name.startswith("norm_bias_"))


def _summands(node: Node) -> Iterator[Node]:
    """The terms of a sum that are not taken away from it."""
    if node.op == "add":
        for arg in node.args:
            yield from _summands(arg)
    elif node.op == "sub":
        yield from _summands(node.args[0])
    else:
        yield node
