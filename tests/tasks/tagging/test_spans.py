"""Spans read strictly, and tags that a scheme allows."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from gatewise.runtime.jobs.spans import Transitions, follows_scheme, scheme_of
from gatewise.runtime.jobs.tagger import logarithms
from gatewise.tasks.tagging.spans import Span, span_scores, spans


def by_definition(tags: tuple[str, ...]) -> set[Span]:
    """All spans, by asking of every stretch of words and every kind whether it is one."""
    scheme = "iobes" if any(tag[0] in "ES" for tag in tags) else "iob2"
    kinds = {tag[2:] for tag in tags if tag != "O"}
    stretches = [(i, j) for i in range(len(tags)) for j in range(i, len(tags))]
    found = set()
    for kind, (first, last) in product(kinds, stretches):
        middle = set(tags[first + 1 : last])
        if scheme == "iob2":
            after = tags[last + 1] if last + 1 < len(tags) else "O"
            inside = set(tags[first + 1 : last + 1])
            is_one = tags[first] == f"B-{kind}" and inside <= {f"I-{kind}"} and after != f"I-{kind}"
        elif first == last:
            is_one = tags[first] == f"S-{kind}"
        else:
            ends = (tags[first], tags[last]) == (f"B-{kind}", f"E-{kind}")
            is_one = ends and middle <= {f"I-{kind}"}
        if is_one:
            found.add(Span(kind, first, last))
    return found


@pytest.mark.parametrize("letters", ["BI", "BIES"])
def test_spans_are_those_of_the_definition(letters: str) -> None:
    tags = ["O", *(f"{letter}-{kind}" for letter in letters for kind in "XY")]
    for sentence in product(tags, repeat=4):
        found = spans(sentence)
        assert set(found) == by_definition(sentence)
        assert len(set(found)) == len(found)


def test_scores_of_spans() -> None:
    truth = [["B-A", "I-A", "O", "B-B"], ["O", "B-A"]]
    made = [["B-A", "I-A", "O", "O"], ["B-A", "I-A"]]
    scores = span_scores(truth, made)
    assert scores["precision"] == 1 / 2
    assert scores["recall"] == 1 / 3
    assert scores["f1"] == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))
    assert scores["kinds"]["B"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "spans": 1}
    assert span_scores([["O"]], [["O"]])["f1"] == 0.0


def test_a_tag_without_probability_is_chosen_where_no_other_is_allowed() -> None:
    rules = Transitions.of(["O", "B-X", "I-X"], "iob2")
    path = rules.best_path(logarithms(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])))
    assert path.tolist() == [1, 2]


def test_the_scheme_of_scores_is_that_of_all_sentences() -> None:
    scores = span_scores([["S-A"], ["B-A", "E-A"]], [["S-A"], ["B-A", "I-A"]])  # the last span has no end
    assert (scores["precision"], scores["recall"]) == (1.0, 1 / 2)


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["O", "B-X", "I-X"], "iob2"),
        (["O", "S-X"], "iobes"),
        (["O", "I-X"], None),  # IOB1 has no B where spans do not touch
        (["NOUN", "O"], None),
        (["O"], None),
        ([], None),
        (["B-", "O"], None),
    ],
)
def test_the_scheme_of_tags(tags: list[str], scheme: str | None) -> None:
    assert scheme_of(tags) == scheme


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [("iob2", ("O", "B-X", "I-X", "B-Y", "I-Y")), ("iobes", ("O", "B-X", "I-X", "E-X", "S-X", "E-Y", "B-Y"))],
)
def test_the_best_path_is_the_best_of_all_allowed_ones(scheme: str, tags: tuple[str, ...]) -> None:
    rules = Transitions.of(tags, scheme)
    rng = np.random.default_rng(0)
    for length in (1, 2, 4):
        allowed = [
            path for path in product(range(len(tags)), repeat=length)
            if follows_scheme([tags[k] for k in path], scheme)
        ]  # fmt: skip
        for _ in range(20):
            scores = rng.normal(size=(length, len(tags)))
            best = max(allowed, key=lambda path: scores[range(length), list(path)].sum())
            assert rules.best_path(scores).tolist() == list(best)


def test_every_allowed_sequence_is_read_as_spans_without_a_rest() -> None:
    """What the rules allow has no tag outside of a span but O."""
    for scheme, letters in (("iob2", "BI"), ("iobes", "BIES")):
        tags = ["O", *(f"{letter}-{kind}" for letter in letters for kind in "XY")]
        for sentence in product(tags, repeat=3):
            inside = {place for span in spans(sentence) for place in range(span.first, span.last + 1)}
            whole = inside == {place for place, tag in enumerate(sentence) if tag != "O"}
            if follows_scheme(sentence, scheme):
                assert whole
            elif any(tag[0] in "ES" for tag in sentence) == (scheme == "iobes"):
                assert not whole


def test_where_no_path_is_allowed_each_word_has_its_best_tag() -> None:
    rules = Transitions.of(("B-X", "E-X"), "iobes")
    assert rules.best_path(np.array([[0.0, 1.0]])).tolist() == [1]
    assert rules.best_path(np.zeros((0, 2))).tolist() == []
