"""One unit: what it does with a pulse, by hand and in the page."""

from __future__ import annotations

import math
import re

import pytest

from tests.learn.conftest import Lesson, settle
from tests.learn.pupil import answer, done, guess, plain, slide, table


def states(w: float, r: float, x: list[float], b: float = 0.0) -> list[float]:
    h = 0.0
    found = []
    for number in x:
        h = math.tanh(w * number + r * h + b)
        found.append(h)
    return found


def test_the_numbers_are_those_of_the_equation(lesson: Lesson) -> None:
    with lesson("unit", calm=True) as page:
        assert page.locator(".slider").first.is_hidden()
        assert "0.36" not in str(page.locator("canvas").first.get_attribute("aria-label"))
        assert "Right." in guess(page, 1).inner_text()
        slide(page, "w:", -1.5)
        slide(page, "r:", 0.8)
        slide(page, "b:", 0.25)
        page.locator(".unit-input").nth(3).click()
        rows = table(page)
        h = states(-1.5, 0.8, [1, 0, 0, 1, 0, 0, 0, 0], 0.25)
        assert [plain(row[3]) for row in rows] == pytest.approx(h, abs=1e-5)
        yes = [1 / (1 + math.exp(-8 * number + 2)) for number in h]
        assert [plain(row[4]) for row in rows] == pytest.approx(yes, rel=1e-3)


def test_the_sum_of_a_step_is_shown(lesson: Lesson) -> None:
    with lesson("unit", calm=True) as page:
        guess(page)
        slide(page, "Look at step", 2)
        said = page.locator(".unit-sum").inner_text()
        assert "0.500 \u00d7 0.762" in said
        assert "0.381" in said
        assert "0.363" in said
        assert "h at each step: 0.76, 0.36" in str(page.locator("canvas").first.get_attribute("aria-label"))


@pytest.mark.parametrize("off", [0.0, 0.045, -0.045, 0.06, -0.06])
def test_the_check_takes_the_state_after_three_steps(lesson: Lesson, off: float) -> None:
    with lesson("unit", calm=True) as page:
        guess(page)
        asked = page.locator(".check legend").inner_text().replace("\u2212", "-")
        found = re.search(r"w = (\S+), r = (\S+),", asked)
        assert found
        h = states(float(found[1]), float(found[2]), [1, 0, 0])[2]
        assert ("Right." in answer(page, f"{h + off:.4f}").inner_text()) == (abs(off) < 0.05)
        assert done(page, "unit") == (abs(off) < 0.05)


def test_the_keyboard_alone_is_enough(lesson: Lesson) -> None:
    with lesson("unit", calm=True) as page:
        page.locator(".question:not(.check) input").first.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        settle(page)
        page.locator(".slider input").nth(1).focus()
        page.keyboard.press("ArrowRight")
        page.locator(".unit-input").nth(1).focus()
        page.keyboard.press("Space")
        rows = table(page)
        assert [plain(row[3]) for row in rows][:2] == pytest.approx(states(1, 0.55, [1, 1]), abs=1e-5)
