"""Parses the options of ``gatewise compare``. Error messages are one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan
from typing import TYPE_CHECKING

from gatewise import cells as shipped
from gatewise.apps.cells import NAMES, chosen_cell
from gatewise.apps.options import OptionError
from gatewise.language import Cell

if TYPE_CHECKING:
    from gatewise.tasks.synthetic import Task


def chosen_task(name: str) -> Task:
    """The task of that name."""
    from gatewise.tasks.synthetic import TASKS

    if name not in TASKS:
        raise OptionError(f"--task must be one of {', '.join(TASKS)}. Got {name!r}.")
    return TASKS[name]


def chosen_cells(text: str) -> list[Cell]:
    """The cells in a comma-separated list, each a cell of the package or ``FILE.py:NAME``."""
    known = {name: vars(shipped)[name] for name in NAMES}
    found = [known[choice] if choice in known else _own(choice, list(known)) for choice in _parts(text)]
    names = [cell.name for cell in found]
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"--cells: each must have a name of its own. Got {name!r} twice.")
    return found


def _own(choice: str, known: Sequence[str]) -> Cell:
    if ":" not in choice:
        raise OptionError(f"--cells must be of {', '.join(known)} or FILE.py:NAME. Got {choice!r}.")
    cell = chosen_cell(choice, "--cells")
    assert isinstance(cell, Cell)
    return cell


def chosen_lengths(text: str | None, task: Task) -> list[int]:
    """The whole numbers in a comma-separated list; by default the lengths of the task."""
    if text is None:
        return []
    try:
        lengths = [int(part) for part in _parts(text)]
    except ValueError:
        raise OptionError(f"--lengths must be whole numbers with commas between. Got {text!r}.") from None
    for length in lengths:
        task.check(length)
    return list(dict.fromkeys(lengths))


def chosen_biases(text: str, cells: Sequence[Cell]) -> dict[str, float]:
    """The biases in a text such as ``f=3,z=-1``. At least one of the cells must have each gate."""
    gates = {gate for cell in cells for gate in cell.input_gates}
    biases: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        gate, _, value = (piece.strip() for piece in part.partition("="))
        try:
            biases[gate] = float(value)
        except ValueError:
            biases[gate] = nan
        if not isfinite(biases[gate]):
            raise OptionError(f"--bias must be GATE=NUMBER, as f=3. Got {part!r}.")
        if gate not in gates:
            raise OptionError(f"--bias: the gates are {', '.join(sorted(gates))}. Got {gate!r}.")
    return biases


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]
