"""The scene of text: a unit that nobody built knows about brackets, and the check knows which."""

from __future__ import annotations

import re
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn import functional as F

import gatewise
from gatewise import cells
from gatewise.nn import Recurrent
from tests.learn.conftest import Lesson, settle
from tests.learn.pupil import choose
from tests.selection import with_rest
from tests.tabs import faults, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

FILE = Path(gatewise.__file__).parent / "learn" / "data" / "text.safetensors"


@cache
def about() -> dict[str, str]:
    """The metadata of the file."""
    with safe_open(FILE, "pt") as file:
        found: dict[str, str] = file.metadata()
    return found


@cache
def memory() -> NDArray[np.float32]:
    """The memory of each unit after each letter of the new stories, [T, H]."""
    weights = load_file(FILE)
    letters = about()["letters"]
    layer = Recurrent(cells.lstm, len(letters), weights["weight_hh"].shape[1])
    layer.load_state_dict({f"{name}_l0": weights[name] for name in weights if not name.startswith("readout")})
    x = F.one_hot(torch.tensor([letters.index(letter) for letter in about()["unseen"]]), len(letters)).float()
    with torch.no_grad(), gatewise.watch(layer) as seen:
        layer(x[:, None])
    found: NDArray[np.float32] = seen["l0"].c[:, 0].numpy()
    return found


def inside(opens: str, closes: str) -> NDArray[np.bool_]:
    """Whether a sign is open after each letter of the new stories."""
    marks, now = [], False
    for letter in about()["unseen"]:
        now = letter == opens or (now and letter != closes)
        marks.append(now)
    return np.array(marks)


def tells(marks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How well a limit for each unit, chosen on the first half, tells the marks of the second half."""
    half, found = len(marks) // 2, []
    for values in memory().T:
        limits = np.unique(values[:half])
        limits = np.concatenate([limits[:1] - 1, (limits[1:] + limits[:-1]) / 2])
        below = [
            np.searchsorted(np.sort(values[:half][marks[:half] == mark]), limits) for mark in (False, True)
        ]
        gain = below[0] / (~marks[:half]).sum() - below[1] / marks[:half].sum()
        place = np.abs(gain).argmax()
        says = (values[half:] > limits[place]) == (gain[place] > 0)
        right = says == marks[half:]
        found.append((right[marks[half:]].mean() + right[~marks[half:]].mean()) / 2)
    return np.array(found)


def units(page: Page) -> list[int]:
    """The units to choose from, counted from 0."""
    texts = page.locator("form.check label").all_inner_texts()
    return [int(found.group()) - 1 for text in texts if (found := re.search(r"\d+", text))]


def test_one_unit_knows_about_brackets() -> None:
    right = tells(inside("(", ")"))
    chance = tells(np.roll(inside("(", ")"), -(len(about()["unseen"]) // 3)))
    assert right.max() > 0.95
    assert np.sort(right)[-2] < right.max() - 0.1
    assert chance.max() < 0.65


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_check_knows_the_unit(lesson: Lesson, language: str) -> None:
    right = tells(inside("(", ")"))
    knows = int(right.argmax())
    with lesson("text", language=language) as page:
        offered = units(page)
        assert len(offered) == 6
        assert knows in offered
        for place, unit in enumerate(offered):
            if unit != knows:
                text = choose(page, place)
                shares = [float(share) / 100 for share in re.findall(r"([\d.]+)\s%", text)][:2]
                assert sum(shares) / 2 == pytest.approx(right[unit], abs=0.01)
        assert page.locator("form.check .verdict").get_attribute("class") == "verdict wrong"
        assert page.locator("#scenes a.done").count() == 0
        text = choose(page, offered.index(knows))
        assert page.locator("form.check .verdict").get_attribute("class") == "verdict right"
        shares = [float(share) / 100 for share in re.findall(r"([\d.]+)\s%", text)]
        assert sum(shares[:2]) / 2 == pytest.approx(right[knows], abs=0.01)
        assert shares[3] < shares[2] / 2  # the unit silenced, the bracket is less likely
        assert page.locator("#scenes a.done").count() == 1


def test_the_first_guess_is_that_of_the_network(lesson: Lesson) -> None:
    with lesson("text") as page:
        question = page.locator("form").first
        question.locator("input").nth(1).check()
        question.get_by_role("button").click()
        with_mark, without = re.findall(r"([\d.]+)\s%", question.locator(".verdict").inner_text())[:2]
        assert float(with_mark) > 10 * float(without)
        assert question.locator(".verdict").get_attribute("class") == "verdict right"


def test_letters_are_looked_at_and_written_by_keyboard(lesson: Lesson) -> None:
    with lesson("text", calm=True) as page:
        page.get_by_role("textbox").first.fill('Tom "quoted" (näively) 你好')
        picture = page.locator("canvas").first
        before = picture.screenshot()
        page.locator(".choice input:checked").focus()
        page.keyboard.press("ArrowRight")
        settle(page)
        assert picture.screenshot() != before
        place = page.get_by_role("slider").nth(1)
        place.focus()
        page.keyboard.press("End")
        assert place.get_attribute("max") == "25"
        page.get_by_role("button", name="Write on").focus()
        page.keyboard.press("Enter")
        settle(page)
        assert len(page.locator(".text-written").first.text_content() or "") == 300


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_network_learns_the_own_text(lesson: Lesson, language: str) -> None:
    with lesson("text", language=language) as page:
        page.locator("textarea").last.fill("abcabcabc")
        page.locator("button.main").last.click()
        written = page.locator(".text-written").last
        until(page, "/(abc){8}/.test([...document.querySelectorAll('.text-written')].at(-1).textContent)")
        page.locator("button.main").last.click()
        assert set(written.inner_text()) == set("abc")
        page.select_option("#language", "zh" if language == "en" else "en")
        page.wait_for_selector('section[data-scene="text"][data-ready]')
        assert set(written.inner_text()) == set("abc")  # it is still trained
        page.locator("button:not(.main)").last.click()
        assert written.inner_text() == ""
        page.locator("button.main").last.click()
        until(page, "[...document.querySelectorAll('.text-written')].at(-1).textContent !== ''")
        page.locator("textarea").last.fill("a")
        settle(page)
        assert written.inner_text() == ""


@pytest.mark.parametrize(
    ("dark", "language"),
    with_rest(product([False, True], ["en", "zh"]), lambda dark, language: dark == (language == "zh")),
)
def test_the_scene_is_accessible_and_does_not_overflow(lesson: Lesson, dark: bool, language: str) -> None:
    with lesson("text", width=375, dark=dark, language=language) as page:
        choose(page, units(page).index(int(tells(inside("(", ")")).argmax())))
        page.locator("summary").first.click()
        page.locator("summary").last.click()
        settle(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        assert faults(page) == []
