"""Loops in a text: a phrase that is repeated over and over."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_LONGEST = 200  # characters of a phrase
_LEAST_TIMES = 3
_LEAST_LENGTH = 30  # characters of a loop


class Loop(NamedTuple):
    """A phrase that is repeated: ``text[start:stop]`` is `times` times the phrase; `times` may be broken."""

    start: int
    stop: int
    phrase: str
    times: float

    def __str__(self) -> str:
        return f"{self.phrase!r} is repeated {self.times:.1f} times from character {self.start + 1} on"


def longest_loop(text: str) -> Loop | None:
    """The longest loop of a text: at least 3 times a phrase of up to 200 characters, in all at least 30.

    Phrases of a single character are no loops: lines are drawn with them.

    Example:
        >>> longest_loop("so the state of the state of the state of the state of the st").phrase
        ' the state of'
        >>> longest_loop("-----------------------------------------------") is None
        True
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    best: Loop | None = None
    for period in range(2, min(_LONGEST, len(codes) // _LEAST_TIMES) + 1):
        start, run = _longest_run(codes[period:] == codes[:-period])
        length = run + period
        if run and length >= max(
            _LEAST_TIMES * period, _LEAST_LENGTH, best.stop - best.start + 1 if best else 0
        ):
            phrase = text[start : start + period]
            if len(set(phrase)) > 1:
                best = Loop(start, start + length, phrase, length / period)
    return best


def _longest_run(same: np.ndarray) -> tuple[int, int]:
    """The start and the length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    if not len(edges):
        return 0, 0
    lengths = edges[1::2] - edges[::2]
    longest = int(lengths.argmax())
    return int(edges[2 * longest]), int(lengths[longest])
