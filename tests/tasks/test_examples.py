"""The examples in the documentation of forecasting run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

MODULES = [
    "gatewise.apps.report",
    "gatewise.insight.figures",
    "gatewise.runtime.jobs.naive",
    "gatewise.tasks.shared.reading.errors",
    "gatewise.tasks.shared.sequences",
    "gatewise.tasks.forecast.forecaster",
    "gatewise.tasks.loading",
    "gatewise.tasks.shared.batches",
    "gatewise.tasks.forecast.naive",
    "gatewise.tasks.forecast.split",
    "gatewise.tasks.series.series",
    "gatewise.tasks.series.weather",
]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert (failed, attempted > 0) == (0, True)


@pytest.mark.parametrize("name", ["forecast", "jobs", "predict"])
def test_the_pages(name: str) -> None:
    page = Path(__file__).parents[2] / "docs" / f"{name}.md"
    failed, attempted = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert (failed, attempted > 0) == (0, True)
