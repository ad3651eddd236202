"""Pickled cells carry their equations, as a form, and not only a name as functions do.

So they load where their module is missing (a notebook's, say), and still compute the same when a cell of that
name has been defined again.
"""

from __future__ import annotations

import copyreg
import functools
import json
import sys
from dataclasses import replace
from typing import Any

from gatewise.language.cell import Cell, Origin
from gatewise.language.form import from_form, to_form
from gatewise.language.form_reading import FormError


def _reduced(cell: Cell) -> str | tuple[Any, ...]:
    """By the form; by the name if no form can hold the cell."""
    try:
        return restored, (_text(cell), cell.__module__, cell.__qualname__, cell.__doc__)
    except FormError:
        if _defined(cell.__module__, cell.__qualname__) is cell:
            return cell.__qualname__
        raise


def restored(form: str, module: str, qualname: str, doc: str | None) -> Cell:
    """The cell of this name in an imported module, if it has these equations; else a new one.

    Raises:
        FormError: the form describes no cell.
    """
    found = _defined(module, qualname)
    if isinstance(found, Cell) and _text(found) == form:
        return found
    return _new(form, module, qualname, doc)


@functools.lru_cache(maxsize=128)  # kernels are looked up by the cell object
def _new(form: str, module: str, qualname: str, doc: str | None) -> Cell:
    cell = from_form(json.loads(form))
    return replace(cell, origin=Origin(cell.name, qualname, module, doc))


def _text(cell: Cell) -> str:
    return json.dumps(to_form(cell))


def _defined(module: str, qualname: str) -> object:
    """The object of this name in a module, if that is imported."""
    place: Any = sys.modules.get(module)
    for name in qualname.split("."):
        place = getattr(place, name, None)
    return place


copyreg.pickle(Cell, _reduced)
