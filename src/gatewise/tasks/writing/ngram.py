"""What counting alone achieves: n-gram models with Witten-Bell smoothing, the floor beside a network."""

from __future__ import annotations

from collections import Counter
from math import log2

Tokens = str | tuple[int, ...]

HIGHEST = 7  # the longest n-grams


def ngram_bits(train: Tokens, test: Tokens, highest: int = HIGHEST) -> list[float]:
    """Bits per token of n-gram models on a test that continues the training text, for ``n = 1`` to `highest`.

    The probability of a token after a history is interpolated with that after a history shorter by one; the
    weight is the number of different tokens seen after the history (Witten & Bell 1991, method C). Without a
    history it is interpolated with equal probabilities of all tokens and an unknown one.

    Example:
        >>> [round(bits, 2) for bits in ngram_bits("abababababab", "ababab", highest=2)]
        [1.07, 0.12]
    """
    models = [_counted(train, n) for n in range(highest)]
    floor = 1 / (len(set(train)) + 1)
    before = train[-highest:]
    text, start = before + test, len(before)  # type: ignore[operator]  # both are of one type
    sums = [0.0] * highest
    for at in range(start, len(text)):
        p = floor
        for n, (grams, totals, kinds) in enumerate(models):
            history = text[at - n : at]
            weight = kinds.get(history, 0) if at >= n else 0
            if weight:
                p = (grams.get(text[at - n : at + 1], 0) + weight * p) / (totals[history] + weight)
            sums[n] -= log2(p)
    return [bits / max(len(test), 1) for bits in sums]


_Counts = dict[Tokens, int]


def _counted(train: Tokens, n: int) -> tuple[_Counts, _Counts, _Counts]:
    """The counts of n + 1 tokens, and for each history of n: of all that follows, of different ones."""
    grams: Counter[Tokens] = Counter(train[at - n : at + 1] for at in range(n, len(train)))
    totals: _Counts = {}
    kinds: _Counts = {}
    for gram, count in grams.items():
        history = gram[:-1]
        totals[history] = totals.get(history, 0) + count
        kinds[history] = kinds.get(history, 0) + 1
    return grams, totals, kinds
