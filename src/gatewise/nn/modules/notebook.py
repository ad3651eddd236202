"""What a notebook shows of a layer: its equations, and its parameters with their shapes."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from gatewise.language.writing.html import html

if TYPE_CHECKING:
    from gatewise.nn.modules.layer import Layer

_ROW = '<tr><td style="text-align: left">{}</td><td>{}</td><td>{}</td></tr>'


def shown(layer: Layer) -> str:
    """A layer as HTML: its arguments, its equations once, and a table of its parameters."""
    parameters = {name: tuple(p.shape) for name, p in layer.named_parameters()}
    counts = {name: p.numel() for name, p in layer.named_parameters()}
    rows = "".join(
        _ROW.format(escape(name), " by ".join(map(str, shape)) or "1", f"{counts[name]:,}")
        for name, shape in parameters.items()
    )
    head = escape(f"{type(layer).__name__}({layer.extra_repr()})")
    total = f"{sum(counts.values()):,} numbers in {len(counts)} parameters"
    return (
        f"<div><code>{head}</code>{html(layer.cell)}"
        f"<details><summary>{total}</summary><table>"
        f"<tr><th>parameter</th><th>shape</th><th>numbers</th></tr>{rows}</table></details></div>"
    )
