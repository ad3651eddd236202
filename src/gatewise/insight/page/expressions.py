"""Terms of a cell as JSON, which the page evaluates and displays: ``["mul", ["v", "f"], ["s", "c"]]``.

``["v", name]`` is a recorded value of the step, ``["s", name]`` a state before the step, ``["p", name]`` a
learned vector; a number is itself; everything else is an operation of `gatewise.language.graph` with its
arguments. Operations on several units, and pre-activations, are not written as terms but recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from gatewise.insight.keeping import Kept
from gatewise.language import Cell
from gatewise.language.graph import OPERATIONS, RANDOM, Node, topological

Expression: TypeAlias = float | list[Any]
_MOST_TERMS = 200  # most terms of a readable expression


def recorded(cell: Cell) -> list[str]:
    """The names of the values to show: all but the pre-activations, which add nothing to their gates."""
    return [name for name, node in cell.values.items() if node.op != "gate" or name in cell.states]


def names_of(cell: Cell) -> dict[Node, str]:
    """The nodes that terms refer to by name."""
    return {cell.values[name]: name for name in recorded(cell) if cell.values[name].args}


def expression(node: Node, names: Mapping[Node, str], by_name: bool = True) -> Expression | None:
    """A node as a term of recorded values (`names`); None if it needs other values, or is too long.

    Example:
        >>> from gatewise import cells
        >>> names = names_of(cells.lstm)
        >>> expression(cells.lstm.values["c"], names, by_name=False)
        ['add', ['mul', ['v', 'f'], ['s', 'c']], ['mul', ['v', 'i'], ['v', 'g']]]
    """
    if by_name and node in names:
        return ["v", names[node]]
    return _written(node, names) if _terms(node, names) <= _MOST_TERMS else None


def _terms(node: Node, names: Mapping[Node, str]) -> int:
    """The number of terms of a node when written out."""
    count: dict[Node, int] = {}
    for inner in topological([node]):
        known = inner in names and inner is not node
        count[inner] = 1 if known else 1 + sum(count[arg] for arg in inner.args)
    return count[node]


def _written(node: Node, names: Mapping[Node, str]) -> Expression | None:
    if node.op == "constant":
        return node.value
    if node.op in ("state", "vector"):
        return ["s" if node.op == "state" else "p", node.name]
    if node.op not in OPERATIONS and node.op not in RANDOM:
        return None
    parts = [["v", names[arg]] if arg in names else _written(arg, names) for arg in node.args]
    if any(part is None for part in parts):
        return None
    return _plainer([node.op, *parts, *([node.value] if node.op in RANDOM else [])])


def _plainer(term: list[Any]) -> list[Any]:
    """``1 - d`` for ``1 + (-1) * d``."""
    match term:
        case ["mul", -1.0, part]:
            return ["neg", part]
        case ["add", left, ["neg", part]]:
            return ["sub", left, part]
    return term


def remembered(cell: Cell) -> dict[str, Kept]:
    """States whose next value has the form ``keep * old + write``, even if `keep` or `write` depends on old.

    An example is the memory of an LSTM with peepholes. As the state is not affine in its old value, it has no
    ledger (`gatewise.insight.keeping`).

    Example:
        >>> from gatewise import cells
        >>> remembered(cells.lstm_peephole)["c"].gate
        'f'
    """
    names, found = names_of(cell), {}
    for state, node in zip(cell.states, cell.next_states, strict=True):
        old = cell.leaf("state", state)
        for product, rest in (node.args, node.args[::-1]) if node.op == "add" else ():
            if product.op == "mul" and old in product.args and rest is not old:
                keep = product.args[product.args[0] is old]
                found[state] = Kept(state, keep, rest, names.get(keep, f"what keeps {state}"))
                break
    return found
