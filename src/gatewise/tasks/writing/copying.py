"""How much of a text is copied from another one: the longest runs that both contain."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from gatewise.runtime.arrays import Array

LONG = 40  # characters from which on a run counts as copied
_FEWEST_COMPARED = 64  # characters by which runs are told apart at first


@final
@dataclass(frozen=True)
class Copied:
    """What a text shares with the training text.

    Attributes:
        lengths: ``[N]``, for each character of the text the length of the longest run through it that the
            training text contains.
        longest: the longest run.
        start: where it begins in the text.
        place: where it begins in the training text.
    """

    lengths: Array
    longest: str
    start: int
    place: int

    @property
    def share(self) -> float:
        """The share of the characters that lie in a run of at least `LONG` characters."""
        return float((self.lengths >= LONG).mean()) if len(self.lengths) else 0.0

    def __str__(self) -> str:
        share = f"{self.share:.0%} of the characters lie in runs of {LONG} or more"
        length = f"{len(self.longest)} {'character' if len(self.longest) == 1 else 'characters'}"
        return f"The longest run copied from the training text has {length}; {share}."


@final
class CopyIndex:
    """A text in which runs of other texts are found: its suffixes in order (Manber & Myers 1993).

    It takes four bytes for each character of the text, besides the text.

    Example:
        >>> index = CopyIndex("the cat sat on the mat")
        >>> found = index.compare("a cat sat down")
        >>> found.longest, found.start, found.place
        (' cat sat ', 1, 3)
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._order = _suffixes(text)

    def compare(self, text: str) -> Copied:
        """Find the longest runs of a text in the indexed one."""
        runs = list(self._runs(text))
        lengths = np.zeros(len(text), np.int64)
        for start, length, _ in runs:
            np.maximum(lengths[start : start + length], length, out=lengths[start : start + length])
        start, length, place = max(runs, key=lambda run: run[1], default=(0, 0, 0))
        return Copied(lengths, text[start : start + length], start, place)

    def _runs(self, text: str) -> Iterator[tuple[int, int, int]]:
        """All runs that no longer run contains: where each starts, its length, its place."""
        start = end = 0
        while end < len(text):
            length, place = self._run_at(text, start)
            if length:
                yield start, length, place
            end = start + length
            # The next run reaches past this one: it is the longest piece up to `end`, itself included.
            pieces = range(start + 1, end + 1)
            start = start + 1 + bisect_left(pieces, True, key=lambda at: self._has(text[at : end + 1]))
            end = max(end, start)

    def _has(self, piece: str) -> bool:
        """Whether the indexed text contains a piece."""
        here = bisect_left(self._order, piece, key=lambda place: self.text[place : place + len(piece)])
        return here < len(self._order) and self.text.startswith(piece, int(self._order[here]))

    def _run_at(self, text: str, start: int) -> tuple[int, int]:
        """The length and the place of the longest run that begins at `start`."""
        width = _FEWEST_COMPARED
        while True:
            sought = text[start : start + width]
            length, place = self._run_of(sought)
            if length < width:
                return length, place
            width *= 2

    def _run_of(self, sought: str) -> tuple[int, int]:
        """The length and the place of the longest run that a text begins with."""
        width = len(sought)
        order = self._order
        here = bisect_left(order, sought, key=lambda place: self.text[place : place + width])
        best = 0, 0
        for neighbour in order[max(here - 1, 0) : here + 1]:
            length = _common(sought, self.text, int(neighbour))
            best = max(best, (length, int(neighbour)), key=lambda run: run[0])
        return best


def _common(sought: str, text: str, place: int) -> int:
    """The number of equal characters at the start of `sought` and from `place` on in `text`."""
    low, high = 0, min(len(sought), len(text) - place)
    while (
        low < high
    ):  # equal pieces are compared in C, so halving is faster than going character by character
        middle = (low + high + 1) // 2
        if text.startswith(sought[low:middle], place + low):
            low = middle
        else:
            high = middle - 1
    return low


def _suffixes(text: str) -> Array:
    """The starts of all suffixes in alphabetical order, by doubling the number of characters compared."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    rank = np.unique(codes, return_inverse=True)[1].astype(np.int64) + 1
    n, width = len(rank), 1
    order = np.argsort(rank, kind="stable")
    while n and width < n:
        behind = np.zeros(n, np.int64)  # of what follows: 0 past the end
        behind[: n - width] = rank[width:]
        keys = rank * (n + 2) + behind
        order = np.argsort(keys, kind="stable")
        falls = keys[order]
        rank = np.empty(n, np.int64)
        rank[order] = 1 + np.concatenate([[0], np.cumsum(falls[1:] != falls[:-1])])
        if rank[order[-1]] == n:
            break
        width *= 2
    return order.astype(np.int32)
