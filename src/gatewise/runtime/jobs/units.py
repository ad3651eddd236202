"""The units that texts are made of: characters, bytes or words. Joined they give the text."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

CHARACTERS, BYTES, WORDS = UNITS = ("characters", "bytes", "words")

# A word or a sign with the space before it, or any other white space, character by character.
_WORD = re.compile(r" ?\w+| ?[^\w\s]|\s")


def split(text: str, unit: str) -> list[str]:
    """The units of a text in order. A byte is the character with its number.

    Example:
        >>> split("Is it? Yes.", "words")
        ['Is', ' it', '?', ' Yes', '.']
        >>> split("é", "bytes")
        ['Ã', '©']
    """
    if unit == WORDS:
        return _WORD.findall(text)
    if unit == BYTES:
        text = text.encode("utf-8", "surrogatepass").decode("latin-1")
    return list(text)


def join(units: Iterable[str], unit: str) -> str:
    """The text of units. Bytes that are not UTF-8 become the replacement character."""
    text = "".join(units)
    return text.encode("latin-1").decode("utf-8", "replace") if unit == BYTES else text


def readable(units: Iterable[str], unit: str) -> list[str]:
    """Units as people read them; joined they are what `join` gives.

    Of a character of several bytes the last byte shows it, and the others nothing.

    Example:
        >>> readable(split("aé", "bytes"), "bytes")
        ['a', '', 'é']
    """
    if unit != BYTES:
        return list(units)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    shown = [decoder.decode(each.encode("latin-1")) for each in units]
    rest = decoder.decode(b"", True)
    return [*shown[:-1], shown[-1] + rest] if shown else []
