"""The first scenes after a prediction, with everything open: accessible and inside the window."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import gatewise.learn
from tests.learn.conftest import Lesson, settle
from tests.learn.pupil import guess, overflows
from tests.tabs import faults

SCENES = ["order", "unit", "sizes", "forgets", "gates"]
LOOKS = [
    (1280, "en", False, "seed"),
    (375, "zh", True, "book"),
    pytest.param(375, "en", False, "code", marks=pytest.mark.exhaustive),
    pytest.param(1280, "zh", True, "seed", marks=pytest.mark.exhaustive),
]


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize(("width", "language", "dark", "notation"), LOOKS)
def test_a_scene_is_accessible_and_fits_after_a_prediction(
    lesson: Lesson, scene: str, width: int, language: str, dark: bool, notation: str
) -> None:
    with lesson(scene, width=width, language=language, dark=dark, notation=notation, calm=True) as page:
        guess(page)
        for summary in page.locator("main summary").all():
            summary.click()
        settle(page)
        assert not overflows(page)
        assert faults(page) == []


@pytest.mark.parametrize("scene", SCENES)
def test_what_the_learner_did_outlasts_a_change_of_language(lesson: Lesson, scene: str) -> None:
    with lesson(scene, calm=True) as page:
        guess(page, 1)
        page.locator("#language").select_option("zh")
        page.wait_for_selector(f'section[data-scene="{scene}"][data-ready]')
        settle(page)
        assert page.locator(".question:not(.check) .verdict").first.inner_text()
        assert page.locator(".check").first.is_visible()


def test_each_key_of_the_first_scenes_is_used() -> None:
    folder = Path(gatewise.learn.__file__).parent
    for scene in SCENES:
        (source,) = (folder / "page" / "scenes").glob(f"*_{scene}.js")
        code = source.read_text(encoding="utf-8")
        for key in json.loads((folder / "texts" / "en.json").read_text(encoding="utf-8"))["scenes"][scene]:
            stem, _, _ = key.rpartition("_")
            assert f'"{key}"' in code or f"{stem}_${{" in code or key == "title", (scene, key)
