"""The examples in the docstrings of the figures run, and docs/figures.md shows every picture."""

from __future__ import annotations

import doctest
import importlib
import re
import runpy
from pathlib import Path

import pytest

from gatewise.insight import figures

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "figures.md"
MODULES = [
    "arrays", "axes", "contrast", "dynamics", "flow", "gates", "inputs", "memory", "style", "times", "units"
]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(f"gatewise.insight.figures.{name}"))
    assert (failed, attempted > 0) == (0, True)


def test_every_picture_has_its_code_and_its_file_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    drawn = {name for name in figures.__all__ if name.startswith("draw_")}
    assert set(re.findall(r"figures\.(draw_\w+)\(", text)) == drawn
    shown = re.findall(r"\((images/figures/\w+\.png)\)", text)
    assert len(shown) == len(set(shown)) == len(drawn)
    files = sorted((PAGE.parent / "images" / "figures").iterdir())
    assert files == sorted(PAGE.parent / name for name in shown)
    assert all(file.read_bytes().startswith(b"\x89PNG") and file.stat().st_size <= 60_000 for file in files)


def test_the_script_draws_every_picture_of_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = runpy.run_path(str(ROOT / "examples" / "figures.py"))
    script["main"](tmp_path)
    assert capsys.readouterr().out == ""  # no line of the page prints anything
    shown = {path.name for path in (PAGE.parent / "images" / "figures").iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == shown
    assert all(path.stat().st_size <= 60_000 for path in tmp_path.iterdir())
