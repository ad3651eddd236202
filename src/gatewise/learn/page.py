"""Puts the lesson together: texts, data, styles and scripts, in one file.

The page's Content Security Policy (Level 3) allows only the script whose hash it states. The static page may
not use the network at all; the live one only asks the server that it came from.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from gatewise import files
from gatewise._version import __version__
from gatewise.learn.palette import names, palette, text_of
from gatewise.web.describing import bundle
from gatewise.web.document import embedded, source

_HERE = Path(__file__).parent
_PAGE, _TEXTS, _DATA = _HERE / "page", _HERE / "texts", _HERE / "data"
_SHIPPED = _HERE.parent / "data"

SCENES = ("order", "unit", "sizes", "forgets", "states", "gates",
          "race", "gru", "change", "text", "series", "home")  # fmt: skip
# Concatenated in this order, they are one module. Each scene is a block, so that its names are its own.
_BEFORE, _AFTER = (
    ("text.js", "kit.js", "charts.js", "question.js", "engine.js", "training.js", "watching.js", "shell.js"),
    ("start.js",),
)


def write_page(
    path: str | Path,
    *,
    language: str | None = None,
    count: Callable[[int, int], None] = lambda done, all: None,
) -> None:
    """Write the static page: one file that works without a network and without Python.

    Args:
        path: The page, a new file or one to replace.
        language: The language to begin with, "en" for example. By default that of the browser.
        count: Called after each cell that is compiled, with the number of those done and of all.

    Raises:
        ValueError: `language` has no texts.
        OSError: the file cannot be written.
    """
    _known(language)
    files.save(path, html(language=language, cells=palette(count=count)).encode())


def html(*, live: bool = False, language: str | None = None, cells: Mapping[str, Any] | None = None) -> str:
    """The page.

    Args:
        live: Whether a server compiles cells, as `server` does.
        language: The language to begin with. By default that of the browser.
        cells: The palette, for a page without a server.

    Raises:
        ValueError: `language` has no texts.
    """
    _known(language)
    script = _script()
    about = [{"name": name, "text": text_of(name)} for name in names()]
    data = {"live": live, "language": language, "scenes": SCENES, "cells": about, "texts": texts()}
    data["version"] = __version__
    return Template(_part("lesson.html")).substitute(
        policy="default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        "style-src 'unsafe-inline'; "
        f"script-src {source(script)} 'wasm-unsafe-eval'" + ("; connect-src 'self'" if live else ""),
        title=escape(texts()["en"]["shell"]["title"]),
        styles=_styles(),
        data=embedded(data),
        palette=embedded(cells or {}),
        weights=embedded(_weights()),
        script=script,
    )


def _known(language: str | None) -> None:
    if language not in (None, *languages()):
        raise ValueError(f"language must be one of {', '.join(languages())}. Got {language!r}.")


def _weights() -> dict[str, str]:
    """The files of trained weights by name, compressed, as base64."""
    found = [*_DATA.glob("*.safetensors"), *_SHIPPED.glob("*.safetensors")]
    contents = {file.stem: file.read_bytes() for file in sorted(found)}
    return {
        name: b64encode(gzip.compress(content, 9, mtime=0)).decode() for name, content in contents.items()
    }


def languages() -> list[str]:
    """The languages that have a text, English first."""
    return sorted((file.stem for file in _TEXTS.glob("*.json")), key=lambda name: (name != "en", name))


def texts() -> dict[str, Any]:
    """The texts by language."""
    return {name: json.loads((_TEXTS / f"{name}.json").read_text(encoding="utf-8")) for name in languages()}


def _script() -> str:
    scenes = (f"{{\n{_part(f'scenes/{number:02d}_{name}.js')}}}" for number, name in enumerate(SCENES, 1))
    return "\n".join([bundle(), *map(_part, _BEFORE), *scenes, *map(_part, _AFTER)])


def _styles() -> str:
    own = (file.read_text(encoding="utf-8") for file in sorted((_PAGE / "scenes").glob("*.css")))
    return "\n".join([_part("lesson.css"), *own])


def _part(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8")
