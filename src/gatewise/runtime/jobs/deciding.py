"""Early decisions: how sure a classifier must be to decide before the end of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np

from gatewise.language.form_reading import FormError, fields, items, real, shown
from gatewise.runtime.arrays import Array

CANDIDATES = 200  # thresholds that are tried
DOUBTED = 5  # errors that are assumed where validation sequences are too few to show them
_NUMBERS = ("thresholds", "accuracies", "earliness")


class Decisions(NamedTuple):
    """What was decided about N sequences, and when.

    Attributes:
        labels: ``[N]``, the classes.
        steps: ``[N]``, the steps that had been read when the decision was made.
        probabilities: ``[N]``, of the class at that step.
        earliness: ``[N]``, the share of the sequence that had been read, above 0 and up to 1.
        threshold: the probability from which a decision was made.
    """

    labels: Array
    steps: Array
    probabilities: Array
    earliness: Array
    threshold: float


@final
@dataclass(frozen=True)
class Deciding:
    """What each threshold costs and saves, measured on validation sequences.

    A decision is made at the first step at which a class has at least this probability, and else at the end.

    Attributes:
        thresholds: probabilities, rising.
        accuracies: for each, the share of sequences that are decided correctly, counted as in `fit`.
        earliness: for each, the mean share of a sequence that is read.
        whole: the accuracy at the end of the sequences.
    """

    thresholds: tuple[float, ...]
    accuracies: tuple[float, ...]
    earliness: tuple[float, ...]
    whole: float

    @classmethod
    def fit(cls, running: Sequence[Array], truth: Array, doubted: int = DOUBTED) -> Deciding:
        """Measure thresholds on running probabilities ``[T, K]`` of sequences, and their classes ``[N]``.

        If there are only a few sequences, a threshold can be right on all of them by luck. So up to `doubted`
        more errors are added to those that it made (at most half as many as there are sequences). Each
        sequence whose last probability is not above the threshold takes one of them back, so an early
        decision must be about as sure as decisions at the end. With many sequences this changes little.
        """
        ends = np.array([probabilities[-1].max() for probabilities in running])
        doubted = min(doubted, len(running) // 2)
        sure = np.concatenate([probabilities.max(axis=1) for probabilities in running])
        thresholds = np.unique(np.quantile(sure, np.linspace(0, 1, CANDIDATES)))
        found = []
        for threshold in thresholds:
            steps = [first_sure(probabilities, float(threshold)) for probabilities in running]
            right = [p[t].argmax() == k for p, t, k in zip(running, steps, truth, strict=True)]
            read = [(t + 1) / len(p) for p, t in zip(running, steps, strict=True)]
            errors = max(doubted - int(np.sum(ends <= threshold)), 0)
            found.append((max(int(np.sum(right)) - errors, 0) / len(running), float(np.mean(read))))
        whole = np.mean([p[-1].argmax() == k for p, k in zip(running, truth, strict=True)])
        accuracies, earliness = zip(*found, strict=True)
        return cls(tuple(thresholds.tolist()), accuracies, earliness, float(whole))

    def threshold(self, accuracy: float | None = None) -> float:
        """The smallest threshold from which on the accuracy on the validation sequences is kept.

        By default this is the accuracy at the end of the sequences.

        Raises:
            ValueError: `accuracy` is not reached by reading the whole sequences.
        """
        wanted = self.whole if accuracy is None else accuracy
        if not 0 <= wanted <= self.whole:
            raise ValueError(
                f"accuracy must be from 0 to {self.whole:g}, which whole validation sequences reach. "
                f"Got {accuracy!r}."
            )
        below = np.flatnonzero(np.array(self.accuracies) < wanted)
        first = int(below[-1]) + 1 if below.size else 0
        return self.thresholds[first] if first < len(self.thresholds) else np.inf

    def to_dict(self) -> dict[str, Any]:
        """The measurements as JSON."""
        return {**{name: list(getattr(self, name)) for name in _NUMBERS}, "whole": self.whole}

    @classmethod
    def from_dict(cls, value: Any, what: str = "deciding") -> Deciding:
        """The measurements that `to_dict` described; `what` is their name in error messages.

        Raises:
            FormError: `value` does not describe them.
        """
        found = fields(value, what, (*_NUMBERS, "whole"))
        count = len(items(found[_NUMBERS[0]], f"{what}: {_NUMBERS[0]}", 1, CANDIDATES))
        columns = [
            tuple(
                _share(entry, f"{what}: {name}")
                for entry in items(found[name], f"{what}: {name}", count, count)
            )
            for name in _NUMBERS
        ]
        if list(columns[0]) != sorted(columns[0]):
            raise FormError(f"{what}: thresholds must rise")
        return cls(columns[0], columns[1], columns[2], _share(found["whole"], f"{what}: whole"))


def first_sure(probabilities: Array, threshold: float) -> int:
    """The first step of ``[T, K]`` at which a class has at least this probability, else the last step."""
    sure = probabilities.max(axis=1) >= threshold
    return int(sure.argmax()) if sure.any() else len(sure) - 1


def _share(value: Any, what: str) -> float:
    number = real(value, what)
    if not 0 <= number <= 1:
        raise FormError(f"{what} must be from 0 to 1. Got {shown(value)}")
    return number
