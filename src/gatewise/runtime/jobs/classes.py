"""The classes of a classifier in its file: texts, integers, numbers or booleans."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewise.language.form_reading import FormError, fields, items, shown

KINDS = {"U": "text", "O": "text", "i": "integer", "u": "integer", "f": "number", "b": "boolean"}
_MOST = 1 << 20
_TYPES: dict[str, tuple[type, Any]] = {  # of the classes in a file, and of their array
    "text": (str, None),
    "integer": (int, np.int64),
    "number": (float, np.float64),
    "boolean": (bool, np.bool_),
}


def described(classes: NDArray[Any], several: bool) -> dict[str, Any]:
    """The classes as JSON; `several` tells whether a sequence has any number of them."""
    kind = KINDS[classes.dtype.kind]
    plain = _TYPES[kind][0]
    return {"kind": kind, "values": [plain(label) for label in classes.tolist()], "several": several}


def classes_of(value: Any) -> tuple[NDArray[Any], bool]:
    """The classes that `described` described, and whether a sequence has any number of them.

    Raises:
        FormError: `value` does not describe classes.
    """
    found = fields(value, "classes", ("kind", "values", "several"))
    if found["kind"] not in _TYPES:
        raise FormError(f"classes: kind must be one of {', '.join(_TYPES)}. Got {shown(found['kind'])}")
    if not isinstance(found["several"], bool):
        raise FormError(f"classes: several must be true or false. Got {shown(found['several'])}")
    expected, dtype = _TYPES[found["kind"]]
    values = items(found["values"], "classes: values", 1, _MOST)
    for label in values:
        if type(label) is not expected or (isinstance(label, int) and not -(2**63) <= label < 2**63):
            raise FormError(f"classes must each be of the kind {found['kind']!r}. Got {shown(label)}")
    if len({*values}) < len(values):
        raise FormError("classes must differ")
    return np.array(values, dtype), found["several"]
