"""The cells of the lesson: those of `gatewise.cells`, and changed ones for the scene that changes a cell.

The static page carries the kernels of all of them; the live page asks the server for them one by one.
"""

from __future__ import annotations

import ast
import gzip
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any

from gatewise import cells
from gatewise.compiler.wasm.target import TARGETS
from gatewise.language import Cell, CellError, read_cell
from gatewise.language.form import to_form
from gatewise.learn.beginning import beginning
from gatewise.web.describing import described, kernels_of

SHARED = "outer"  # the kernel that is the same for all cells

# Each differs from the cell whose name it begins with in one thing.
VARIANTS: Mapping[str, str] = {
    "lstm_without_forget": """
        def lstm_without_forget(h, c, *, i, g, o):
            i, g, o = sigmoid(i), tanh(g), sigmoid(o)
            c = c + i * g
            h = o * tanh(c)
            return h, c
    """,
    "lstm_keeps_nothing": """
        def lstm_keeps_nothing(h, c, *, i, g, o):
            i, g, o = sigmoid(i), tanh(g), sigmoid(o)
            c = i * g
            h = o * tanh(c)
            return h, c
    """,
    "lstm_without_input": """
        def lstm_without_input(h, c, *, f, g, o):
            f, g, o = sigmoid(f), tanh(g), sigmoid(o)
            c = f * c + g
            h = o * tanh(c)
            return h, c
    """,
    "lstm_without_output": """
        def lstm_without_output(h, c, *, i, f, g):
            i, f, g = sigmoid(i), sigmoid(f), tanh(g)
            c = f * c + i * g
            h = tanh(c)
            return h, c
    """,
    "lstm_without_tanh": """
        def lstm_without_tanh(h, c, *, i, f, g, o):
            i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
            c = f * c + i * g
            h = o * c
            return h, c
    """,
    "lstm_relu": """
        def lstm_relu(h, c, *, i, f, g, o):
            i, f, g, o = sigmoid(i), sigmoid(f), relu(g), sigmoid(o)
            c = f * c + i * g
            h = o * tanh(c)
            return h, c
    """,
    "lstm_sigmoid": """
        def lstm_sigmoid(h, c, *, i, f, g, o):
            i, f, g, o = sigmoid(i), sigmoid(f), sigmoid(g), sigmoid(o)
            c = f * c + i * g
            h = o * tanh(c)
            return h, c
    """,
    "lstm_coupled_without_output": """
        def lstm_coupled_without_output(h, c, *, i, g):
            i, g = sigmoid(i), tanh(g)
            c = (1 - i) * c + i * g
            h = tanh(c)
            return h, c
    """,
    "gru_without_reset": """
        def gru_without_reset(h, *, z, n):
            z, n = sigmoid(z), tanh(n)
            h = (1 - z) * n + z * h
            return h
    """,
    "gru_without_update": """
        def gru_without_update(h, *, r, n: Split):
            r = sigmoid(r)
            h = tanh(n.x + r * n.h)
            return h
    """,
    "rnn_adds": """
        def rnn_adds(h, *, a):
            h = h + tanh(a)
            return h
    """,
}  # fmt: skip


def names() -> list[str]:
    """The names of all cells of the lesson."""
    return [*cells.__all__, *VARIANTS]


def cell_of(name: str) -> Cell:
    """The cell with a name.

    Raises:
        KeyError: the lesson does not have that cell.
    """
    if name in VARIANTS:
        return read_cell(VARIANTS[name], name)
    shipped: dict[str, Cell] = {known: vars(cells)[known] for known in cells.__all__}
    return shipped[name]


def text_of(name: str) -> str | None:
    """The equations of a cell, as `read_cell` reads them; None for a cell that calls a function beside it."""
    text = dedent(VARIANTS[name]).strip() if name in VARIANTS else _shipped()[name]
    try:
        read_cell(text)
    except CellError:
        return None
    return text


@cache
def _shipped() -> dict[str, str]:
    """The functions of `gatewise.cells` by name, without decorators, docstrings and comments."""
    found = {}
    for file in sorted(Path(cells.__file__).parent.glob("*.py")):
        source = file.read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef) and node.name in cells.__all__:
                lines = source.splitlines()
                text = lines[node.lineno - 1 : node.body[0].lineno - 1]
                text += lines[node.body[1].lineno - 1 : node.end_lineno]
                found[node.name] = "\n".join(re.sub(" *#.*", "", line) for line in text if line.strip())
    return found


def packed(cell: Cell, kind: str) -> dict[str, Any]:
    """What the page must know of a cell, and its kernels for browsers of a kind, "relaxed" or "plain"."""
    return {"about": about(cell), kind: _kernels(cell, kind)}


def about(cell: Cell) -> dict[str, Any]:
    """What the page must know of a cell: for the engine, for its initial weights, and for a model file."""
    return {**described(cell), "beginning": beginning(cell), "form": to_form(cell)}


def palette(
    kinds: Iterable[str] = tuple(TARGETS), count: Callable[[int, int], None] = lambda done, all: None
) -> dict[str, dict[str, Any]]:
    """Every cell by name, with its kernels.

    The kernels that are the same for all cells have the name "". The first call compiles for a minute or
    two; the kernels stay on disk.

    Args:
        kinds: The kinds of browsers: "relaxed", "plain" or both.
        count: Called after each cell, with the number of cells done and of all.
    """
    found: dict[str, dict[str, Any]] = {"": {}}
    for done, name in enumerate(names(), 1):
        cell = cell_of(name)
        found[name] = {"about": about(cell)}
        for kind in kinds:
            found[name][kind] = _kernels(cell, kind)
            found[""][kind] = {SHARED: found[name][kind].pop(SHARED)}
        count(done, len(names()))
    return found


def _kernels(cell: Cell, kind: str) -> dict[str, str]:
    """Kernels by name, compressed with gzip, as base64."""
    kernels = kernels_of(cell, TARGETS[kind])
    return {name: b64encode(gzip.compress(code, 9, mtime=0)).decode() for name, code in kernels.items()}
