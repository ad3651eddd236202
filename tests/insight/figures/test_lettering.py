from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.font_manager import FontEntry, FontManager

from gatewise.insight.figures import lettering, save_figure
from gatewise.insight.figures.style import ShortTicks, page, style_for, text_width

NOBODYS = "\U0010fffd"  # a character that is not assigned


def test_western_letters_need_no_other_font() -> None:
    assert lettering.families("load (°C), λ", "Größe") == ["DejaVu Sans"]
    assert style_for("load")["font.family"] == ["DejaVu Sans"]


def test_letters_without_a_font_are_listed_and_drawn_without_a_warning(tmp_path: Path) -> None:
    assert lettering.missing_letters(f"a{NOBODYS}b") == NOBODYS
    with page(4, 2, NOBODYS, NOBODYS) as figure:
        figure.text(0.5, 0.5, NOBODYS)
    save_figure(figure, tmp_path / "a.png")
    assert text_width(NOBODYS, 9) > 0


def test_the_font_with_most_of_the_letters_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    letters = {
        "own": frozenset("ab"),
        "few": frozenset("ax"),
        "most": frozenset("xyz"),
        "serif": frozenset("xyz"),
    }
    manager = FontManager.__new__(FontManager)
    names = {"own": lettering.FONT, "few": "A Sans", "most": "B Sans", "serif": "A Serif"}
    manager.ttflist = [FontEntry(fname=file, name=name, weight=400) for file, name in names.items()]
    monkeypatch.setattr(lettering, "fontManager", manager)
    monkeypatch.setattr(lettering, "_letters", letters.__getitem__)
    lettering._other.cache_clear()
    assert lettering.families("abxy") == [lettering.FONT, "B Sans"]
    assert lettering.missing_letters("abxyw") == "w"
    lettering._other.cache_clear()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.0, 0.5, 1.0], ["0", "0.5", "1"]),
        ([331002000.0, 331002500.0, 331003000.0], ["331.002 M", "+500", "+1,000"]),
        ([14.620001, 14.620002, 14.620003], ["14.620001", "14.620002", "14.620003"]),
        ([1e9 + 0.5, 1e9 + 1, 1e9 + 1.5], ["1,000,000,000.5", "+0.5", "+1"]),
    ],
)
def test_ticks_far_from_zero_have_different_labels(values: list[float], words: list[str]) -> None:
    assert ShortTicks().format_ticks(values) == words
