"""The race of RNN, LSTM and GRU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gatewise.learn.training import Trainer
from tests.learn.conftest import Lesson, settle
from tests.learn.pupil import answer, done, guess, hasten, plain, slide, table

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

RACERS = ("rnn", "lstm", "gru")


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def results(page: Page) -> dict[str, list[str]]:
    """The table of what has been learned, by length."""
    rows = page.locator(".scroll:not(details .scroll) tbody tr").all()
    found = [row.locator("th, td").all_inner_texts() for row in rows]
    return {steps: entries for steps, *entries in found}


def finish(page: Page) -> None:
    """Let the race come to its end."""
    hasten(page)
    button(page, "Start training").click()
    page.locator("button.main:disabled").wait_for(timeout=300_000)
    settle(page)


def test_the_learner_bets_before_the_race(lesson: Lesson) -> None:
    with lesson("race") as page:
        assert not button(page, "Start training").is_visible()
        assert guess(page, 3).inner_text() == "Your bet is noted. Now start the race."
        assert button(page, "Start training").is_visible()


def test_a_race_of_thirty_steps_gives_the_answer(lesson: Lesson) -> None:
    with lesson("race") as page:
        guess(page, 4)
        slide(page, "Steps in a sequence", 30)
        early = answer(page, "LSTM and GRU, but not the RNN").inner_text()
        assert early.startswith("Not quite. First a race of at least 30 steps must come to its end")
        finish(page)
        rnn, lstm, gru = results(page)["30"]
        assert rnn == "not learned"
        assert lstm.startswith("after ")
        assert gru.startswith("after ")
        assert (
            answer(page, "all three").inner_text() == "Not quite. Look at the row of 30 steps in the table."
        )
        assert not done(page, "race")
        assert answer(page, "LSTM and GRU, but not the RNN").inner_text().startswith("Right.")
        assert done(page, "race")


def test_over_ten_steps_all_learn_after_as_many_batches_as_in_python(lesson: Lesson) -> None:
    with lesson("race") as page:
        guess(page)
        slide(page, "Steps in a sequence", 10)
        finish(page)
        found = results(page)["10"]
    for cell, entry in zip(RACERS[1:], found[1:], strict=True):
        trainer = Trainer(cell, "adding", steps=10)
        while not trainer.solved:
            trainer.iteration()
        assert entry == f"after {len(trainer.losses)}"
    assert found[0].startswith("after ")


def test_steps_and_rewinding_and_the_gradient_by_distance(lesson: Lesson) -> None:
    with lesson("race") as page:
        guess(page)
        slide(page, "Steps in a sequence", 20)
        first = table(page)
        trainers = [Trainer(cell, "adding", steps=20) for cell in RACERS]
        flows = [trainer.flow() for trainer in trainers]
        for distance, row in enumerate(first):
            assert [plain_power(part) for part in row[1:]] == pytest.approx(
                [flow[distance] for flow in flows], rel=1e-3
            )
        for _ in range(3):
            button(page, "One step").click()
        settle(page)
        assert page.locator(".said").first.inner_text() == "RNN: batch 1. LSTM: batch 1. GRU: batch 1."
        assert table(page) != first
        button(page, "Back to the start").click()
        settle(page)
        assert page.locator(".said").first.inner_text() == "RNN: ready. LSTM: ready. GRU: ready."
        assert table(page) == first


def plain_power(text: str) -> float:
    mantissa, _, exponent = text.partition("\u00d710")
    digits = str.maketrans(
        "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", "-0123456789"
    )
    return plain(mantissa) * 10.0 ** int(exponent.translate(digits) or 0)


def test_it_stops_when_the_scene_is_left_and_goes_on_where_it_was(lesson: Lesson) -> None:
    with lesson("race") as page:
        guess(page)
        slide(page, "Steps in a sequence", 100)
        button(page, "Start training").click()
        button(page, "Stop").wait_for()
        page.locator("#language").select_option("zh")
        page.wait_for_selector('section[data-scene="race"][data-ready]')
        settle(page)
        said = page.locator(".said").first.inner_text()
        assert "第" in said
        settle(page)
        assert page.locator(".said").first.inner_text() == said
        assert page.get_by_role("button", name="开始训练").is_enabled()


def test_gates_are_chosen(lesson: Lesson) -> None:
    with lesson("race", notation="code") as page:
        guess(page)
        gates = page.locator('canvas[aria-label*="gate"]')
        shown = gates.get_attribute("aria-label")
        assert shown is not None
        assert shown.startswith("LSTM, gate f: 32 units")
        page.locator(".choice label", has_text="GRU z").locator("input").check()
        settle(page)
        shown = gates.get_attribute("aria-label")
        assert shown is not None
        assert shown.startswith("GRU, gate z: 32 units")
