"""The examples in the documentation of insight run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

MODULES = [
    "attribution", "comparison", "decomposition", "dynamics", "edit", "flow", "keeping", "memory", "ranking",
    "units", "watch",
]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(f"gatewise.insight.{name}"))
    assert (failed, attempted > 0) == (0, True)


def test_the_page_on_seeing_inside() -> None:
    page = Path(__file__).parents[2] / "docs" / "insight.md"
    failed, attempted = doctest.testfile(str(page), module_relative=False)
    assert (failed, attempted > 0) == (0, True)
