"""Cells in notebooks."""

from __future__ import annotations

import doctest
from xml.etree import ElementTree

import pytest

from gatewise import cells, read_cell
from gatewise.language.cell import Cell
from gatewise.language.writing import html as writing
from gatewise.language.writing.mathml import mathml


@pytest.mark.parametrize("cell", [vars(cells)[name] for name in cells.__all__], ids=cells.__all__)
def test_a_cell_is_html_with_the_equations(cell: Cell) -> None:
    shown = ElementTree.fromstring(cell._repr_html_())
    assert shown.findtext("code", "").startswith(f"{cell.name}(")
    plain = ElementTree.fromstring(mathml(cell))
    (math,) = shown.iter("math")
    assert "".join(math.itertext()) == "".join(plain.itertext())
    aligned = [part.get("style") for part in math.iter("mtd")]
    assert aligned == ["text-align: right", None, "text-align: left"] * len(list(math.iter("mtr")))


def test_a_docstring_is_text() -> None:
    cell = read_cell("def mine(h, *, a):\n    '''<script>x & y'''\n    return tanh(a)")
    assert "mine(h, *, a)</code> &lt;script&gt;x &amp; y<math" in cell._repr_html_()
    assert "<code>bare(h, *, a)</code><math" in read_cell("def bare(h, *, a):\n    return a")._repr_html_()


def test_notebooks_get_latex_too() -> None:
    assert cells.rnn._repr_latex_() == f"$$\n{cells.rnn.latex()}\n$$"
    assert doctest.testmod(writing).failed == 0
