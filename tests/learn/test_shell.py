"""The frame of the lesson."""

from __future__ import annotations

import pytest

from gatewise.learn.page import SCENES
from tests.learn.conftest import Lesson


@pytest.mark.parametrize("scene", SCENES)
def test_each_scene_opens_at_its_address(lesson: Lesson, scene: str) -> None:
    with lesson(scene) as page:
        assert page.locator("h2").count() == 1
        assert page.locator('#scenes a[aria-current="page"]').get_attribute("href") == f"#{scene}"
