"""What the initial weights of a cell depend on, for Python and for the page."""

from __future__ import annotations

from typing import Any

from gatewise.language import Cell
from gatewise.language.gating import keeping, places


def beginning(cell: Cell) -> dict[str, Any]:
    """How the weights of a cell begin, as values of JSON.

    Returns:
        "blocks": for each weight of several gates the gates, in the order of its rows. "kept": for each bias
        of a gate that keeps a state the weight, the block in it, and its share of that bias: -1, 0 or 1.

    Example:
        >>> from gatewise import cells
        >>> beginning(cells.gru)["kept"]
        [['bias_ih', 1, 1], ['bias_hh', 1, 0]]
    """
    ih, hh = list(cell.input_gates), list(cell.state_gates)
    kept = [
        [name, block, 0 if n else gate.sign]
        for gate in keeping(cell)
        for n, (name, block) in enumerate(places(cell, gate))
    ]
    return {"blocks": {"weight_ih": ih, "weight_hh": hh, "bias_ih": ih, "bias_hh": hh}, "kept": kept}
