"""Gates by hand: a real step of a trained LSTM."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import gatewise
import gatewise.learn.page
from gatewise import cells
from gatewise.tasks.synthetic.network import Network
from tests.learn.conftest import Lesson, settle
from tests.learn.pupil import done, guess, plain, slide, table

if TYPE_CHECKING:
    from playwright.sync_api import Page

STRING = "BTBPVVETE"


def seen() -> dict[str, np.ndarray]:
    """The gates and states of the network on the string, in Python: each ``[T, H]``."""
    network = Network(cells.lstm, 7, 12, 7, {})
    network.load_state_dict(load_file(gatewise.learn.page._SHIPPED / "reber_lstm.safetensors"))
    letters = torch.tensor([["BTSXPVE".index(letter)] for letter in STRING])
    with gatewise.watch(network.layer) as watched:
        output, _ = network.layer(F.one_hot(letters, 7).float())
    values = {
        name: getattr(watched["l0"], name)
        for name in ("f", "i", "g", "o", "c", "f_bar", "i_bar", "g_bar", "o_bar")
    }
    return {name: value[:, 0].detach().numpy() for name, value in {**values, "h": output}.items()}


def sums(page: Page) -> list[list[float]]:
    rows = page.locator(".gates-sums tbody tr").all()
    return [[plain(number) for number in row.locator("td").all_inner_texts()[:4]] for row in rows]


def target(page: Page) -> float:
    found = re.search(r"becomes (\S+) \(", page.locator(".check legend").inner_text())
    assert found
    return plain(found[1])


def gates_for(wanted: float, old: float, data: float) -> tuple[float, float]:
    """Forget and input gate, in the steps of the sliders, that make the memory that is wanted."""
    grid = [(f / 100, i / 100) for f in range(101) for i in range(101)]
    return min(grid, key=lambda gates: abs(gates[0] * old + gates[1] * data - wanted))


@pytest.mark.parametrize("step", [1, 4, 7])
def test_the_numbers_are_those_of_the_trained_network(lesson: Lesson, step: int) -> None:
    values = seen()
    with lesson("gates", calm=True) as page:
        guess(page)
        slide(page, "Step", step)
        for unit, shown in enumerate(table(page)):
            known = [values[name][step - 1, unit] for name in ("f", "i", "g", "o", "c", "h")]
            assert [plain(number) for number in shown[2:]] == pytest.approx(known, rel=1e-4, abs=1e-6)
        for name, row in zip("figo", sums(page), strict=True):
            assert row[3] == pytest.approx(values[f"{name}_bar"][step - 1, 1], abs=0.006)
            assert row[0] + row[1] + row[2] == pytest.approx(row[3], abs=0.02)


def test_the_gate_that_was_less_open_is_asked_first(lesson: Lesson) -> None:
    values = seen()
    with lesson("gates", calm=True) as page:
        assert "still hidden" in str(page.locator("canvas").first.get_attribute("aria-label"))
        less = int(np.argmin([values[name][6, 1] for name in ("f", "i")]))
        assert "Right." in guess(page, less).inner_text()


def test_the_check_wants_a_memory(lesson: Lesson) -> None:
    values = seen()
    with lesson("gates", calm=True) as page:
        guess(page)
        button, verdict = page.locator(".check button"), page.locator(".check .verdict")
        button.click()
        assert verdict.inner_text().startswith("Not quite.")
        f, i = gates_for(target(page), values["c"][5, 1], values["g"][6, 1])
        slide(page, "Forget gate", f)
        slide(page, "Input gate", i)
        slide(page, "Unit", 3)
        button.click()
        assert "step 7 and unit 2" in verdict.inner_text()
        assert not done(page, "gates")
        slide(page, "Unit", 2)
        button.click()
        settle(page)
        assert verdict.inner_text().startswith("Right.")
        assert done(page, "gates")


def test_the_network_moves_the_gates_itself(lesson: Lesson) -> None:
    values = seen()
    with lesson("gates", calm=True) as page:
        guess(page)
        page.get_by_role("button", name="As the network does it").click()
        settle(page)
        said = str(page.locator("canvas").first.get_attribute("aria-label"))
        assert f"the new memory is \u2212{-values['c'][6, 1]:.3f}" in said


def test_a_gate_is_opened_in_the_picture(lesson: Lesson) -> None:
    with lesson("gates", calm=True) as page:
        guess(page)
        canvas = page.locator("canvas").first
        box = canvas.bounding_box()
        assert box
        canvas.click(position={"x": box["width"] / 2, "y": 66 + 28})
        settle(page)
        assert page.locator(".slider", has_text="Forget gate").locator("output").inner_text() == "1.0"


def test_the_keyboard_alone_is_enough(lesson: Lesson) -> None:
    values = seen()
    with lesson("gates", calm=True) as page:
        page.locator(".question:not(.check) input").first.focus()
        page.keyboard.press("Space")
        page.keyboard.press("Enter")
        settle(page)
        wanted = gates_for(target(page), values["c"][5, 1], values["g"][6, 1])
        for slider, gate in zip(("Forget gate", "Input gate"), wanted, strict=True):
            page.locator(".slider", has_text=slider).locator("input").focus()
            page.keyboard.press("Home")
            for _ in range(round(100 * gate)):
                page.keyboard.press("ArrowRight")
        page.locator(".check button").press("Enter")
        settle(page)
        assert done(page, "gates")
