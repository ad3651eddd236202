"""It forgets: a pulse forward, the gradient backward."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gatewise import cells
from gatewise.nn import Recurrent
from tests.learn.conftest import Lesson, settle
from tests.learn.pupil import done, guess, plain, slide, table


def left(r: float) -> tuple[list[float], list[float]]:
    """What is left of a pulse and of the gradient, in Python."""
    layer = Recurrent(cells.rnn, 1, 1)
    with torch.no_grad():
        for name, value in {"weight_ih": 1.0, "weight_hh": r, "bias_ih": 0.0, "bias_hh": 0.0}.items():
            layer.get_parameter(f"{name}_l0").fill_(value)
    x = torch.zeros(31, 1, 1)
    x[0] = 0.001
    x.requires_grad_()
    output, _ = layer(x)
    output[-1].sum().backward()
    assert x.grad is not None
    pulse, gradient = output.detach().flatten().numpy(), x.grad.flatten().numpy()[::-1]
    return list(pulse / pulse[0]), list(gradient / gradient[0])


@pytest.mark.parametrize("r", [0.6, 0.95, 1.2])
def test_pulse_and_gradient_are_those_of_python(lesson: Lesson, r: float) -> None:
    with lesson("forgets", calm=True) as page:
        guess(page)
        slide(page, "r: listens", r)
        rows = table(page)
        for column, expected in zip((1, 2), left(r), strict=True):
            shown = [row[column] for row in rows]
            kept = [k for k, number in enumerate(shown) if "\u00d7" not in number]
            assert len(kept) > 5
            np.testing.assert_allclose(
                [plain(shown[k]) for k in kept], [expected[k] for k in kept], rtol=1e-4
            )


def test_what_is_left_after_ten_steps_is_asked_first(lesson: Lesson) -> None:
    with lesson("forgets", calm=True) as page:
        choices = page.locator(".question:not(.check) label").all_inner_texts()
        assert choices == ["90\u00a0%", "67\u00a0%", "35\u00a0%", "0\u00a0%"]
        assert page.locator(".slider").is_hidden()
        assert "35\u00a0%" not in str(page.locator("canvas").get_attribute("aria-label"))
        assert "Right." in guess(page, 2).inner_text()
        assert "35\u00a0%" in str(page.locator("canvas").get_attribute("aria-label"))


def test_above_one_both_explode(lesson: Lesson) -> None:
    with lesson("forgets", calm=True) as page:
        guess(page)
        slide(page, "r: listens", 1.15)
        assert "\u00d74.0" in page.locator(".said").inner_text()
        assert "\u00d74.0" in str(page.locator("canvas").get_attribute("aria-label"))


@pytest.mark.parametrize(
    ("r", "verdict"), [(0.933, "Right."), (0.93, "Not quite."), (0.936, "Not quite."), (1.1, "Not quite.")]
)
def test_the_check_wants_half_of_the_pulse_after_ten_steps(lesson: Lesson, r: float, verdict: str) -> None:
    with lesson("forgets", calm=True) as page:
        guess(page)
        slide(page, "r: listens", r)
        page.locator(".check button").click()
        settle(page)
        assert page.locator(".check .verdict").inner_text().startswith(verdict)
        assert done(page, "forgets") == (verdict == "Right.")


def test_the_keyboard_alone_is_enough(lesson: Lesson) -> None:
    with lesson("forgets", calm=True) as page:
        page.locator(".question:not(.check) input").first.focus()
        page.keyboard.press("Space")
        page.keyboard.press("Enter")
        settle(page)
        slide(page, "r: listens", 0.92)
        page.locator(".slider input").focus()
        for _ in range(12):
            page.keyboard.press("ArrowRight")
        page.get_by_role("button", name="+0.001").press("Enter")
        page.locator(".check button").press("Enter")
        settle(page)
        assert done(page, "forgets")
