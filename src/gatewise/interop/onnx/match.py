"""Finds the ONNX operator that computes a cell, by its graph, whatever its names and their order.

Each operator is a pattern: a cell with holes (`cells.pattern_of`) for its activations, for their numbers and
for the bound of its clipping. The sides of sums and products may be swapped, and a few terms may be written
in either of two ways (`_usual`). Otherwise the equations must be exactly those in `cells`. A cell that
computes the same in another way is not recognised; it is exported as a `Scan`, which is correct too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import NamedTuple

from gatewise.interop.onnx.activations import Activation, Written, ways_to_write
from gatewise.interop.onnx.cells import CLIP, SLOTS, Variant, pattern_of
from gatewise.language import Cell
from gatewise.language.graph import Node

_COMMUTATIVE = frozenset({"add", "mul", "maximum", "minimum"})


class Native(NamedTuple):
    """The ONNX operator for a cell. `names` maps the operator's parameters to those of the cell."""

    variant: Variant
    names: Mapping[str, str]


class _Found(NamedTuple):
    """The values of the holes: parameters, activations and numbers, by their names in the pattern."""

    names: dict[str, str]
    activations: dict[str, Written]
    numbers: dict[str, float]


def native(cell: Cell) -> Native | None:
    """The operator that computes what `cell` computes, or None if there is none.

    Example:
        >>> from gatewise import cells
        >>> from gatewise.interop.onnx.match import native
        >>> native(cells.lstm_hard_sigmoid).variant.activations[0]
        Activation(name='HardSigmoid', alpha=0.2, beta=0.5)
    """
    for variant in _VARIANTS:
        found = _match(pattern_of(variant), cell)
        if found is not None:
            return Native(_filled(variant, found), found.names)
    return None


def _variants() -> Iterator[Variant]:
    """All operators with all attributes, but without activations. ``clip=1`` stands for any clipping."""
    for clip in (None, 1.0):
        yield Variant("RNN", (), clip)
        for after in (True, False):
            yield Variant("GRU", (), clip, linear_before_reset=after)
        for peepholes in (False, True):
            for coupled in (False, True):
                yield Variant("LSTM", (), clip, input_forget=coupled, peepholes=peepholes)


_VARIANTS = tuple(_variants())


def _filled(variant: Variant, found: _Found) -> Variant:
    activations = []
    for slot in SLOTS[variant.operator]:
        written, numbers = found.activations[slot], dict.fromkeys(("alpha", "beta"), 0.0)
        numbers |= {name: found.numbers.get(f"{slot} {name}", value) for name, value in written.numbers}
        activations.append(Activation(written.name, **numbers))
    return variant._replace(activations=tuple(activations), clip=found.numbers.get(CLIP))


def _match(pattern: Cell, cell: Cell) -> _Found | None:
    counts = [(len(c.states), len(c.parameters), len(c.linears)) for c in (pattern, cell)]
    if counts[0] != counts[1] or cell.seen.op != "state":
        return None
    states = dict(zip(pattern.states, cell.states, strict=True))
    pairs = list(zip(pattern.next_states, cell.next_states, strict=True))
    return next(_unified(pairs, states, _Found({}, {}, {})), None)


def _unified(
    pairs: Sequence[tuple[Node, Node]], states: Mapping[str, str], found: _Found
) -> Iterator[_Found]:
    """All ways to fill the holes, starting from `found`, that make the two nodes of every pair equal."""
    if not pairs:
        yield found
        return
    (a, b), rest = pairs[0], pairs[1:]
    if a.op == "activation":
        before = found.activations.get(a.name)
        for written in ways_to_write() if before is None else (before,):
            known = found._replace(activations={**found.activations, a.name: written})
            yield from _unified([(_applied(written.root, a), b), *rest], states, known)
        return
    a = _usual(a)
    for other in _ways(_usual(b)):
        yield from _alike(a, other, rest, states, found)


def _alike(
    a: Node, b: Node, rest: Sequence[tuple[Node, Node]], states: Mapping[str, str], found: _Found
) -> Iterator[_Found]:
    """As `_unified`, without rewriting `a` and `b`."""
    if a.op == "number":
        value = b.value * a.value  # a.value is 1 or -1
        if b.op == "constant" and found.numbers.get(a.name, value) == value and _allowed(a.name, value):
            yield from _unified(rest, states, found._replace(numbers={**found.numbers, a.name: value}))
    elif (a.op, a.part, a.value, len(a.args)) != (b.op, b.part, b.value, len(b.args)):
        return
    elif a.op == "state":
        if states[a.name] == b.name:
            yield from _unified(rest, states, found)
    elif a.op in ("gate", "vector"):
        names = found.names
        if names.get(a.name, b.name) == b.name and (a.name in names or b.name not in names.values()):
            yield from _unified(rest, states, found._replace(names={**names, a.name: b.name}))
    else:
        orders = permutations(b.args) if a.op in _COMMUTATIVE else [b.args]
        for args in orders:
            yield from _unified([*zip(a.args, args, strict=True), *rest], states, found)


def _allowed(name: str, value: float) -> bool:
    return name != CLIP or value > 0


def _applied(root: Node, hole: Node) -> Node:
    """The activation of a hole, applied to the argument of the hole."""
    if root.op == "argument":
        return hole.args[0]
    name = f"{hole.name} {root.name}" if root.op == "number" else root.name
    return Node(root.op, tuple(_applied(arg, hole) for arg in root.args), name, root.part, root.value)


def _usual(node: Node) -> Node:
    """Canonical form: ``relu(x)`` as ``maximum(x, 0)``, ``x / 2`` as ``x * 0.5``, ``x - 1`` as ``x + -1``."""
    if node.op == "relu":
        return Node("maximum", (*node.args, Node("constant")))
    if node.op in ("sub", "div") and node.args[1].op == "constant" and node.args[1].value:
        x, number = node.args[0], node.args[1].value
        op, value = ("add", -number) if node.op == "sub" else ("mul", 1 / number)
        return Node(op, (x, Node("constant", value=value)))
    return node


def _ways(node: Node) -> Iterator[Node]:
    """A node as it is, and ``maximum(minimum(x, 1), 0)`` also as ``minimum(maximum(x, 0), 1)``."""
    yield node
    if node.op != "maximum":
        return
    for inner, low in permutations(node.args):
        if inner.op == "minimum" and low.op == "constant":
            for x, high in permutations(inner.args):
                if high.op == "constant" and low.value <= high.value:
                    yield Node("minimum", (Node("maximum", (x, low)), high))
