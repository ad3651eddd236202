"""Units are not steps: what grows with which size."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from gatewise import cells
from gatewise.nn import Recurrent
from tests.learn.conftest import Lesson, settle
from tests.learn.pupil import answer, done, guess, slide, table

if TYPE_CHECKING:
    from playwright.sync_api import Page


def weights(name: str, inputs: int, units: int) -> int:
    layer = Recurrent(getattr(cells, name), inputs, units)
    return sum(parameter.numel() for parameter in layer.parameters())


def right(page: Page) -> int:
    """The answer to the check, from its text."""
    asked = page.locator(".check legend").inner_text()
    found = re.search(r"(RNN|GRU|LSTM), reads (\d+) numbers at each step and has (\d+) units", asked)
    assert found
    return weights(found[1].lower(), int(found[2]), int(found[3]))


def meters(page: Page) -> list[tuple[str, str]]:
    """The three counts, and what became of each with the last change."""
    rows = page.locator(".meter").all()
    return [(row.locator("strong").inner_text(), row.locator(".trend").inner_text()) for row in rows]


def test_only_the_work_grows_with_the_steps(lesson: Lesson) -> None:
    with lesson("sizes", calm=True) as page:
        assert "Right." in guess(page, 2).inner_text()
        assert [count for count, _ in meters(page)] == [str(weights("rnn", 2, 3)), "6", "180"]
        slide(page, "Steps", 12)
        same, grown = "stayed the same", "\u25b2 has grown"
        assert meters(page) == [(str(weights("rnn", 2, 3)), same), ("6", same), ("360", grown)]
        slide(page, "Units", 4)
        assert [trend for _, trend in meters(page)] == [grown, grown, grown]
        slide(page, "Rows", 1)
        shrunk = "\u25bc has shrunk"
        assert [trend for _, trend in meters(page)] == [same, shrunk, shrunk]


def test_the_counts_are_those_of_the_layers(lesson: Lesson) -> None:
    with lesson("sizes", calm=True) as page:
        guess(page)
        slide(page, "Units", 7)
        for row in table(page):
            assert int(row[2]) == weights(row[0].lower(), 2, 7)
            assert int(row[3]) == 2 * 7 * (2 if row[0] == "LSTM" else 1)


def test_the_check_draws_new_numbers_after_a_wrong_answer(lesson: Lesson) -> None:
    with lesson("sizes", calm=True) as page:
        guess(page)
        texts = set()
        for _ in range(3):
            texts.add(page.locator(".check legend").inner_text())
            expected = right(page)
            said = answer(page, str(expected + 1)).inner_text()
            assert "Not quite." in said
            assert f"There were {expected}:" in said
            assert not done(page, "sizes")
            assert page.locator(".check input").input_value() == ""
        assert len(texts) > 1
        assert "Right." in answer(page, str(right(page))).inner_text()
        assert done(page, "sizes")


@pytest.mark.parametrize("given", ["", "many"])
def test_no_number_is_no_answer(lesson: Lesson, given: str) -> None:
    with lesson("sizes", calm=True) as page:
        guess(page)
        assert answer(page, given).inner_text() == "Type a number first."


def test_the_keyboard_alone_is_enough(lesson: Lesson) -> None:
    with lesson("sizes", calm=True) as page:
        page.locator(".question:not(.check) input").first.focus()
        page.keyboard.press("Space")
        page.keyboard.press("Enter")
        settle(page)
        page.locator(".choice input").first.focus()
        page.keyboard.press("ArrowRight")
        settle(page)
        assert meters(page)[0][0] == str(weights("gru", 2, 3))
        page.locator(".check input").focus()
        page.keyboard.type(str(right(page)))
        page.keyboard.press("Enter")
        settle(page)
        assert done(page, "sizes")
