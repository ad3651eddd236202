"""How much of a text is copied from another one: the longest runs that both contain."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import final

import numpy as np

from gatewise.runtime.arrays import Array

LONG = 40  # characters from which on a run counts as copied
_MOST_COMPARED = 4096  # characters by which runs are told apart


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
        return f"The longest run copied from the training text has {len(self.longest)} characters; {share}."


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
        found = [self._run_at(text, start) for start in range(len(text))]
        lengths = np.zeros(len(text), np.int64)
        for start, (length, _) in enumerate(found):
            np.maximum(lengths[start : start + length], length, out=lengths[start : start + length])
        start = max(range(len(text)), key=lambda n: found[n][0], default=0)
        length, place = found[start] if found else (0, 0)
        return Copied(lengths, text[start : start + length], start, place)

    def _run_at(self, text: str, start: int) -> tuple[int, int]:
        """The length, up to 4,096, and the place of the longest run that begins at `start`."""
        sought = text[start : start + _MOST_COMPARED]
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
