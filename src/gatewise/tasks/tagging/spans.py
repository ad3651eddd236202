"""Spans: chunks that are tagged by their words, as ``B-PER I-PER O``.

Schemes: IOB2 (B begins, I continues, O is outside) and IOBES (also E ends, S is a span of one word).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from gatewise.runtime.jobs.spans import scheme_of

__all__ = ["Span", "scheme_of", "span_scores", "spans"]


class Span(NamedTuple):
    """A span of the words ``first`` to ``last``, both included."""

    kind: str
    first: int
    last: int


def spans(tags: Sequence[str], ends: bool | None = None) -> list[Span]:
    """The spans of a sentence, read strictly: only spans that begin and continue as the scheme says.

    `ends` says that the scheme is IOBES; by default it is if the sentence has an E or an S.

    In IOB2 a span begins with B and goes on with I of the same kind; an I that continues nothing is in no
    span. In IOBES a span is S, or B, any number of I, and E. (The strict mode of seqeval.)

    >>> spans(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    [Span(kind='PER', first=0, last=1), Span(kind='LOC', first=4, last=4)]
    """
    if ends is None:
        ends = _has_ends(tags)
    return _with_ends(tags) if ends else _without_ends(tags)


def _has_ends(tags: Iterable[str]) -> bool:
    return any(tag[:2] in ("E-", "S-") for tag in tags)


def _without_ends(tags: Sequence[str]) -> list[Span]:
    found: list[Span] = []
    for place, tag in enumerate(tags):
        kind = tag[2:]
        if tag.startswith("B-"):
            found.append(Span(kind, place, place))
        elif tag.startswith("I-") and found and found[-1] == (kind, found[-1].first, place - 1):
            found[-1] = found[-1]._replace(last=place)
    return found


def _with_ends(tags: Sequence[str]) -> list[Span]:
    found: list[Span] = []
    begun: tuple[str, int] | None = None
    for place, tag in enumerate(tags):
        letter, kind = tag[:1], tag[2:]
        going = begun is not None and begun[0] == kind
        if letter == "S":
            found.append(Span(kind, place, place))
        elif letter == "E" and going and begun:
            found.append(Span(kind, begun[1], place))
        begun = (kind, place) if letter == "B" else begun if letter == "I" and going else None
    return found


def span_scores(truth: Iterable[Sequence[str]], made: Iterable[Sequence[str]]) -> dict[str, Any]:
    """Precision, recall and F1 of spans over all sentences, and for each kind of span.

    A span counts if its kind, its first and its last word are all right. Where nothing was found, or nothing
    was there to find, the share is 0. The scheme is that of all sentences together.
    """
    pairs = list(zip(truth, made, strict=True))
    ends = any(_has_ends(tags) for pair in pairs for tags in pair)
    right: Counter[str] = Counter()
    there: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for true_tags, made_tags in pairs:
        true_spans, made_spans = set(spans(true_tags, ends)), set(spans(made_tags, ends))
        there.update(span.kind for span in true_spans)
        found.update(span.kind for span in made_spans)
        right.update(span.kind for span in true_spans & made_spans)
    kinds = sorted(there.keys() | found.keys())
    whole = _shares(right.total(), found.total(), there.total())
    return whole | {"kinds": {kind: _shares(right[kind], found[kind], there[kind]) for kind in kinds}}


def _shares(right: int, found: int, there: int) -> dict[str, float | int]:
    precision, recall = right / max(found, 1), right / max(there, 1)
    f1 = 2 * right / max(found + there, 1)
    return {"precision": precision, "recall": recall, "f1": f1, "spans": there}
