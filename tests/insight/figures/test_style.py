from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch

import gatewise
from gatewise.insight.figures import draw_half_life, draw_words, save_figure, short
from gatewise.insight.figures.axes import around_zero, decades
from gatewise.insight.figures.style import cut, power_tick, text_width, wrapped


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_nothing_global_changes_and_files_are_the_same_every_time(tmp_path: Path, ending: str) -> None:
    before = dict(matplotlib.rcParams)
    lives, kept = np.array([1.0, 3.0]), np.array([[1.0, 1.0], [0.5, 0.8]])
    figures = [draw_half_life(lives, lives, kept) for _ in range(2)]
    for name, figure in zip("abc", [*figures, figures[0]], strict=True):
        save_figure(figure, tmp_path / f"{name}.{ending}")
    assert dict(matplotlib.rcParams) == before
    assert len({(tmp_path / f"{name}.{ending}").read_bytes() for name in "abc"}) == 1


def test_the_ending_of_a_file_chooses_the_format_and_other_endings_are_refused(tmp_path: Path) -> None:
    figure = draw_words(["a"], [1.0])
    heads = {"A.PNG": b"\x89PNG", "a.svg": b"<?xml", "a.pdf": b"%PDF"}
    for name, head in heads.items():
        save_figure(figure, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(head)
    save_figure(figure, tmp_path / "small.png", dpi=30)
    assert (tmp_path / "small.png").stat().st_size < (tmp_path / "A.PNG").stat().st_size
    with pytest.raises(ValueError) as error:
        save_figure(figure, "a.jpg")
    assert str(error.value) == "save_figure: path must end in .png, .svg, .pdf. Got 'a.jpg'."


def test_tensors_may_require_gradients_and_have_half_precision() -> None:
    scores = torch.tensor([1.0, -2.0], dtype=torch.bfloat16, requires_grad=True)
    figure = draw_words(["a", "b"], scores)
    assert figure.texts[0].get_text().endswith("strongest score: \N{MINUS SIGN}2")


def test_pictures_need_neither_torch_nor_pandas() -> None:
    code = """
import sys
for name in ("torch", "pandas", "lightning"):
    sys.modules[name] = None
from gatewise import figures
import numpy as np
figures.draw_words(["a"], [1.0])
gate = figures.Panel("gate", np.ones((3, 2)), "", "", signed=False)
days = np.arange("2024-01-01", "2024-01-04", dtype="datetime64[D]")
figures.draw_gates("head", "note", "y", days, [1, 2, 3], [gate])
assert "matplotlib.pyplot" not in sys.modules
print("drawn")
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.stdout == "drawn\n", run.stderr


def test_figures_are_found_under_the_name_of_the_package() -> None:
    assert gatewise.figures.draw_words is draw_words
    assert all(hasattr(gatewise.figures, name) for name in gatewise.figures.__all__)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (9.99, "10"), (-0.034, "-0.034"), (1e6, "1.0 M"), (999999.0, "999,999"), (2e-9, "2.0 n")],
)
def test_numbers_are_printed_short(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (0.05, "0.05"), (1e4, "10⁴"), (1e-12, "10⁻¹²"), (5e-3, "5·10⁻³"), (0, "0")],
)
def test_numbers_of_a_logarithmic_axis(value: float, text: str) -> None:
    assert power_tick(value, None) == text


def test_words_are_broken_into_lines_and_shortened() -> None:
    words = "a heading that has no room on one line".split()
    lines = wrapped(words, 100, 14, bold=True)
    assert [word for line in lines for word in line] == words
    assert all(text_width(" ".join(line), 14, bold=True) <= 100 for line in lines)
    assert cut("short", 100, 9) == "short"
    kept = cut("a long word", 30, 9)
    assert kept.endswith("…")
    assert text_width(kept, 9) <= 30
    assert cut("word", 1, 9) == ""


def test_colours_cover_the_range_of_the_values() -> None:
    norm = around_zero(np.array([0.0, 0.0, np.nan, -3.0]))
    assert (norm.vmin, norm.vmax) == (-3, 3)
    assert around_zero(np.zeros(3)).vmax == around_zero(np.full(3, np.nan)).vmax == 1
    assert (decades(np.array([1e-20, 2.0, 0.0])).vmin, decades(np.array([1.0])).vmin) == (2e-6, 0.1)
    assert decades(np.full(2, np.nan)).vmax == 1
