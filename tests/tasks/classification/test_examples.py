"""The examples on the page and in docstrings run, and print what they say."""

from __future__ import annotations

import doctest
from pathlib import Path

from gatewise.runtime.jobs import classifier as runtime_classifier
from gatewise.runtime.jobs import preparation
from gatewise.tasks.classification import classifier


def test_docstrings() -> None:
    assert doctest.testmod(classifier) == (0, 6)
    assert doctest.testmod(runtime_classifier).failed == 0
    assert doctest.testmod(preparation) == (0, 1)


def test_the_page_on_classification() -> None:
    page = Path(__file__).parents[3] / "docs" / "classify.md"
    failed, attempted = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert (failed, attempted > 0) == (0, True)
