"""The trainer: the same losses in Python and in the browser, and networks that learn."""

from __future__ import annotations

import base64
import doctest
import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gatewise import Cell, cells
from gatewise.compiler.wasm.target import RELAXED
from gatewise.learn import problems, training
from gatewise.learn.beginning import beginning
from gatewise.learn.problems import TASKS, Random
from gatewise.learn.training import Trainer, train
from gatewise.web.describing import bundle, described, kernels_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_TRAIN = """
async ({ about, code, beginning, given, iterations }) => {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const modules = Object.fromEntries(Object.entries(code).map(([name, text]) => [name, bytes(text)]));
  const kernels = Object.assign(await gatewise.kernels(about, modules), { beginning });
  const trainer = new training.Trainer({ kernels, ...given });
  for (let n = 0; n < iterations; n++) trainer.iteration();
  const first = trainer.losses;
  const weights = Object.fromEntries(Object.entries(trainer.weights).map(([name, w]) => [name, [...w]]));
  const flow = [...trainer.flow()];
  trainer.rewind();
  for (let n = 0; n < iterations; n++) trainer.iteration();
  return { first, again: trainer.losses, weights, flow, size: trainer.size, guess: trainer.guess };
}
"""


@pytest.fixture(scope="module")
def page(browser: Browser) -> Any:
    page = browser.new_page()
    script = Path(training.__file__).with_name("page") / "training.js"
    page.add_script_tag(content=bundle() + script.read_text("utf-8"))
    yield page
    page.close()


def in_browser(page: Page, cell: Cell, iterations: int, **given: Any) -> Any:
    code = {name: base64.b64encode(code).decode() for name, code in kernels_of(cell, RELAXED).items()}
    about = {"about": described(cell), "code": code, "beginning": beginning(cell)}
    return page.evaluate(_TRAIN, {**about, "given": given, "iterations": iterations})


@pytest.mark.parametrize(
    ("cell", "task"),
    [("lstm", "adding"), ("gru", "remember"), ("rnn", "order"), ("lstm", "same"), ("lstm_coupled", "adding"),
     ("gru_reset_before", "order")],
)  # fmt: skip
def test_the_browser_has_the_losses_of_python_to_the_last_digit(page: Page, cell: str, task: str) -> None:
    trainer = train(cell, task, units=6, steps=9, rows=5, iterations=12, seed=3)
    found = in_browser(page, trainer.cell, 12, task=task, units=6, steps=9, rows=5, seed=3)
    assert found["first"] == trainer.losses
    assert found["again"] == trainer.losses
    assert list(found["weights"]) == list(trainer.weights)
    for name, weight in trainer.weights.items():
        np.testing.assert_array_equal(np.array(found["weights"][name], np.float32), weight.ravel(), name)
    assert found["size"] == trainer.size


def test_the_losses_of_the_lesson_are_those_of_python(page: Page) -> None:
    trainer = train("lstm", "adding", units=32, steps=50, iterations=30, seed=1)
    found = in_browser(page, cells.lstm, 30, task="adding", units=32, steps=50, rows=32, seed=1)
    assert json.dumps(found["first"]) == json.dumps(trainer.losses)


def test_the_gradient_by_distance_is_that_of_the_loss(page: Page) -> None:
    found = in_browser(page, cells.lstm, 0, task="adding", units=6, steps=9, seed=3)
    trainer = Trainer("lstm", "adding", units=6, steps=9, seed=3)
    flow = trainer.flow()
    np.testing.assert_allclose(found["flow"], flow, rtol=1e-5)


def test_what_guessing_gives_is_measured(page: Page) -> None:
    found = in_browser(page, cells.rnn, 0, task="adding", units=2, steps=9)
    assert found["guess"] == pytest.approx(1 / 6, rel=0.1)
    assert Trainer("rnn", "adding", units=2, steps=9).guess == pytest.approx(found["guess"], rel=1e-12)
    found = in_browser(page, cells.rnn, 0, task="order", units=2, steps=9)
    assert found["guess"] == pytest.approx(np.log(4), rel=0.01)


def test_an_lstm_learns_to_add_and_rewinding_forgets_it() -> None:
    trainer = Trainer("lstm", "adding", units=12, steps=8, rate=0.02)
    weights = {name: weight.copy() for name, weight in trainer.weights.items()}
    while not trainer.solved:
        trainer.iteration()
    assert len(trainer.losses) < 400
    losses = trainer.losses
    trainer.rewind()
    for name, weight in trainer.weights.items():
        np.testing.assert_array_equal(weight, weights[name])
    assert [trainer.iteration() for _ in range(5)] == losses[:5]


def test_gates_of_the_same_name_begin_with_the_same_weights() -> None:
    whole, coupled = (Trainer(name, "adding", units=5, steps=4).weights for name in ("lstm", "lstm_coupled"))
    for name in ("weight_ih", "weight_hh"):
        i, _, g, o = np.split(whole[name], 4)
        np.testing.assert_array_equal(np.concatenate([i, g, o]), coupled[name])
    assert (whole["bias_ih"][5:10] == 1).all()
    assert (whole["bias_hh"][5:10] == 0).all()
    assert (coupled["bias_ih"][:5] == -1).all()  # 1 - i keeps


@pytest.mark.parametrize("name", TASKS)
def test_tasks_do_not_depend_on_how_many_rows_are_drawn_at_a_time(name: str) -> None:
    task = TASKS[name]
    whole = task.draw(Random(1, "train"), 7, 4)
    random = Random(1, "train")
    parts = [task.draw(random, 7, rows) for rows in (1, 3)]
    np.testing.assert_array_equal(whole.x, np.concatenate([part.x for part in parts], 1))


def test_adding_adds() -> None:
    x, target = TASKS["adding"].draw(Random(5, "train"), 11, 64)
    assert (x[:, :, 1].sum(0) == 2).all()
    assert (x[:5, :, 1].sum(0) == 1).all()
    np.testing.assert_allclose((x[:, :, 0] * x[:, :, 1]).sum(0), target, rtol=1e-6)


def test_same_compares_with_the_last_marked_number() -> None:
    x, target = TASKS["same"].draw(Random(5, "train"), 30, 16)
    for row in range(16):
        kept = 0
        for t in range(30):
            kept = x[t, row, 0] if x[t, row, 1] else kept
            assert target[t, row] == (x[t, row, 0] == kept)
    assert 0.05 < x[1:, :, 1].mean() < 0.15


def test_random_numbers_are_uniform() -> None:
    drawn = Random(1, "train").draw(100_000)
    counts, _ = np.histogram(drawn, 20, (0, 1))
    assert (abs(counts - 5000) < 350).all()
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 0.01


def test_exponential_and_logarithm_are_exact_to_two_units_in_the_last_place() -> None:
    a = np.concatenate([-np.linspace(0, 690, 100_001), -np.logspace(-20, 2, 10_001)])
    np.testing.assert_allclose(training._exp(a), np.exp(a), rtol=4.5e-16)
    b = np.concatenate([np.linspace(1, 1000, 100_001), 1 + np.logspace(-15, 3, 10_001)])
    np.testing.assert_allclose(training._log(b), np.log(b), rtol=4.5e-16)
    assert training._exp(np.array([-701.0])) == 0


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"task must be one of adding, remember, same, order\. Got 'sums'\."):
        train("lstm", "sums", iterations=0)
    with pytest.raises(
        ValueError, match=r"cell must be a Cell or the name of one of gatewise\.cells\. Got 'lstn'\."
    ):
        train("lstn", iterations=0)


def test_problems_are_listed_as_in_the_page(page: Page) -> None:
    assert page.evaluate("Object.keys(training.TASKS)") == list(problems.TASKS)


@pytest.mark.parametrize("name", ["beginning", "problems", "training"])
def test_examples_of_modules_run(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(f"gatewise.learn.{name}"))
    assert attempted
    assert not failed


def test_the_example_of_the_documentation_runs() -> None:
    page = Path(__file__).parents[2] / "docs" / "learn.md"
    failed, attempted = doctest.testfile(str(page), module_relative=False)
    assert attempted
    assert not failed
