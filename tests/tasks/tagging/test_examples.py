"""The examples of the documentation of tagging run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

MODULES = [
    "gatewise.runtime.jobs.spans",
    "gatewise.runtime.jobs.spelling",
    "gatewise.tasks.tagging.columns",
    "gatewise.tasks.tagging.conllu",
    "gatewise.tasks.tagging.spans",
    "gatewise.tasks.tagging.tagger",
]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert (failed, attempted > 0) == (0, True)


def test_the_page_on_tagging() -> None:
    page = Path(__file__).parents[3] / "docs" / "tag.md"
    failed, attempted = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert (failed, attempted > 0) == (0, True)
