"""Checks of the pieces of a form, by type and range. Nothing here knows about cells."""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Collection
from math import isnan
from typing import Any

MOST_LETTERS = 128
_WORDS = {"Infinity": float("inf"), "-Infinity": float("-inf")}


class FormError(ValueError):
    """Raised for a form that does not describe a cell, and for a cell that does not fit into a form."""


def shown(value: Any) -> str:
    """A value as an error message shows it, shortened if it is long."""
    text = f"{value:.60}" if isinstance(value, str) else type(value).__name__
    return repr(text) if isinstance(value, str) else repr(value) if _is_short(value) else text


def _is_short(value: Any) -> bool:
    small = isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**18)
    return value is None or isinstance(value, bool) or small


def fields(value: Any, what: str, keys: Collection[str], more: Collection[str] = ()) -> dict[str, Any]:
    """Check that `value` is an object with all of `keys` and nothing else, except keys in `more`."""
    if not isinstance(value, dict):
        raise FormError(f"{what} must be an object. Got {shown(value)}")
    missing = [key for key in keys if key not in value]
    surplus = [key for key in value if key not in (*keys, *more)]
    if missing or surplus:
        wrong = f"lacks {missing[0]!r}" if missing else f"has {shown(surplus[0])}"
        raise FormError(f"{what} must be an object with {', '.join(keys)}. It {wrong}")
    return value


def items(value: Any, what: str, least: int, most: int) -> list[Any]:
    """Check that `value` is a list of `least` to `most` items."""
    if not isinstance(value, list):
        raise FormError(f"{what} must be a list. Got {shown(value)}")
    if not least <= len(value) <= most:
        count = f"{least}" if least == most else f"{least} to {most}"
        raise FormError(f"{what} must have {count} items. Got {len(value)}")
    return value


def pair(value: Any, what: str) -> tuple[Any, Any]:
    """Check that `value` is a list of two items."""
    first, second = items(value, what, 2, 2)
    return first, second


def number(value: Any, what: str, least: int, most: int) -> int:
    """Check that `value` is a whole number from `least` to `most`."""
    if type(value) is not int or not least <= value <= most:
        raise FormError(f"{what} must be a whole number from {least} to {most}. Got {shown(value)}")
    return value


def label(value: Any, what: str) -> str:
    """Check that `value` is a short printable text."""
    if not isinstance(value, str) or not 0 < len(value) <= MOST_LETTERS or not value.isprintable():
        expected = f"a text of 1 to {MOST_LETTERS} letters that can be printed"
        raise FormError(f"{what} must be {expected}. Got {shown(value)}")
    return value


def identifier(value: Any, what: str) -> str:
    """Check that `value` is a name that can stand in equations: a Python identifier."""
    name = label(value, what)
    normal = unicodedata.normalize("NFKC", name) == name
    if not name.isidentifier() or keyword.iskeyword(name) or not normal:
        raise FormError(f"{what} must be a name of letters, digits and _. Got {shown(name)}")
    return name


def real(value: Any, what: str) -> float:
    """The number that `value` stands for: a JSON number, ``"Infinity"`` or ``"-Infinity"``."""
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    if type(value) is float and abs(value) < float("inf"):
        return value
    if type(value) is int and abs(value) <= 2**53:
        return float(value)
    raise FormError(f"{what} must be a number, 'Infinity' or '-Infinity'. Got {shown(value)}")


def written(value: float, what: str) -> float | str:
    """A number as a form holds it: the inverse of `real`."""
    if isnan(value):
        raise FormError(f"{what} is NaN, which a form cannot hold")
    return next((word for word, number in _WORDS.items() if number == value), value)
