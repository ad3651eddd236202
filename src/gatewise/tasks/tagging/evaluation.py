"""How good tags are: by column, on words that training did not have, by tag, by span, and by certainty."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewise.runtime.jobs.tags import Tagged
from gatewise.tasks.tagging.corpus import Corpus, Sentences
from gatewise.tasks.tagging.spans import scheme_of, span_scores

LEASTS = (0.5, 0.8, 0.9, 0.95, 0.99)  # probabilities below which a word is left untagged, in the report
MOST_CONFUSIONS = 20


@dataclass(frozen=True)
class ColumnResult:
    """A column of tags beside the truth, word by word.

    Attributes:
        name: the column.
        words, truth, made: ``[N]``, the words of all sentences, their true tags, and those of the tagger.
        likely: ``[N]``, the probability of the tag that was made.
        known: ``[N]``, whether training had the word.
        usual: the share that the most frequent tag of each word gets right.
        truths, mades: the tags sentence by sentence.
    """

    name: str
    words: list[str]
    truth: NDArray[np.object_]
    made: NDArray[np.object_]
    likely: NDArray[np.float64]
    known: NDArray[np.bool_]
    usual: float
    truths: Sentences
    mades: Sentences

    @property
    def right(self) -> NDArray[np.bool_]:
        """``[N]``, whether each tag is right."""
        return np.asarray(self.truth == self.made)

    @property
    def accuracy(self) -> float:
        """The share of right tags."""
        return _mean(self.right)

    def by_tag(self) -> dict[str, dict[str, float | int]]:
        """Precision, recall and F1 of each tag, frequent ones first."""
        there, found = Counter(self.truth.tolist()), Counter(self.made.tolist())
        hits = Counter(self.truth[self.right].tolist())
        tags = sorted(there.keys() | found.keys(), key=lambda tag: (-there[tag], tag))
        return {
            tag: {
                "precision": hits[tag] / max(found[tag], 1),
                "recall": hits[tag] / max(there[tag], 1),
                "f1": 2 * hits[tag] / max(there[tag] + found[tag], 1),
                "words": there[tag],
            }
            for tag in tags
        }

    def confusions(self) -> list[dict[str, str | int]]:
        """The most frequent errors: the true tag, the made one, how often."""
        wrong = ~self.right
        pairs = Counter(zip(self.truth[wrong].tolist(), self.made[wrong].tolist(), strict=True))
        ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
        return [{"truth": t, "made": m, "words": n} for (t, m), n in ordered[:MOST_CONFUSIONS]]

    def abstaining(self) -> list[dict[str, float]]:
        """For several probabilities: the share of words at least as certain, and of right tags among them."""
        found = []
        for least in LEASTS:
            sure = self.likely >= least
            found.append({"least": least, "tagged": _mean(sure), "accuracy": _mean(self.right[sure])})
        return found

    def metrics(self) -> dict[str, Any]:
        """The figures of the column as JSON data."""
        scored = {
            "accuracy": self.accuracy,
            "accuracy_known_words": _mean(self.right[self.known]),
            "accuracy_unseen_words": _mean(self.right[~self.known]),
            "accuracy_most_frequent_tag": self.usual,
            "words": len(self.truth),
            "unseen_words": int((~self.known).sum()),
            "expected_calibration_error": calibration_error(self.likely, self.right),
            "abstaining": self.abstaining(),
            "tags": self.by_tag(),
            "confusions": self.confusions(),
        }
        if scheme_of(self.truth.tolist()) is not None:
            scored["spans"] = span_scores(self.truths, self.mades)
        return scored


def evaluate(
    corpus: Corpus, tagged: Sequence[Sequence[Tagged]], columns: Sequence[str], training: Corpus
) -> list[ColumnResult]:
    """Hold tagged sentences beside the truth, a result for each column.

    `training` is what the tagger was fitted on: its words are the known ones, and the most frequent tag of
    each is what a tagger must beat.
    """
    words = [word for sentence in corpus.words for word in sentence]
    seen = {word for sentence in training.words for word in sentence}
    known = np.array([word in seen for word in words], bool)
    results = []
    for k, name in enumerate(columns):
        mades = [[each.tags[k] for each in sentence] for sentence in tagged]
        likely = [each.probabilities[k] for sentence in tagged for each in sentence]
        truth = _flat(corpus.tags[name])
        usual = most_frequent(training.words, training.tags[name], words)
        share = _mean(np.asarray(_objects(usual) == truth))
        results.append(
            ColumnResult(
                name, words, truth, _flat(mades), np.array(likely), known, share, corpus.tags[name], mades
            )
        )
    return results


def most_frequent(words: Sentences, tags: Sentences, asked: Sequence[str]) -> list[str]:
    """For each word the tag that it has most often in some text; for a new word the commonest tag of all."""
    every: Counter[str] = Counter()
    of_word: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sentence, sentence_tags in zip(words, tags, strict=True):
        for word, tag in zip(sentence, sentence_tags, strict=True):
            every[tag] += 1
            of_word[word][tag] += 1
    usual = {word: counts.most_common(1)[0][0] for word, counts in of_word.items()}
    return [usual.get(word, every.most_common(1)[0][0]) for word in asked]


def calibration_error(likely: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 15) -> float:
    """The expected calibration error (Guo et al. 2017): the mean distance of probability and accuracy.

    Words are put into `bins` intervals of their probability, and the distances weighted by their words.
    """
    if not len(likely):
        return float("nan")
    place = np.minimum((likely * bins).astype(int), bins - 1)
    sums = [np.bincount(place, weights=w, minlength=bins) for w in (likely, right.astype(float))]
    return float(np.abs(sums[0] - sums[1]).sum() / len(likely))


def by_frequency(result: ColumnResult, counts: Mapping[str, int]) -> list[tuple[str, int, float]]:
    """For words by how often training had them: a label, the number of words, and their accuracy."""
    often = np.array([counts.get(word, 0) for word in result.words])
    edges = [(0, 0), (1, 1), (2, 4), (5, 9), (10, 99), (100, 999), (1000, np.inf)]
    found = []
    for low, high in edges:
        chosen = (often >= low) & (often <= high)
        label = (
            "never"
            if high == 0
            else f"{low}"
            if low == high
            else f"{low}+"
            if high == np.inf
            else f"{low}-{high}"
        )
        if chosen.any():
            found.append((label, int(chosen.sum()), _mean(result.right[chosen])))
    return found


def _flat(sentences: Sentences) -> NDArray[np.object_]:
    return _objects([value for sentence in sentences for value in sentence])


def _objects(values: Sequence[str]) -> NDArray[np.object_]:
    made = np.empty(len(values), object)
    made[:] = values
    return made


def _mean(values: NDArray[np.bool_]) -> float | Any:
    """The mean, or None if there are no values."""
    return float(values.mean()) if len(values) else None
