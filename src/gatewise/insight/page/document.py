"""Puts the page together: data in a template, with styles and scripts, in one file.

The page's Content Security Policy (Level 3) allows only the scripts whose hash it states, WebAssembly if
the page runs the model, and no network access. Input of the user is inserted as data, never as markup.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from gatewise.language import Cell
from gatewise.language.writing.mathml import mathml
from gatewise.web.describing import bundle
from gatewise.web.document import embedded, source

_HERE = Path(__file__).parent
# Concatenated in this order, they are one module.
_SCRIPTS = ("data.js", "terms.js", "colours.js", "charts.js", "controls.js", "network.js", "own.js",
            "reading.js", "sums.js", "step.js", "sequence.js", "memory.js", "inputs.js", "answers.js",
            "held.js", "try.js", "page.js")  # fmt: skip

_INFINITE = 10**309  # beyond float64


def document(title: str, cells: Mapping[str, Cell], data: Mapping[str, Any]) -> str:
    """The page, from data that is plain JSON, and the equations by name."""
    runs = data.get("running") is not None
    scripts = "\n".join([*([bundle()] if runs else []), *(_part(name) for name in _SCRIPTS)])
    return Template(_part("page.html")).substitute(
        title=escape(title),
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {source(scripts)}"
        + " 'wasm-unsafe-eval'" * runs,
        styles=_part("page.css"),
        scripts=scripts,
        equations="".join(_equations(name, cell) for name, cell in cells.items()),
        data=embedded(_numbers(data)),
    )


def _equations(name: str, cell: Cell) -> str:
    lines = (cell.__doc__ or "").strip().splitlines()
    about = f"<p>{escape(lines[0])}</p>" if lines else ""
    return f'<div class="equations" data-cell="{escape(name)}">{about}{mathml(cell)}</div>'


def _numbers(value: Any) -> Any:
    """The data with NaN as null, and infinities as huge integers, which JavaScript reads as infinity."""
    if isinstance(value, Mapping):
        return {key: _numbers(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else int(math.copysign(1, value)) * _INFINITE
    return value


@cache
def _part(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
