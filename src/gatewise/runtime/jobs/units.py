"""The units that texts are made of: characters, bytes or words. Joined they give the text."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Sequence

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


def summed(units: Sequence[str], values: Iterable[float], unit: str) -> tuple[list[str], list[float]]:
    """The parts of a text as people read them, each with the sum of the values of its units.

    Example:
        >>> summed(split("aé", "bytes"), [1.0, 2.0, 3.0], "bytes")
        (['a', 'é'], [1.0, 5.0])
    """
    texts, sums, waiting = [], [], 0.0
    for text, value in zip(readable(units, unit), values, strict=True):
        waiting += value
        if text:
            texts.append(text)
            sums.append(waiting)
            waiting = 0.0
    return texts, sums


def spelled(units: Sequence[str], unit: str, instead: Sequence[str] | None = None) -> list[str]:
    """Units one by one, for a table. A byte is the character that it completes, or else its number.

    With `instead`, each of these is shown as if it stood in the text at its place.

    Example:
        >>> print(*spelled(split("aé", "bytes"), "bytes"))
        a \\xc3 é
        >>> print(*spelled(split("aé", "bytes"), "bytes", ["a", "b", "\\xaa"]))
        a b ê
    """
    shown = units if instead is None else instead
    if unit != BYTES:
        return list(shown)
    found, begun = [], b""  # the bytes of a character that is not complete
    for own, other in zip(units, shown, strict=True):
        found.append(_completed(begun, other.encode("latin-1")))
        begun = _begun(begun + own.encode("latin-1")) or _begun(own.encode("latin-1"))
    return found


def _completed(begun: bytes, byte: bytes) -> str:
    for content in (begun + byte, byte):
        try:
            return content.decode()
        except UnicodeDecodeError:
            pass
    return "".join(f"\\x{number:02x}" for number in byte)


def _begun(content: bytes) -> bytes:
    """The bytes, if they are the beginning of a character."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return content if error.reason == "unexpected end of data" else b""
    return b""
