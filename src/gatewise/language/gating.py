"""Finds the gates that keep a state and the gates that write to it, with their biases, in the equations.

A gate counts even if it sees the state that it keeps, as through a peephole: its bias still opens it. The
analyses in `gatewise.insight.keeping` are stricter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gatewise.language.cell import Cell
from gatewise.language.graph import Node, topological


class Gate(NamedTuple):
    """A factor ``sigmoid(a)``, or ``1 - sigmoid(a)``, which is ``sigmoid(-a)``.

    Attributes:
        biases: the leaves whose biases add up in ``a``: gates, and biases of `layer_norm`.
        sign: the sign of ``a`` in the sigmoid, 1 or -1.
    """

    biases: tuple[Node, ...]
    sign: int


def keeping(cell: Cell) -> tuple[Gate, ...]:
    """The gates that multiply a state in its own next value, in the order of the states.

    Examples: ``f`` of an LSTM (``c = f * c + i * g``), ``z`` of a GRU (``h = (1 - z) * n + z * h``), and
    ``1 - z`` of a cell with ``h = z * n + (1 - z) * h``. Normalising removes the bias of a gate; the bias of
    the `layer_norm` counts instead.
    """
    return _distinct(_gate(kept) for kept, _ in _sums(cell))


def writing(cell: Cell) -> tuple[Gate, ...]:
    """The gates that multiply what is added to a kept state: ``i`` of an LSTM."""
    added = (added for kept, added in _sums(cell) if _gate(kept))
    return _distinct(_gate(factor) for term in added for factor in term.args if term.op == "mul")


def places(cell: Cell, gate: Gate) -> Iterator[tuple[str, int]]:
    """Where the biases of a gate are: names of weights, and the block of H numbers in each.

    A gate of the cell has one bias for its input and one for the state.
    """
    for leaf in gate.biases:
        if leaf.op == "vector":
            yield leaf.name, 0
        for side, name, order in (("x", "bias_ih", cell.input_gates), ("h", "bias_hh", cell.state_gates)):
            if leaf.op == "gate" and leaf.part in ("", side):
                yield name, order.index(leaf.name)


def _distinct(found: Iterator[Gate | None]) -> tuple[Gate, ...]:
    return tuple(dict.fromkeys(gate for gate in found if gate))


def _sums(cell: Cell) -> Iterator[tuple[Node, Node]]:
    """The pair (k, w) for each ``k * s + w`` in the next value of a state s."""
    for state, value in zip(cell.states, cell.next_states, strict=True):
        old = cell.leaf("state", state)
        for node in topological([value]):
            if node.op == "add":
                a, b = node.args
                for product, other in ((a, b), (b, a)):
                    if product.op == "mul" and old in product.args:
                        yield product.args[0] if product.args[1] is old else product.args[1], other


def _gate(factor: Node) -> Gate | None:
    """The gate that a factor is, or None if it is not a gate with biases."""
    sign = 1
    if factor.op == "sub" and factor.args[0].op == "constant" and factor.args[0].value == 1:
        factor, sign = factor.args[1], -1
    if factor.op != "sigmoid":
        return None
    leaves = _summands(factor.args[0])
    biases = tuple(leaf for leaf in leaves if leaf.op == "gate" or leaf.name.startswith("norm_bias_"))
    return Gate(biases, sign) if biases else None


def _summands(node: Node) -> Iterator[Node]:
    """The terms that a sum adds (not those that it subtracts), each once."""
    stack, seen = [node], set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.op == "add":
            stack.extend(reversed(node.args))
        elif node.op == "sub":
            stack.append(node.args[0])
        else:
            yield node
