"""Which operator of ONNX a cell is: found by its graph, whatever its names and their order.

Sums and products may have their sides the other way round; otherwise the equations must be those that
`cells` states. A cell that computes the same in another way is not found, and is none the worse for it: it
becomes a `Scan`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import NamedTuple

from gatewise.interop.onnx.activations import Activation
from gatewise.interop.onnx.cells import ACTIVATIONS, Variant, cell_of
from gatewise.language import Cell
from gatewise.language.graph import Node

_COMMUTATIVE = frozenset({"add", "mul", "maximum", "minimum"})


class Native(NamedTuple):
    """A cell as an operator of ONNX; `names` has the cell's name for each parameter of the operator's."""

    variant: Variant
    names: Mapping[str, str]


def native(cell: Cell) -> Native | None:
    """The operator that computes what `cell` does, or None where there is none.

    Example:
        >>> from gatewise import cells
        >>> from gatewise.interop.onnx.match import native
        >>> sorted(native(cells.gru).names.items())
        [('n', 'n'), ('r', 'r'), ('z', 'z')]
    """
    for variant in _VARIANTS:
        names = match(cell_of(variant), cell)
        if names is not None:
            return Native(variant, names)
    return None


def _variants() -> Iterator[Variant]:
    yield from (Variant("RNN", (Activation(name),)) for name in ("Tanh", "Relu", "Sigmoid"))
    gru, lstm = ([Activation(name) for name in ACTIVATIONS[operator]] for operator in ("GRU", "LSTM"))
    yield from (Variant("GRU", tuple(gru), linear_before_reset=after) for after in (True, False))
    for peepholes in (False, True):
        for coupled in (False, True):
            yield Variant("LSTM", tuple(lstm), input_forget=coupled, peepholes=peepholes)


_VARIANTS = tuple(_variants())


def match(pattern: Cell, cell: Cell) -> dict[str, str] | None:
    """For each parameter of `pattern` that of `cell` in its place, if both state the same; else None."""
    counts = [(len(c.states), len(c.parameters), len(c.linears)) for c in (pattern, cell)]
    if counts[0] != counts[1] or cell.seen.op != "state":
        return None
    states = dict(zip(pattern.states, cell.states, strict=True))
    pairs = list(zip(pattern.next_states, cell.next_states, strict=True))
    return next(_unified(pairs, states, {}), None)


def _unified(
    pairs: Sequence[tuple[Node, Node]], states: Mapping[str, str], names: dict[str, str]
) -> Iterator[dict[str, str]]:
    """Every way to name parameters, beyond `names`, by which the nodes of all pairs say the same."""
    if not pairs:
        yield names
        return
    (a, b), rest = pairs[0], pairs[1:]
    if (a.op, a.part, a.value, len(a.args)) != (b.op, b.part, b.value, len(b.args)):
        return
    if a.op == "state":
        if states[a.name] == b.name:
            yield from _unified(rest, states, names)
    elif a.op in ("gate", "vector"):
        if names.get(a.name, b.name) == b.name and (a.name in names or b.name not in names.values()):
            yield from _unified(rest, states, {**names, a.name: b.name})
    else:
        orders = permutations(b.args) if a.op in _COMMUTATIVE else [b.args]
        for args in orders:
            yield from _unified([*zip(a.args, args, strict=True), *rest], states, names)
