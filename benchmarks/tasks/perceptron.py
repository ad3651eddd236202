"""An averaged perceptron for tagging (Collins 2002), with features as in NLTK: the usual baseline."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

Sentences = Sequence[Sequence[str]]
BEGIN = "<s>"


class Perceptron:
    """Tags from left to right; the two tags before a word are among its features."""

    def __init__(self, passes: int = 5, seed: int = 0) -> None:
        self.passes, self.seed = passes, seed
        self.weights: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.totals: defaultdict[tuple[str, str], float] = defaultdict(float)
        self.last: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.words = 0

    def fit(self, X: Sentences, y: Sentences) -> Perceptron:
        self.tags = sorted({tag for tags in y for tag in tags})
        order = list(range(len(X)))
        shuffle = random.Random(self.seed)
        for _ in range(self.passes):
            shuffle.shuffle(order)
            for row in order:
                self._learn(X[row], y[row])
        for feature, weights in self.weights.items():
            for tag in weights:
                key = feature, tag
                weights[tag] = (self.totals[key] + (self.words - self.last[key]) * weights[tag]) / self.words
        return self

    def predict(self, X: Sentences) -> list[list[str]]:
        made = []
        for words in X:
            tags: list[str] = []
            for place in range(len(words)):
                tags.append(self._best(features(words, place, tags)))
            made.append(tags)
        return made

    def _learn(self, words: Sequence[str], truth: Sequence[str]) -> None:
        tags: list[str] = []
        for place, true in enumerate(truth):
            known = features(words, place, tags)
            made = self._best(known)
            tags.append(made)
            self.words += 1
            if made != true:
                for feature in known:
                    self._add(feature, true, 1.0)
                    self._add(feature, made, -1.0)

    def _add(self, feature: str, tag: str, value: float) -> None:
        key = feature, tag
        self.totals[key] += (self.words - self.last[key]) * self.weights[feature][tag]
        self.last[key] = self.words
        self.weights[feature][tag] += value

    def _best(self, known: list[str]) -> str:
        scores = dict.fromkeys(self.tags, 0.0)
        for feature in known:
            if feature in self.weights:
                for tag, weight in self.weights[feature].items():
                    scores[tag] += weight
        return max(self.tags, key=lambda tag: (scores[tag], tag))


def features(words: Sequence[str], place: int, tags: Sequence[str]) -> list[str]:
    """The features of a word: itself, its ending, its neighbours, and the tags before it."""

    def at(step: int) -> str:
        return words[place + step] if 0 <= place + step < len(words) else "<>"

    word, before, second = words[place], (tags or [BEGIN])[-1], tags[-2] if len(tags) > 1 else BEGIN

    def every() -> Iterator[str]:
        yield "bias"
        yield f"w {word}"
        yield from (f"s{n} {word[-n:]}" for n in (1, 2, 3))
        yield f"p1 {word[0]}"
        yield from (f"t-1 {before}", f"t-2 {second}", f"t2 {before} {second}", f"t-1w {before} {word}")
        yield from (f"w{step:+} {at(step)}" for step in (-2, -1, 1, 2))
        yield from (f"w{step:+}s {at(step)[-3:]}" for step in (-1, 1))

    return list(every())
