"""Puts the lesson together: texts, data, styles and scripts, in one file.

The page's Content Security Policy (Level 3) allows only the script whose hash it states. The static page may
not use the network at all; the live one only asks the server that it came from.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from gatewise import files

_HERE = Path(__file__).parent
_PAGE, _TEXTS = _HERE / "page", _HERE / "texts"

SCENES = ("order", "unit", "sizes", "forgets", "states", "gates",
          "race", "gru", "change", "text", "series", "home")  # fmt: skip
# Concatenated in this order, they are one module. Each scene is a block, so that its names are its own.
_BEFORE, _AFTER = ("text.js", "kit.js", "charts.js", "question.js", "engine.js", "shell.js"), ("start.js",)


def write_page(path: str | Path, *, language: str | None = None) -> None:
    """Write the static page: one file that works without a network and without Python.

    Args:
        path: The page, a new file or one to replace.
        language: The language to begin with, "en" for example. By default that of the browser.

    Raises:
        ValueError: there is no text in `language`.
    """
    files.save(path, html(language=language).encode())


def html(*, live: bool = False, language: str | None = None) -> str:
    """The page; `live` for the one that `server` serves."""
    if language not in (None, *languages()):
        raise ValueError(f"language must be {', '.join(languages())}. Got {language!r}.")
    script = _script()
    digest = b64encode(sha256(script.encode()).digest()).decode("ascii")
    data: dict[str, Any] = {"live": live, "language": language, "scenes": SCENES, "texts": texts()}
    return Template(_part("lesson.html")).substitute(
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}' 'wasm-unsafe-eval'" + ("; connect-src 'self'" if live else ""),
        title=escape(data["texts"]["en"]["shell"]["title"]),
        styles=_styles(),
        data=_harmless(data),
        script=script,
    )


def languages() -> list[str]:
    """The languages that have a text, English first."""
    return sorted((file.stem for file in _TEXTS.glob("*.json")), key=lambda name: (name != "en", name))


def texts() -> dict[str, Any]:
    """The texts by language."""
    return {name: json.loads((_TEXTS / f"{name}.json").read_text(encoding="utf-8")) for name in languages()}


def _script() -> str:
    scenes = (f"{{\n{_part(f'scenes/{number:02d}_{name}.js')}}}" for number, name in enumerate(SCENES, 1))
    return "\n".join([*map(_part, _BEFORE), *scenes, *map(_part, _AFTER)])


def _styles() -> str:
    own = (file.read_text(encoding="utf-8") for file in sorted((_PAGE / "scenes").glob("*.css")))
    return "\n".join([_part("lesson.css"), *own])


def _harmless(data: Mapping[str, Any]) -> str:
    """JSON that cannot close the HTML element around it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _part(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8")
