"""Two states: a network learns, and its c moves less than its h."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

import gatewise
from gatewise.learn.problems import Array, Random
from gatewise.learn.training import Trainer
from tests.learn.conftest import Lesson, settle
from tests.learn.pupil import answer, done, guess, hasten, plain, table

if TYPE_CHECKING:
    from playwright.sync_api import Page

SHOWN = 8


def trained() -> tuple[Trainer, dict[str, torch.Tensor], int]:
    """The same network in Python, its states on the sequences of the scene, and the one that is shown."""
    trainer = Trainer("lstm", "same", units=5, steps=30, rows=16, rate=0.02, seed=16)
    while len(trainer.losses) <= 20 or trainer.recent >= trainer.guess / 100:
        trainer.iteration()
    batch = trainer.task.draw(Random(16, "show"), 30, SHOWN)
    with gatewise.watch(trainer.layer) as seen:
        trainer.layer(torch.from_numpy(batch.x))
    changes = [changed(batch.x[:, row]) for row in range(SHOWN)]
    return trainer, {name: seen["l0"][name].detach() for name in "ch"}, changes.index(max(changes))


def changed(x: Array) -> int:
    """How often the sign at a bell differs from the one before."""
    signs = x[x[:, 1] > 0, 0]
    return int((signs[1:] != signs[:-1]).sum())


def pace(values: torch.Tensor) -> torch.Tensor:
    """How far each unit moves in a step, as a share of its range."""
    moved = values.diff(dim=0).abs().mean((0, 1))
    return moved / (values.amax((0, 1)) - values.amin((0, 1)))


def learn(page: Page) -> None:
    hasten(page)
    page.get_by_role("button", name="Start training").click()
    page.locator(".question").first.wait_for()
    settle(page)


def test_the_network_learns_as_in_python_and_its_memory_is_patient(lesson: Lesson) -> None:
    trainer, states, row = trained()
    paces = {name: pace(values) for name, values in states.items()}
    assert (paces["c"] < paces["h"]).all()
    clearest = int((paces["c"] / paces["h"]).argmin())
    with lesson("states") as page:
        assert not page.locator(".question").first.is_visible()
        learn(page)
        said = page.locator(".said").first.inner_text()
        assert said.startswith(f"It has learned the game in {len(trainer.losses)} batches")
        verdict = guess(page, 0)
        assert verdict.inner_text()
        sentence = page.locator(".said").nth(1).inner_text()
        shares = [float(number) / 100 for number in re.findall(r"(\d+)\u00a0%", sentence)]
        for share, name in zip(shares, "ch", strict=True):
            assert abs(share - paces[name].mean()) <= 0.005
        for step, (_, c, h) in enumerate(table(page)):
            assert abs(plain(c) - states["c"][step, row, clearest]) < 1e-4
            assert abs(plain(h) - states["h"][step, row, clearest]) < 1e-4


def test_the_prediction_is_marked_and_the_check_wants_both_memories(lesson: Lesson) -> None:
    with lesson("states") as page:
        learn(page)
        right = guess(page, 0).inner_text().startswith("Right.")
        pairs = [page.locator(".check label").nth(k).inner_text() for k in range(4)]
        marks = []
        for pair in pairs:
            assert not done(page, "states")
            marks.append(answer(page, pair).inner_text().startswith("Right."))
            if marks[-1]:
                break
        assert marks[-1]
        assert done(page, "states")
        names = page.locator(".chart .legend").all_inner_texts()
        assert ("A is the memory" in names[1]) == right
        for shown, letter in zip(names[2:], re.findall(r"([AB]) in the", pairs[len(marks) - 1]), strict=True):
            assert f"{letter} is the memory" in shown


def test_a_wrong_pair_is_not_enough(lesson: Lesson) -> None:
    with lesson("states") as page:
        learn(page)
        guess(page, 1)
        wrong = 0
        for pair in [page.locator(".check label").nth(k).inner_text() for k in range(4)]:
            if answer(page, pair).inner_text().startswith("Not quite."):
                wrong += 1
                assert not done(page, "states")
            else:
                break
        assert wrong or done(page, "states")


def test_training_is_stepped_stopped_and_rewound_by_the_keyboard(lesson: Lesson) -> None:
    with lesson("states") as page:
        said = page.locator(".said").first
        fresh = said.inner_text()
        assert page.get_by_role("button", name="Back to the start").is_disabled()
        page.get_by_role("button", name="One step").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        settle(page)
        assert said.inner_text().startswith("Batch 2: ")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        settle(page)
        assert said.inner_text() == fresh
