"""Cells under `torch.compile` and `torch.export`.

Dynamo cannot trace how one `Cell` is made of another. So functions that it runs as constants do that, and
return a name; under this name the new cell is an attribute of `_cells`, which Dynamo can read and guard:

    cell = without_random(cell)                                # outside of Dynamo
    cell = getattr(_cells, _name_of_prepared(cell, random))    # the same inside
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import torch

from gatewise.language import Cell, rewrites
from gatewise.language.form import from_form, to_form

_Function = TypeVar("_Function", bound=Callable[..., Any])


def constant(function: _Function) -> _Function:
    """A function that a tracer calls, and does not trace; for the same arguments it gives the same."""
    # As torch.compiler.assume_constant_result does, which would import the tracer: more than a second.
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def is_exporting() -> bool:
    """Whether `torch.export` is at work, which torch says from 2.7 on."""
    return bool(getattr(torch.compiler, "is_exporting", bool)())


class _Cells:
    """Cells as attributes, named after their forms. (Of a dictionary a tracer sees what was there before.)"""


_cells = _Cells()
# What a cell works out when first asked for: a tracer takes it as it is, if it is there before.
_WORKED_OUT = [name for name, member in vars(Cell).items() if isinstance(member, cached_property)]


def with_options(cell: Cell, projects: bool, zoneout: tuple[float, ...], recurrent_dropout: float) -> Cell:
    """As `gatewise.language.rewrites.with_options`."""
    # In hexadecimal: of numbers a tracer may not tell the value.
    rates = [float(rate).hex() for rate in (*zoneout, recurrent_dropout)]
    found: Cell = getattr(_cells, _name_with_options(cell, projects, *rates))
    return found


@constant
def _name_with_options(cell: Cell, projects: bool, *rates: str) -> str:
    *zoneout, recurrent_dropout = map(float.fromhex, rates)
    return _kept(rewrites.with_options(cell, projects, tuple(zoneout), recurrent_dropout))


def prepared(cell: Cell, random: bool) -> Cell:
    """The cell as it is scanned, in training if `random`."""
    found: Cell = getattr(_cells, _name_of_prepared(cell, random))
    return found


@constant
def _name_of_prepared(cell: Cell, random: bool) -> str:
    return _kept(cell if random else rewrites.without_random(cell))


def form_of(cell: Cell) -> str:
    """A cell as text, as it stands in graphs and in exported programs.

    Raises:
        FormError: the cell is beyond the limits of a form.
    """
    return json.dumps(to_form(cell))


def cell_of(form: str) -> Cell:
    """The cell of a form; the same one each time."""
    found: Cell | None = getattr(_cells, _name(form), None)
    if found is None:  # of a program that another process exported
        found = from_form(json.loads(form))
        _kept(found)
    return found


def work_out(cell: Cell) -> None:
    """Let a cell work out all that a tracer takes as it is."""
    for name in _WORKED_OUT:
        getattr(cell, name)


def _kept(cell: Cell) -> str:
    """The attribute of `_cells` where such a cell is from now on."""
    name = _name(form_of(cell))
    if not hasattr(_cells, name):
        setattr(_cells, name, cell)
        work_out(cell)
    return name


def _name(form: str) -> str:
    return f"cell_{hashlib.sha256(form.encode()).hexdigest()}"
