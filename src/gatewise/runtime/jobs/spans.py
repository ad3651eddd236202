"""Tags of spans, and the best sequence of tags that a scheme allows.

Schemes: ``iob2`` (B begins a span, I continues it, O is outside) and ``iobes`` (also, E ends a span, and S is
a span of one word). A tag is ``O``, or a letter, a hyphen and the kind of the span: ``B-PER``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

_TAG = re.compile(r"O|[BIES]-.+", re.DOTALL)


def scheme_of(tags: Iterable[str]) -> str | None:
    """The scheme that tags belong to: ``"iob2"``, ``"iobes"``, or None if they are not tags of spans.

    >>> scheme_of(["O", "B-PER", "I-PER"]), scheme_of(["B-PER", "E-PER", "O"]), scheme_of(["NOUN", "O"])
    ('iob2', 'iobes', None)
    """
    different = set(tags)
    if not different or not all(map(_TAG.fullmatch, different)):
        return None
    letters = {tag[0] for tag in different}
    if letters & set("ES"):
        return "iobes"
    return "iob2" if "B" in letters else None


def may_follow(before: str | None, after: str | None, scheme: str) -> bool:
    """Whether a tag may follow another; None is the beginning or the end of a sentence.

    >>> may_follow("B-PER", "I-PER", "iob2"), may_follow("O", "I-PER", "iob2"), may_follow(None, "O", "iob2")
    (True, False, True)
    """
    inside = before is not None and before[0] in "BI"
    continues = after is not None and after[0] in ("IE" if scheme == "iobes" else "I")
    if continues:
        return inside and before is not None and after is not None and before[2:] == after[2:]
    return not (scheme == "iobes" and inside)


def follows_scheme(tags: Sequence[str], scheme: str) -> bool:
    """Whether a sentence of tags is as the scheme allows."""
    return all(may_follow(a, b, scheme) for a, b in zip([None, *tags], [*tags, None], strict=True))


@final
@dataclass(frozen=True)
class Transitions:
    """Which of ``K`` tags may come where.

    Attributes:
        first, last: ``[K]``, whether a tag may be the first or the last one of a sentence.
        pairs: ``[K, K]``, whether a tag (its second axis) may follow another (its first axis).
    """

    first: NDArray[np.bool_]
    pairs: NDArray[np.bool_]
    last: NDArray[np.bool_]

    @classmethod
    def of(cls, tags: Sequence[str], scheme: str) -> Transitions:
        """The transitions that a scheme allows between these tags."""
        first = np.array([may_follow(None, tag, scheme) for tag in tags])
        pairs = np.array([[may_follow(a, b, scheme) for b in tags] for a in tags])
        last = np.array([may_follow(tag, None, scheme) for tag in tags])
        return cls(first, pairs, last)

    def allow(self, path: NDArray[np.int64]) -> bool:
        """Whether a sequence of tags, by their numbers, is allowed."""
        return bool(self.first[path[0]] and self.last[path[-1]] and self.pairs[path[:-1], path[1:]].all())

    def best_path(self, scores: NDArray[Any]) -> NDArray[np.int64]:
        """The allowed sequence of tags with the largest sum of ``scores [T, K]`` (Viterbi 1967), ``[T]``.

        Where no sequence is allowed, the best tag of each word.
        """
        best = np.asarray(scores.argmax(axis=1), np.int64)
        if not len(best) or self.allow(best):
            return best
        never = -np.inf
        total = np.where(self.first, scores[0].astype(np.float64), never)
        came = np.zeros(scores.shape, np.int64)
        forbidden = np.where(self.pairs, 0.0, never)
        for t in range(1, len(scores)):
            ways = total[:, None] + forbidden
            came[t] = ways.argmax(axis=0)
            total = ways.max(axis=0) + scores[t]
        total = np.where(self.last, total, never)
        if total.max() == never:
            return best
        path = np.empty(len(scores), np.int64)
        path[-1] = total.argmax()
        for t in range(len(scores) - 1, 0, -1):
            path[t - 1] = came[t, path[t]]
        return path
