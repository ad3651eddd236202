"""The page on cells: its derived parts are up to date, its examples run, its drawing is valid."""

from __future__ import annotations

import doctest
import math
import re
import runpy
from xml.etree import ElementTree

import pytest

from gatewise import cells, nn
from tests.cells.page import MISTAKES, PAGE, message, terms, written


def test_the_derived_parts_are_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == written(), "run: python -m tests.cells.page"


def test_the_examples_run() -> None:
    failed, attempted = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert (failed, attempted > 0) == (0, True)


@pytest.mark.parametrize("title", MISTAKES)
def test_the_error_for_a_mistake_has_its_place_and_a_remedy(title: str) -> None:
    said = message(MISTAKES[title])
    assert said.startswith("mine.py:")
    assert "cell 'leaky': " in said


@pytest.mark.parametrize("name", cells.__all__)
def test_a_layer_has_as_many_numbers_as_the_page_says(name: str) -> None:
    cell, (I, H, P) = getattr(cells, name), (5, 7, 3)
    layer = nn.Recurrent(cell, I, H, proj_size=P if cell.projects else 0)
    sizes = {"HI": H * I, "H²": H * H, "HP": H * P, "H": H}
    expected = sum(n * sizes[product] for product, n in terms(cell).items())
    assert sum(math.prod(p.shape) for p in layer.parameters()) == expected


def test_formulas_have_only_what_mathjax_and_katex_both_know_and_github_allows() -> None:
    """GitHub refuses ``\\operatorname``; in its ``math`` blocks Markdown touches nothing."""
    formulas = re.findall(r"^```math\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(formulas) == len(cells.__all__)
    commands = {
        command for formula in formulas for command in re.findall(r"\\(?:[a-zA-Z]+|.)", formula, re.DOTALL)
    }
    words = (
        "bar begin beta end exp frac gamma left log mathrm max min odot right sigma sqrt tanh text".split()
    )
    assert commands <= {*(f"\\{word}" for word in words), r"\\", r"\,", r"\;", r"\_"}


def test_the_drawing_is_svg_with_a_text_for_those_who_cannot_see_it() -> None:
    root = ElementTree.parse(PAGE.with_name("lstm.svg")).getroot()
    said = {child.tag.rpartition("}")[2]: child.text for child in root}
    assert said["title"]
    assert "forget" in str(said["desc"])


def test_the_example_learns(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(PAGE.parents[1] / "examples" / "own_cell.py"))
    assert example["main"](steps=401) < 0.03  # measured: 0.0048, from 0.46
    said = capsys.readouterr().out
    assert said.startswith("keeper(h, c, *, f, i, g)")
    assert "step    0: squared error" in said
