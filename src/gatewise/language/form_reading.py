"""Pieces of a form, taken for what they should be or refused: nothing here knows of cells."""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Collection
from math import isnan
from typing import Any

MOST_LETTERS = 128
_WORDS = {"Infinity": float("inf"), "-Infinity": float("-inf")}


class FormError(ValueError):
    """A form that describes no cell, or a cell that no form can describe."""


def shown(value: Any) -> str:
    """A value for a message, cut short."""
    text = f"{value:.60}" if isinstance(value, str) else type(value).__name__
    return repr(text) if isinstance(value, str) else repr(value) if _is_short(value) else text


def _is_short(value: Any) -> bool:
    small = isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**18)
    return value is None or isinstance(value, bool) or small


def fields(value: Any, what: str, keys: Collection[str], more: Collection[str] = ()) -> dict[str, Any]:
    """An object with these keys, which may have `more`."""
    if not isinstance(value, dict):
        raise FormError(f"{what}: expected an object. Got {shown(value)}")
    missing = [key for key in keys if key not in value]
    surplus = [key for key in value if key not in (*keys, *more)]
    if missing or surplus:
        wrong = f"lacks {missing[0]!r}" if missing else f"has {shown(surplus[0])}"
        raise FormError(f"{what}: expected an object with {', '.join(keys)}. This one {wrong}")
    return value


def items(value: Any, what: str, least: int, most: int) -> list[Any]:
    """A list of so many items."""
    if not isinstance(value, list):
        raise FormError(f"{what}: expected a list. Got {shown(value)}")
    if not least <= len(value) <= most:
        raise FormError(f"{what}: expected {least} to {most} items. Got {len(value)}")
    return value


def pair(value: Any, what: str) -> tuple[Any, Any]:
    """A list of two."""
    first, second = items(value, what, 2, 2)
    return first, second


def number(value: Any, what: str, least: int, most: int) -> int:
    """A whole number in a range."""
    if type(value) is not int or not least <= value <= most:
        raise FormError(f"{what}: expected a whole number from {least} to {most}. Got {shown(value)}")
    return value


def label(value: Any, what: str) -> str:
    """A short text that can be printed."""
    if not isinstance(value, str) or not 0 < len(value) <= MOST_LETTERS or not value.isprintable():
        expected = f"a text of 1 to {MOST_LETTERS} letters that can be printed"
        raise FormError(f"{what}: expected {expected}. Got {shown(value)}")
    return value


def identifier(value: Any, what: str) -> str:
    """A name as equations have them."""
    name = label(value, what)
    normal = unicodedata.normalize("NFKC", name) == name
    if not name.isidentifier() or keyword.iskeyword(name) or not normal:
        raise FormError(f"{what}: expected a name, letters and digits and _. Got {shown(name)}")
    return name


def real(value: Any, what: str) -> float:
    """A number as JSON writes it, or the word for an infinity."""
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    if type(value) is float and abs(value) < float("inf"):
        return value
    if type(value) is int and abs(value) <= 2**53:
        return float(value)
    raise FormError(f"{what}: expected a number, 'Infinity' or '-Infinity'. Got {shown(value)}")


def written(value: float, what: str) -> float | str:
    """The inverse of `real`."""
    if isnan(value):
        raise FormError(f"{what}: NaN is no number that a form can hold")
    return next((word for word, number in _WORDS.items() if number == value), value)
