"""The parts of docs/cells.md that are derived from the sources: error messages and shipped cells.

``python -m tests.cells.page`` writes them; a test compares them with the page.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import ModuleType

import gatewise
from gatewise import Cell, CellError, cells
from gatewise.cells import classic, variants

PAGE = Path(__file__).parents[2] / "docs" / "cells.md"

# Mistakes that beginners make.
MISTAKES = {
    "A branch": """\
@cell
def leaky(h, *, f, g):
    if f > 0:
        h = f * h
    return h + tanh(g)
""",
    "A change in place": """\
@cell
def leaky(h, *, g):
    h += tanh(g)
    return h
""",
    "A function from elsewhere": """\
@cell
def leaky(h, *, g):
    h = 0.9 * h + torch.tanh(g)
    return h
""",
    "A matrix": """\
@cell
def leaky(h, *, g):
    h = 0.9 * h + tanh(W @ h + g)
    return h
""",
    "The whole of a gate in two parts": """\
@cell
def leaky(h, *, f, n: Split):
    h = sigmoid(f) * h + tanh(n)
    return h
""",
    "No star": """\
@cell
def leaky(h, g):
    h = 0.9 * h + tanh(g)
    return h
""",
    "A state that is not returned": """\
@cell
def leaky(h, c, *, f, g):
    c = sigmoid(f) * c + tanh(g)
    return c
""",
    "No return": """\
@cell
def leaky(h, *, g):
    h = 0.9 * h + tanh(g)
""",
    "A gate that does nothing": """\
@cell
def leaky(h, *, f, g):
    h = 0.9 * h + tanh(g)
    return h
""",
    "A normalised vector that does nothing": """\
@cell
def leaky(h, *, f, g):
    keep, new = layer_norm(f, g)
    h = sigmoid(keep) * h + tanh(g)
    return h
""",
    "A number as a gate": """\
@cell
def leaky(h, *, g, rate=0.9):
    h = rate * h + tanh(g)
    return h
""",
}


def written() -> str:
    """The page with fresh derived parts."""
    page = PAGE.read_text(encoding="utf-8")
    for name, text in (("errors", _errors()), ("cells", _cells())):
        begin, end = f"<!-- {name}: written by tests/cells/page.py -->\n", f"<!-- end of {name} -->\n"
        before, found, rest = page.partition(begin)
        assert found
        page = before + begin + text + end + rest.partition(end)[2]
    return page


def _errors() -> str:
    each = (
        f"**{title}**\n\n```python\n{code}```\n\n```text\n{message(code)}\n```\n"
        for title, code in MISTAKES.items()
    )
    return "\n".join(each)


def message(code: str) -> str:
    """The error message for this code in a file ``mine.py``, with all names of the language defined."""
    import torch

    names = {**vars(gatewise), "torch": torch, "W": None}
    try:
        exec(compile(code, "mine.py", "exec", dont_inherit=True), names)
    except CellError as error:
        return str(error)
    raise AssertionError(f"nothing is wrong with {code}")


def _cells() -> str:
    sources = {**_sources(classic), **_sources(variants)}
    shipped = [getattr(cells, name) for name in cells.__all__]
    table = ["| cell | states | numbers to learn, a layer |", "|---|---|---|"]
    table += [f"| [`{c.name}`](#{c.name}) | `{'`, `'.join(c.states)}` | {count(c)} |" for c in shipped]
    each = [
        f"### {c.name}\n\n```python\n{sources[c.name]}\n```\n\n```math\n{c.latex()}\n```\n\n"
        f"Numbers to learn: {count(c)}.\n"
        for c in shipped
    ]
    return "\n".join(table) + "\n\n" + "\n".join(each)


def _sources(module: ModuleType) -> dict[str, str]:
    """The text of each function of a file, with its decorators and the functions that it calls."""
    source = inspect.getsource(module)
    lines = source.splitlines()
    texts = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            texts[node.name] = "\n".join(lines[first - 1 : node.end_lineno])
    helpers = [name for name in texts if name.startswith("_")]
    return {
        name: "\n\n\n".join([*(texts[h] for h in helpers if re.search(rf"\b{h}\(", text)), text])
        for name, text in texts.items()
        if name not in helpers
    }


def terms(cell: Cell) -> dict[str, int]:
    """For each product of sizes, how often it occurs in the number of parameters of a layer."""
    inputs, states, products = len(cell.input_gates), len(cell.state_gates), len(cell.linears)
    single = inputs + states + products + len(cell.vectors)
    if cell.projects:
        assert not products
        return {"HI": inputs, "HP": states + 1, "H": single}
    return {"HI": inputs, "H²": states + products, "H": single}


def count(cell: Cell) -> str:
    """The number of parameters of a layer, as ``4HI + 4H² + 8H``."""
    return " + ".join(f"{n if n > 1 else ''}{sizes}" for sizes, n in terms(cell).items() if n)


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
