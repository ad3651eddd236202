"""What a notebook shows of a layer: its equations, and its parameters with their shapes."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from torch import nn

from gatewise.language import Cell
from gatewise.language.writing.html import html

_ROW = '<tr><td style="text-align: left">{}</td><td>{}</td><td>{}</td></tr>'


def shown(call: str, cell: Cell, parameters: Iterable[tuple[str, nn.Parameter]]) -> str:
    """A layer as HTML: the call that makes it, its equations, and a table of its parameters by name."""
    shapes, counts = dict[str, tuple[int, ...]](), dict[str, int]()
    for name, parameter in parameters:
        shapes[name], counts[name] = tuple(parameter.shape), parameter.numel()
    rows = "".join(
        _ROW.format(escape(name), " by ".join(map(str, shape)) or "1", f"{counts[name]:,}")
        for name, shape in shapes.items()
    )
    total = f"{sum(counts.values()):,} numbers in {len(counts)} parameters"
    return (
        f"<div><code>{escape(call)}</code>{html(cell)}"
        f"<details><summary>{total}</summary><table>"
        f"<tr><th>parameter</th><th>shape</th><th>numbers</th></tr>{rows}</table></details></div>"
    )
