"""Take it home: the number of Python, and the model as a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

import gatewise
from gatewise.learn.training import Trainer
from tests.learn.conftest import Lesson, settle
from tests.learn.pupil import answer, done, guess, hasten

if TYPE_CHECKING:
    from playwright.sync_api import Page


def train_here(page: Page) -> None:
    assert not page.locator(".question").first.is_visible()
    hasten(page)
    page.get_by_role("button", name="Start training").click()
    page.locator("button.main:disabled").wait_for(timeout=120_000)
    settle(page)


def trained(lines: str) -> Trainer:
    """The trainer that the three lines of the page make."""
    seen: dict[str, object] = {}
    exec(lines, seen)
    trainer = seen["trainer"]
    assert isinstance(trainer, Trainer)
    return trainer


def test_the_three_lines_print_the_number_of_the_page(lesson: Lesson, tmp_path: Path) -> None:
    with lesson("home") as page:
        train_here(page)
        guess(page)
        lines = page.get_by_label("Three lines of Python").inner_text()
        trainer = trained(lines)
        number = repr(trainer.losses[-1])
        near = repr(float(np.nextafter(trainer.losses[-1], 1)))
        assert number not in page.content()
        wrong = answer(page, near).inner_text()
        assert wrong.startswith(f"Not quite. {near} is not the number of this page.")
        assert not done(page, "home")
        assert answer(page, number).inner_text().startswith(f"Right. {number}: equal to the last digit.")
        assert done(page, "home")
        assert trainer.solved

        with page.expect_download() as download:
            page.get_by_role("button", name="Download adding.safetensors").click()
        path = tmp_path / "adding.safetensors"
        download.value.save_as(path)
        load = page.get_by_label("Python that loads the file").inner_text()
    model = gatewise.load(path)
    stored = {**dict(model["layer"].named_parameters()), **dict(model.named_parameters())}
    for name, weight in trainer.weights.items():
        found = stored[name if name.startswith("readout.") else f"{name}_l0"]
        np.testing.assert_array_equal(found.detach().numpy(), weight)
    seen: dict[str, object] = {}
    exec(re.sub('"adding.safetensors"', repr(str(path)), load), seen)
    batch = trainer.sample()
    layer, readout = model["layer"], model["readout"]
    answers = readout(layer(torch.from_numpy(batch.x))[0][-1])[:, 0]
    assert abs(answers.detach().numpy() - batch.target).max() < 0.5


def test_the_cell_of_the_page_is_the_cell(lesson: Lesson) -> None:
    with lesson("home", language="zh") as page:
        hasten(page)
        page.get_by_role("button", name="开始训练").click()
        page.locator("button.main:disabled").wait_for(timeout=120_000)
        settle(page)
        guess(page)
        text = page.get_by_label("LSTM", exact=True).inner_text()
    assert text.startswith(
        "from gatewise import cell, sigmoid, tanh\n\n@cell\ndef lstm(h, c, *, i, f, g, o):\n"
    )
    equations = text.partition("@cell\n")[2]
    assert gatewise.read_cell(equations).signature() == gatewise.cells.lstm.signature()
