"""What the sums before the gates are made of: the layer's input and weights, and where each sum goes."""

from __future__ import annotations

from typing import Any

from gatewise.insight.page.arrays import Cut, packed
from gatewise.insight.passage import Passage
from gatewise.language import Cell, Kind

_SQUASHING = ("sigmoid", "tanh", "relu")


def sums(passage: Passage, cut: Cut, with_weights: bool) -> dict[str, Any] | None:
    """The input ``[T, B, I]``, the weights as the layer holds them, and the gates; None if they don't fit."""
    weights = passage.walk.weights
    if not cut.sample.sums:
        return None
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if with_weights else ()
    arrays = {name: getattr(weights, name) for name in names}
    return {
        "input": packed(cut.steps(passage.x)),
        **{name: None if array is None else packed(array) for name, array in arrays.items()},
        "gates": _gates(passage.cell),
    }


def _gates(cell: Cell) -> list[dict[str, Any]]:
    """For each gate its block of rows in both weights, or None, and the value that it is squashed to.

    Parts of a `Split` gate are sums of their own.
    """
    squashed = {node.args[0]: (name, node.op) for name, node in cell.values.items() if node.op in _SQUASHING}
    found = []
    for parameter in (p for p in cell.parameters if p.sees_input):
        for op, name, part in parameter.leaves:
            value, function = squashed.get(cell.leaf(op, name, part), (None, None))
            sees_state = parameter.sees_state and part != "x"
            found.append({
                "name": f"{name}.{part}" if parameter.kind is Kind.SPLIT else name,
                "from_input": None if part == "h" else cell.input_gates.index(name),
                "from_state": cell.state_gates.index(name) if sees_state else None,
                "value": value,
                "function": function,
            })  # fmt: skip
    return found
