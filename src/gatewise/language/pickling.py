"""Pickling of cells. A pickled cell holds its equations, as a form, unlike a function, which is only a name.

So a cell loads where its module is missing (it was defined in a notebook, say), and computes the same if
another cell has that name by now.
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
    """How to pickle a cell: by its form, or by its name if it does not fit into a form."""
    try:
        return restored, (_text(cell), cell.__module__, cell.__qualname__, cell.__doc__)
    except FormError:
        if _defined(cell.__module__, cell.__qualname__) is cell:
            return cell.__qualname__
        raise


def restored(form: str, module: str, qualname: str, doc: str | None) -> Cell:
    """The cell of this name in an imported module if it has these equations, else a new cell.

    Raises:
        FormError: the form does not describe a cell.
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
    """The object of this name in a module, or None if the module is not imported."""
    place: Any = sys.modules.get(module)
    for name in qualname.split("."):
        place = getattr(place, name, None)
    return place


copyreg.pickle(Cell, _reduced)
