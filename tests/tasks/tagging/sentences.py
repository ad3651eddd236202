"""Sentences of a small language, whose tags follow from endings, neighbours and words."""

from __future__ import annotations

import numpy as np

NAMES, PLACES = ["Ada", "Alan Turing", "Grace", "Edsger W Dijkstra"], ["Rome", "New York"]
Sentence = list[tuple[str, str, str]]  # word, part of speech, tag of a span


def spans_of(name: str, kind: str) -> Sentence:
    words = name.split()
    return [(word, "NAME", f"{'I' if k else 'B'}-{kind}") for k, word in enumerate(words)]


def made(rng: np.random.Generator) -> Sentence:
    verb = "".join(rng.choice(list("aeiou"), 4)) + "ing"  # seldom seen twice
    sentence = [*spans_of(str(rng.choice(NAMES)), "PER"), ("is", "AUX", "O"), (verb, "VERB", "O")]
    if rng.random() < 0.5:
        sentence += [("in", "ADP", "O"), *spans_of(str(rng.choice(PLACES)), "LOC")]
    return [*sentence, (".", "PUNCT", "O")]


def corpus(seed: int, count: int) -> tuple[list[list[str]], list[list[tuple[str, str]]]]:
    """Words, and for each word a part of speech and a tag of a span."""
    rng = np.random.default_rng(seed)
    sentences = [made(rng) for _ in range(count)]
    return [[w for w, *_ in s] for s in sentences], [[(t, b) for _, t, b in s] for s in sentences]
