"""The changed cell: edits, trials, and the check that wants a gate less."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatewise.learn.palette import cell_of
from gatewise.learn.training import Trainer
from tests.learn.conftest import Lesson, settle
from tests.learn.pupil import done, guess, hasten

if TYPE_CHECKING:
    from playwright.sync_api import Page


def choose(page: Page, name: str) -> None:
    page.locator(".choice label", has_text=name).locator("input").check()
    settle(page)


def finish(page: Page) -> list[list[str]]:
    """Train to the end; returns the table of trials."""
    hasten(page)
    page.get_by_role("button", name="Start training").click()
    page.locator("button.main:disabled").wait_for(timeout=400_000)
    settle(page)
    rows = page.locator(".scroll tbody tr").all()
    return [row.locator("th, td").all_inner_texts() for row in rows]


def look(page: Page) -> str:
    page.locator(".check button").click()
    settle(page)
    return page.locator(".check .verdict").inner_text()


def test_the_lines_that_differ_are_marked(lesson: Lesson) -> None:
    with lesson("change") as page:
        choose(page, "drop the tanh")
        assert page.locator("pre .gone").all_inner_texts() == ["    h = o * tanh(c)\n"]
        assert page.locator("pre .new").all_inner_texts() == ["    h = o * c\n"]
        size = Trainer("lstm", "adding").size
        facts = page.locator(".said").first.inner_text()
        assert facts == (
            "Vectors computed from x and h: 4 in your cell, 4 in the LSTM. "
            f"Weights: {size:,} in your cell, {size:,} in the LSTM."
        )
        choose(page, "no output gate")
        less = Trainer(cell_of("lstm_without_output"), "adding").size
        assert (
            f"3 in your cell, 4 in the LSTM. Weights: {less:,} in your cell, {size:,} in the LSTM."
            in page.locator(".said").first.inner_text()
        )


def test_a_cell_with_a_gate_less_that_learns_is_wanted(lesson: Lesson) -> None:
    with lesson("change") as page:
        guess(page)
        assert look(page) == "Not quite. Start the training and let it come to its end first."
        choose(page, "couple forgetting")
        trials = finish(page)
        trainer = Trainer("lstm_coupled", "adding")
        while not trainer.solved:
            trainer.iteration()
        name = "couple forgetting and writing"
        assert trials == [[name, f"after {len(trainer.losses)}", "3", f"{trainer.size:,}"]]
        assert not done(page, "change")
        assert look(page) == f"Right. \u201c{name}\u201d has fewer gates, and has learned it."
        assert done(page, "change")


def test_a_cell_that_keeps_nothing_is_not_enough(lesson: Lesson) -> None:
    with lesson("change", language="en") as page:
        guess(page, 1)
        choose(page, "hold the forget gate at 0")
        trials = finish(page)
        assert trials[0][1].startswith("not in ")
        assert (
            look(page)
            == "Not quite. What you have tried so far with fewer gates did not learn it. Try another change."
        )
        assert not done(page, "change")
