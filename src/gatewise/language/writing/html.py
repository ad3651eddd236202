"""The equations of a cell as HTML, for notebooks."""

from __future__ import annotations

from html import escape

from gatewise.language.writing.equations import Written
from gatewise.language.writing.mathml import mathml
from gatewise.language.writing.text import text


def html(cell: Written) -> str:
    """The first line of a cell, what its docstring says first, and its equations as MathML.

    Colours and sizes are those of the page around it.

    Example:
        >>> from gatewise import cells
        >>> from gatewise.language.writing.html import html
        >>> html(cells.rnn)[:67]
        '<div><code>rnn(h, *, a)</code> Elman network (Elman 1990).<math dis'
    """
    head, about = text(cell).partition("\n")[0], (getattr(cell, "__doc__", None) or "").strip()
    said = f" {escape(about.splitlines()[0])}" if about else ""
    return f"<div><code>{escape(head)}</code>{said}{_aligned(mathml(cell))}</div>"


def _aligned(math: str) -> str:
    """The equations at the left, aligned at their ``=``."""
    styles = {
        '<math display="block">': '<math display="block" style="width: max-content; margin: 0.5em 1em">',
        "<mtr><mtd>": '<mtr><mtd style="text-align: right">',
        "<mtd><mo>=</mo></mtd><mtd>": '<mtd><mo>=</mo></mtd><mtd style="text-align: left">',
    }
    for plain, styled in styles.items():
        math = math.replace(plain, styled)
    return math
