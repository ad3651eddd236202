"""The exercises of "write the cell": the RNN, the LSTM, the GRU, and what counts as right."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from gatewise import cells
from gatewise.language import Cell
from gatewise.language.reading import read_cell

# The other convention for z, in which it says how much is new (Chung et al. 2014, arXiv 1412.3555).
_Z_WRITES = """
def gru_z_writes(h, *, r, z, n: Split):
    r, z = sigmoid(r), sigmoid(z)
    n = tanh(n.x + r * n.h)
    h = (1 - z) * h + z * n
    return h
"""
_Z_WRITES_RESET_BEFORE = """
def gru_z_writes_reset_before(h, *, r, z, n: Input):
    r, z = sigmoid(r), sigmoid(z)
    n = tanh(n + linear(r * h))
    h = (1 - z) * h + z * n
    return h
"""


class Right(NamedTuple):
    """A cell that solves an exercise, and a sentence about its form; empty if there is only one form."""

    cell: Cell
    form: str = ""


class Exercise(NamedTuple):
    """An exercise: write the function of this name.

    Attributes:
        rights: the cells that solve it, the package's own first.
        first: the first line of the function.
        task: what to write, in words.
    """

    name: str
    rights: tuple[Right, ...]
    first: str
    task: tuple[str, ...]


@cache
def exercises() -> dict[str, Exercise]:
    """The exercises by name, in order."""
    found = (
        Exercise("rnn", (Right(cells.rnn),), "def rnn(h, *, a):", _RNN),
        Exercise("lstm", (Right(cells.lstm),), "def lstm(h, c, *, i, f, g, o):", _LSTM),
        Exercise("gru", _grus(), "def gru(h, *, r, z, n: Split):", _GRU),
    )
    return {exercise.name: exercise for exercise in found}


def _grus() -> tuple[Right, ...]:
    keeps, writes = "z says how much of the old h stays", "z says how much of h is new"
    after, before = "r acts after the product with the weights", "r acts before the product with the weights"
    return (
        Right(cells.gru, f"In this form {keeps}, and {after}."),
        Right(cells.gru_reset_before, f"In this form {keeps}, and {before}."),
        Right(read_cell(_Z_WRITES), f"In this form {writes}, and {after}."),
        Right(read_cell(_Z_WRITES_RESET_BEFORE), f"In this form {writes}, and {before}."),
    )


_RNN = (
    "One state h. One gate a, which the network fills with W x + R h + b.",
    "The new h is tanh of a.",
)
_LSTM = (
    "Two states: h, which is what the cell says, and c, which is what it remembers.",
    "Four gates: i (how much to write), f (how much of the old c to keep), g (what to write),",
    "o (how much to say). i, f and o lie between 0 and 1, g between -1 and 1.",
    "The new c is the kept part of the old c plus the written part of g.",
    "The new h is tanh of the new c, as far as o lets it out.",
)
_GRU = (
    "One state h. r and z lie between 0 and 1, n between -1 and 1.",
    "n is a Split gate: n.x is its part from the input, n.h its part from h. n is tanh of n.x plus",
    "r times n.h. The new h is a mixture: z of the old h, and 1 - z of n.",
)


def starter(file: str = "FILE") -> str:
    """The text of a file with the exercises as comments; `file` is its name."""
    parts = [_HEAD.replace("FILE", file)]
    for number, exercise in enumerate(exercises().values(), 1):
        words = "\n".join(f"# {line}" for line in exercise.task)
        head = f"# {number}. Write {exercise.name}.\n{words}\n#"
        parts.append(f"{head}\n# @cell\n# {exercise.first}\n#     ...\n")
    return "\n".join([*parts, _OWN])


_HEAD = '''"""Write the cell. Take the # away, write the lines, and check them: gatewise learn --check FILE.

The names before the star are the states, the output first. The names after it are gates: the network
fills each with W x + R h + b. A function returns the next states, in the same order. The file is read,
never run.
"""

from gatewise import Split, cell, sigmoid, tanh
'''
_OWN = """# 4. Write a cell of your own, under any other name. Ideas: an LSTM without f; an LSTM whose f is
# 1 - i; a GRU without r. The check says whether it can be trained, and whether it remembers over 50 steps.
#
# @cell
# def mine(h, *, f, g):
#     ...
"""
