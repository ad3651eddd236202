"""The scenes in which networks train: accessible and inside the window, also when everything is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.learn.conftest import Lesson, check_accessible, settle
from tests.learn.pupil import guess, hasten

if TYPE_CHECKING:
    from playwright.sync_api import Page

TRAINS_FIRST = ("states", "home")


def show_everything(page: Page, scene: str) -> None:
    if scene in TRAINS_FIRST:
        hasten(page)
        page.locator("main .card button.main").click()
        page.locator(".question").first.wait_for(timeout=120_000)
    guess(page, 1)
    for summary in page.locator("main summary").all():
        summary.click()
    settle(page)


@pytest.mark.parametrize("scene", ["states", "race", "gru", "change", "home"])
@pytest.mark.parametrize(
    ("width", "language", "dark", "notation"),
    [
        (1280, "en", False, "code"),
        (375, "zh", True, "seed"),
        pytest.param(375, "en", False, "book", marks=pytest.mark.exhaustive),
    ],
)
def test_a_scene_that_shows_everything_is_accessible_and_fits(
    lesson: Lesson, scene: str, width: int, language: str, dark: bool, notation: str
) -> None:
    with lesson(scene, width=width, language=language, dark=dark, notation=notation, calm=True) as page:
        show_everything(page, scene)
        check_accessible(page)


@pytest.mark.parametrize("scene", ["states", "race", "gru", "change", "home"])
def test_what_was_trained_outlasts_a_change_of_language(lesson: Lesson, scene: str) -> None:
    with lesson(scene) as page:
        show_everything(page, scene)
        if scene not in TRAINS_FIRST:
            page.locator("main .card button.main").first.click()
            settle(page)
        page.locator("#language").select_option("zh")
        page.wait_for_selector(f'section[data-scene="{scene}"][data-ready]')
        settle(page)
        assert page.locator(".question").nth(0).locator(".verdict").inner_text()
        assert page.locator(".check").is_visible()
        if scene in TRAINS_FIRST:
            assert page.locator("main .card button.main").is_disabled()
