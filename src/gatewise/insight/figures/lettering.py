"""Finds fonts on this machine that have the characters of a text."""

from __future__ import annotations

from functools import lru_cache

from matplotlib.font_manager import FontEntry, fontManager, get_font

FONT = "DejaVu Sans"  # comes with matplotlib
BOXES = "Last Resort"  # comes with matplotlib too, and draws a box for every character


def families(*texts: str) -> list[str]:
    """The default font and, for characters that it lacks, the font that has the most of them."""
    other = _other(_lacking(texts))
    return [FONT, other.name] if other else [FONT]


def missing_letters(*texts: str) -> str:
    """The characters that the fonts chosen by `families` lack. They are drawn as boxes.

    >>> missing_letters("°C, ä, λ")
    ''
    """
    lacking = _lacking(texts)
    other = _other(lacking)
    return "".join(sorted(lacking - (_letters(other.fname) if other else set())))


def _lacking(texts: tuple[str, ...]) -> frozenset[str]:
    wanted = frozenset("".join(texts)) - frozenset("\n\t ")
    own = next(entry for entry in fontManager.ttflist if entry.name == FONT)
    return wanted - _letters(own.fname)


@lru_cache
def _letters(file: str) -> frozenset[str]:
    try:
        return frozenset(map(chr, get_font(file).get_charmap()))
    except (OSError, RuntimeError):  # a font that FreeType cannot open
        return frozenset()


@lru_cache
def _other(lacking: frozenset[str]) -> FontEntry | None:
    """The font with the most of the characters, sans-serif fonts first."""
    best, most = None, 0
    fonts = [entry for entry in fontManager.ttflist if not entry.name.startswith(BOXES)]
    for entry in sorted(fonts, key=_rank) if lacking else []:
        found = len(lacking & _letters(entry.fname))
        if found > most:
            best, most = entry, found
        if most == len(lacking):
            break
    return best


def _rank(entry: FontEntry) -> tuple[bool, bool, bool, str]:
    return "Sans" not in entry.name, entry.style != "normal", entry.weight not in (400, "normal"), entry.name
