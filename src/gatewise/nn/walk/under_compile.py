"""Cells under `torch.compile` and `torch.export`.

Dynamo cannot trace the functions that make one `Cell` from another. So they run in functions that Dynamo runs
as constants, and that return a name. Under this name, the new cell is an attribute of `_cells`, which Dynamo
can read and guard:

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
    """Decorator: a tracer calls the function and takes its result as a constant, without tracing it."""
    # The same as torch.compiler.assume_constant_result, whose import takes more than a second.
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def is_exporting() -> bool:
    """Whether `torch.export` is active. (Always False before torch 2.7, which cannot tell.)"""
    return bool(getattr(torch.compiler, "is_exporting", bool)())


class _Cells:
    """Cells as attributes, named by a hash of their forms. (Dynamo would guard a whole dictionary.)"""


_cells = _Cells()
# The cached properties of a cell. A tracer reads them as constants if they were computed before.
_WORKED_OUT = [name for name, member in vars(Cell).items() if isinstance(member, cached_property)]


def with_options(cell: Cell, projects: bool, zoneout: tuple[float, ...], recurrent_dropout: float) -> Cell:
    """The same as `gatewise.language.rewrites.with_options`, for tracers."""
    # As texts, because a tracer may not know the value of a number.
    rates = [float(rate).hex() for rate in (*zoneout, recurrent_dropout)]
    found: Cell = getattr(_cells, _name_with_options(cell, projects, *rates))
    return found


@constant
def _name_with_options(cell: Cell, projects: bool, *rates: str) -> str:
    *zoneout, recurrent_dropout = map(float.fromhex, rates)
    return _kept(rewrites.with_options(cell, projects, tuple(zoneout), recurrent_dropout))


def prepared(cell: Cell, random: bool) -> Cell:
    """The cell itself if `random`, else the cell without random operations."""
    found: Cell = getattr(_cells, _name_of_prepared(cell, random))
    return found


@constant
def _name_of_prepared(cell: Cell, random: bool) -> str:
    return _kept(cell if random else rewrites.without_random(cell))


def form_of(cell: Cell) -> str:
    """The text of a cell, as graphs and exported programs contain it.

    Raises:
        FormError: the cell exceeds the limits of a form.
    """
    return json.dumps(to_form(cell))


def cell_of(form: str) -> Cell:
    """The cell of a form; the same object each time."""
    found: Cell | None = getattr(_cells, _name(form), None)
    if found is None:  # the program was exported by another process
        found = from_form(json.loads(form))
        _kept(found)
    return found


def work_out(cell: Cell) -> None:
    """Compute all cached properties of a cell, for tracers."""
    for name in _WORKED_OUT:
        getattr(cell, name)


def _kept(cell: Cell) -> str:
    """Store a cell in `_cells`, unless it is stored. Returns the name of the attribute."""
    name = _name(form_of(cell))
    if not hasattr(_cells, name):
        setattr(_cells, name, cell)
        work_out(cell)
    return name


def _name(form: str) -> str:
    return f"cell_{hashlib.sha256(form.encode()).hexdigest()}"
