"""Batches on several threads: the same bits, in the same order, and errors arrive."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from gatewise.runtime.jobs import classifier, tagger, writer
from gatewise.runtime.jobs.side_by_side import side_by_side
from gatewise.tasks import Classifier, Tagger, Writer

pytestmark = pytest.mark.usefixtures("quickly")


def test_batches_are_computed_at_the_same_time_and_given_in_order() -> None:
    both = threading.Barrier(2, timeout=60)

    def compute(batch: int) -> int:
        both.wait()  # is passed only if two batches are computed at once
        return -batch

    assert list(side_by_side(compute, range(4), 2)) == [0, -1, -2, -3]


def test_an_error_in_a_batch_arrives() -> None:
    for threads in (1, 2):
        with pytest.raises(ZeroDivisionError):
            list(side_by_side(lambda batch: 1 // batch, [1, 0, 1], threads))


def test_answers_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "BATCH", 3)
    monkeypatch.setattr(tagger, "_MOST_STEPS", 8)
    monkeypatch.setattr(writer, "_MOST_TOGETHER", 40)
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(rng.integers(2, 9), 2)) for _ in range(20)]
    words = [[f"w{n}" for n in rng.integers(0, 9, size)] for size in rng.integers(0, 6, 20)]
    texts = ["to be or not to be"[: int(size)] for size in rng.integers(0, 18, 20)]
    small: dict[str, Any] = {"hidden_size": 4, "num_layers": 1, "max_epochs": 1}
    classified = Classifier(**small, refit=False).fit(X, ["a", "b"] * 10).model_
    tagged = Tagger(**small).fit(words, [["A"] * len(some) for some in words[:-1]] + [["B"] * len(words[-1])])
    written = Writer(**small).fit("to be or not to be " * 20).model_
    given = []
    for threads in (1, 3):
        for model in (classified, tagged.model_, written):
            model.threads = threads
        given.append([
            classified.predict_proba(X), *classified.running_proba(X),
            *(column for row in tagged.model_.predict_proba(words) for column in row),
            *(each.log_probabilities for each in written.score_all(texts)),
        ])  # fmt: skip
    assert len(given[0]) == 1 + 20 + 20 + 20
    assert all(np.array_equal(one, other) for one, other in zip(*given, strict=True))


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", None])
def test_threads_that_are_no_number_of_threads_are_refused(threads: Any) -> None:
    with pytest.raises(ValueError, match=f"threads must be a whole number of at least 1. Got {threads!r}"):
        side_by_side(abs, [1], threads)
