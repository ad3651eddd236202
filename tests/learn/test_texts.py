"""The texts of the lesson: every language says the same things, and says everything that is asked for."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gatewise.learn import page
from gatewise.learn.page import SCENES, languages, texts

PARTS = Path(page.__file__).parent / "page"
PLACES = re.compile(r"\{(\w+)\}")
LETTERS = re.compile(r"\$(\w+)\$")
# Keys as texts of the scripts: words("key", ...), kit.text("key"), textOf("kit", "key"), shellText("key").
USED = re.compile(r"""(?<!engine\.)\b(?:words|text)\(\s*"(\w+)\"""")
OF_SHELL = re.compile(r"""\bshellText\(\s*"(\w+)\"""")
OF_KIT = re.compile(r"""\btextOf\(\s*"kit",\s*"(\w+)\"""")


def flat(section: Any, path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in section.items():
        if isinstance(value, dict):
            yield from flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _letters() -> set[str]:
    """The letters of all notations, from the script that writes them."""
    (found,) = re.findall(r"book: \{(.*?)\}", (PARTS / "text.js").read_text(encoding="utf-8"), re.DOTALL)
    return set(re.findall(r"\b(\w+): ", found))


ALL_LETTERS = _letters()
ALL = {name: dict(flat(text)) for name, text in texts().items()}


def test_english_and_chinese_are_there() -> None:
    assert languages()[0] == "en"
    assert "zh" in languages()
    assert all(ALL[name]["name"] for name in languages())


@pytest.mark.parametrize("name", languages())
def test_each_language_has_every_text(name: str) -> None:
    assert ALL[name].keys() == ALL["en"].keys()
    assert [key for key, text in ALL[name].items() if not text.strip()] == []


@pytest.mark.parametrize("name", languages())
def test_each_language_fills_in_the_same_numbers_and_letters(name: str) -> None:
    for key, text in ALL["en"].items():
        assert set(PLACES.findall(ALL[name][key])) == set(PLACES.findall(text)), key
        assert set(LETTERS.findall(ALL[name][key])) <= set(LETTERS.findall(text)) | ALL_LETTERS, key


@pytest.mark.parametrize("name", languages())
def test_signs_come_in_pairs_and_letters_exist(name: str) -> None:
    for key, text in ALL[name].items():
        assert text.count("**") % 2 == 0, key
        assert text.count("`") % 2 == 0, key
        assert set(LETTERS.findall(text)) <= ALL_LETTERS, key
        assert "<" not in text or re.search(r"<\s|<$", text), f"{key}: markup is not read"


@pytest.mark.parametrize("name", languages())
def test_the_sections_are_in_the_order_of_the_scenes(name: str) -> None:
    found = texts()[name]
    assert tuple(found["scenes"]) == SCENES
    assert list(found) == ["name", "shell", "kit", "scenes"]


@pytest.mark.parametrize("number", range(1, 13))
def test_each_text_that_a_scene_asks_for_exists(number: int) -> None:
    id = SCENES[number - 1]
    script = (PARTS / f"scenes/{number:02d}_{id}.js").read_text(encoding="utf-8")
    assert set(USED.findall(script)) <= texts()["en"]["scenes"][id].keys()


def test_each_text_of_the_frame_exists() -> None:
    scripts = "".join(file.read_text(encoding="utf-8") for file in PARTS.rglob("*.js"))
    found = texts()["en"]
    assert set(OF_SHELL.findall(scripts)) <= found["shell"].keys()
    assert set(OF_KIT.findall(scripts)) <= found["kit"].keys()


def test_each_text_of_the_frame_is_used() -> None:
    scripts = "".join(file.read_text(encoding="utf-8") for file in PARTS.rglob("*.js"))
    for section in ("shell", "kit"):
        keys = texts()["en"][section]
        assert [key for key in keys if not re.search(rf"\b{key}\b|{key.split('_')[0]}_\$", scripts)] == []


def test_no_key_stands_twice() -> None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        assert twice == []
        return dict(pairs)

    for name in languages():
        text = (PARTS.parent / "texts" / f"{name}.json").read_text(encoding="utf-8")
        json.loads(text, object_pairs_hook=once)
