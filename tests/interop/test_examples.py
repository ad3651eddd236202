"""The examples in the documentation of import and export run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

MODULES = [
    "gatewise.interop.keras",
    "gatewise.interop.onnx.export",
    "gatewise.interop.onnx.load",
    "gatewise.interop.onnx.match",
]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert (failed, attempted > 0) == (0, True)


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.:FutureWarning")  # in torch.onnx
def test_the_page_on_interop() -> None:
    page = Path(__file__).parents[2] / "docs" / "interop.md"
    failed, attempted = doctest.testfile(str(page), module_relative=False)
    assert (failed, attempted > 0) == (0, True)
