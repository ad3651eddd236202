"""The page of measured claims: its examples run, and it lists every task."""

from __future__ import annotations

import doctest
from pathlib import Path

from gatewise.tasks.synthetic import TASKS

PAGE = Path(__file__).parents[3] / "docs" / "claims.md"


def test_the_examples_run() -> None:
    failed, attempted = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert (failed, attempted > 0) == (0, True)


def test_every_task_is_described() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in TASKS)
