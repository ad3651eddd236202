"""The examples in the documentation run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "name",
    ["insight.page.expressions", "insight.page.look", "insight.page.sample", "language.writing.mathml"],
)
def test_docstrings(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(f"gatewise.{name}"))
    assert (failed, attempted > 0) == (0, True)


def test_the_page_on_look() -> None:
    page = Path(__file__).parents[3] / "docs" / "look.md"
    failed, attempted = doctest.testfile(str(page), module_relative=False)
    assert (failed, attempted > 0) == (0, True)
