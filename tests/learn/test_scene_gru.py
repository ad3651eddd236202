"""LSTM and GRU with equal numbers of weights, five seeds each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatewise.learn.training import Trainer
from tests.learn.conftest import Lesson, settle
from tests.learn.pupil import answer, done, guess, hasten, table

if TYPE_CHECKING:
    from playwright.sync_api import Page

SOONER = "On this task, every GRU learned sooner than every LSTM"


def run_all(page: Page) -> None:
    hasten(page)
    page.get_by_role("button", name="Run all ten").click()
    page.locator(".said", has_text="half of the runs").wait_for(timeout=300_000)
    settle(page)


def test_three_blocks_have_three_quarters_of_the_weights(lesson: Lesson) -> None:
    sizes = [Trainer(cell, "adding", units=16, steps=20).size for cell in ("lstm", "gru")]
    with lesson("gru") as page:
        said = guess(page, 1).inner_text()
        assert said.startswith(
            f"Right. The LSTM has {sizes[0]:,}, the GRU {sizes[1]:,} with the same 16 units"
        )
        fair = page.get_by_text("To be fair").inner_text()
    sizes = [Trainer("gru", "adding", units=units, steps=20).size for units in range(16, 24)]
    lstm = Trainer("lstm", "adding", units=16, steps=20).size
    nearest = min(range(8), key=lambda k: abs(sizes[k] - lstm))
    assert f"a GRU of {16 + nearest} units ({sizes[nearest]:,})" in fair


def test_half_as_many_is_wrong(lesson: Lesson) -> None:
    with lesson("gru") as page:
        assert guess(page, 0).inner_text().startswith("Not quite. The LSTM has")


def test_the_conclusion_is_that_of_the_figures(lesson: Lesson) -> None:
    with lesson("gru") as page:
        guess(page, 1)
        early = answer(page, SOONER).inner_text()
        assert early == "Not quite. Let all ten runs come to their end first."
        run_all(page)
        runs = [[int(count) for count in row[1:]] for row in table(page)]
        lstm, gru = zip(*runs, strict=True)
        assert max(gru) < min(lstm)
        first = Trainer("gru", "adding", units=19, steps=20)
        while not first.solved:
            first.iteration()
        assert gru[0] == len(first.losses)
        always = answer(page, "The GRU is always the better network").inner_text()
        assert always.startswith("Not quite. 5 runs on one task can't say")
        wrong = answer(page, "The runs overlap: these figures alone don't decide it").inner_text()
        assert wrong.startswith(f"Not quite. Compare the spreads: GRU from {min(gru)} to {max(gru)}")
        assert not done(page, "gru")
        assert answer(page, SOONER).inner_text().startswith("Right.")
        assert done(page, "gru")


def test_the_keyboard_alone_is_enough(lesson: Lesson) -> None:
    with lesson("gru") as page:
        page.locator(".question input").nth(1).focus()
        page.keyboard.press("Space")
        page.keyboard.press("Enter")
        settle(page)
        page.get_by_role("button", name="Run all ten").focus()
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Stop").wait_for()
        page.keyboard.press("Enter")
        settle(page)
        assert page.get_by_role("button", name="Run all ten").is_visible()
