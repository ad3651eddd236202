"""The examples in the documentation of layers run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("quickly")

MODULES = [
    "gatewise.insight.watch",
    "gatewise.nn.modules.accelerate",
    "gatewise.nn.modules.torch_names",
    "gatewise.nn.modules.recurrent",
    "gatewise.nn.modules.step",
]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert (failed, attempted > 0) == (0, True)


@pytest.mark.parametrize("name", ["layers.md", "accelerate.md"])
def test_pages(name: str) -> None:
    page = Path(__file__).parents[2] / "docs" / name
    failed, attempted = doctest.testfile(str(page), module_relative=False)
    assert (failed, attempted > 0) == (0, True)
