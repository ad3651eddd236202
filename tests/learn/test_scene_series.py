"""The scene of the weather: its numbers are those of Python, and its check knows right from wrong."""

from __future__ import annotations

import re
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

import gatewise
from gatewise import cells
from gatewise.nn import Recurrent
from tests.learn.conftest import Lesson, ready, settle
from tests.learn.pupil import choose
from tests.selection import with_rest
from tests.tabs import faults

if TYPE_CHECKING:
    pass

FILE = Path(gatewise.__file__).parent / "learn" / "data" / "weather.safetensors"
AHEAD, WEEK, EVERY = 24, 168, 22
FAULTS = [("f", 0.0), ("f", 1.0), ("i", 0.0), ("i", 1.0), ("o", 0.0)]  # in the order of the answers


@cache
def errors() -> dict[tuple[str, float] | None, float]:
    """The mean error in °C without a fault and with each, computed by Python."""
    weights = load_file(FILE)
    layer = Recurrent(cells.lstm, 1, weights["weight_hh"].shape[1])
    layer.load_state_dict(
        {f"{name}_l0": weights[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    )
    series, (mean, deviation) = weights["series"], weights["scale"]
    moments = range(WEEK - 1, len(series) - AHEAD, EVERY)
    x = torch.stack([series[now - WEEK + 1 : now + 1] for now in moments], 1)[..., None]
    after = torch.stack([series[now + 1 : now + 1 + AHEAD] for now in moments])

    def error(network: Recurrent) -> float:
        with torch.no_grad():
            h = network((x - mean) / deviation)[0][-1]
        forecast = mean + deviation * torch.nn.functional.linear(
            h, weights["readout.weight"], weights["readout.bias"]
        )
        return float((forecast - after).abs().mean())

    found: dict[tuple[str, float] | None, float] = {None: error(layer)}
    for gate, value in FAULTS:
        found[gate, value] = error(gatewise.edit(layer, "l0", {gate: value}, steps=slice(-12, None)))
    return found


def shown(error: float) -> str:
    """As the page writes it: two significant digits."""
    return f"{error:#.2g}".rstrip(".")


def test_the_error_is_that_of_python(lesson: Lesson) -> None:
    with lesson("series") as page:
        assert shown(errors()[None]) in page.locator(".said").first.inner_text()


@pytest.mark.parametrize(("number", "fault"), list(enumerate(FAULTS)))
def test_the_check_knows_what_is_broken(lesson: Lesson, number: int, fault: tuple[str, float]) -> None:
    with lesson("order") as page:
        page.evaluate(f"Math.random = () => {(number + 0.5) / len(FAULTS)}")  # chooses what is broken
        page.evaluate("location.hash = '#series'")
        ready(page, "series")
        for place in range(len(FAULTS)):
            if place != number:
                assert choose(page, place).startswith("Not quite.")
        assert page.locator("#scenes a.done").count() == 0
        text = choose(page, number)
        assert text.startswith("Right.")
        assert shown(errors()[fault]) in text
        assert shown(errors()[None]) in text
        assert page.locator("#scenes a.done").count() == 1


@pytest.mark.parametrize(
    ("language", "width"),
    with_rest(
        product(["en", "zh"], [1280, 375]), lambda language, width: (language == "zh") == (width == 375)
    ),
)
def test_a_held_gate_changes_the_forecast_by_keyboard(lesson: Lesson, language: str, width: int) -> None:
    with lesson("series", language=language, width=width) as page:
        costs = page.locator(".said").nth(2)
        assert re.search(r"\d", costs.inner_text()) is None
        page.locator(".choice input").first.focus()
        page.keyboard.press("ArrowRight")  # the forget gate, at 0 for the last 12 hours
        settle(page)
        assert shown(errors()["f", 0.0]) in costs.inner_text()
        page.get_by_role("slider").nth(1).focus()
        page.keyboard.press("End")
        settle(page)
        assert shown(errors()["f", 1.0]) in costs.inner_text()


@pytest.mark.parametrize("dark", [False, True])
def test_the_scene_is_accessible_and_does_not_overflow(lesson: Lesson, dark: bool) -> None:
    with lesson("series", width=375, dark=dark) as page:
        page.locator("form").first.locator("input").first.check()
        page.locator("form").first.get_by_role("button").click()
        page.locator("summary").first.click()
        page.locator("summary").last.click()
        settle(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        assert faults(page) == []
