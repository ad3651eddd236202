"""The test of a classifier: accuracy, confusion, per-class report, calibration, early decisions.

Shapes: ``N`` sequences, ``K`` classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from gatewise.runtime.jobs.deciding import Decisions
from gatewise.tasks.classification.calibration import calibration_error
from gatewise.tasks.classification.labels import Labels

Array = NDArray[Any]
_TINY = 1e-15


@dataclass(frozen=True)
class Evaluation:
    """A test on sequences that training has not seen.

    Attributes:
        labels: the classes.
        truth: ``[N]``, the number of each true class; ``[N, K]`` of 0 and 1 for several labels.
        probabilities: ``[N, K]``.
        uncalibrated: ``[N, K]``, the probabilities without calibration.
        majority: the number of the most frequent class in training; for several labels None.
        early: early decisions for the default threshold; None if the network reads both ways, or has several
            labels.
    """

    labels: Labels
    truth: Array
    probabilities: Array
    uncalibrated: Array
    majority: int | None
    early: Decisions | None

    @cached_property
    def predicted(self) -> Array:
        """The predictions, in the form of `truth`."""
        if self.labels.several:
            return np.asarray(self.probabilities > 0.5, np.int64)
        return np.asarray(self.probabilities.argmax(axis=1))

    @cached_property
    def confusion(self) -> Array:
        """``[K, K]``: the sequences of each true class (row) with each prediction (column)."""
        K = len(self.labels.classes)
        return np.asarray(confusion_matrix(self.truth, self.predicted, labels=range(K)))

    @property
    def right(self) -> Array:
        """``[N]``, whether all of a prediction is right."""
        same: Array = np.asarray(self.predicted == self.truth)
        return np.asarray(same.all(axis=1)) if self.labels.several else same

    def overall(self) -> dict[str, Any]:
        """The figures of all classes together, as JSON."""
        if self.labels.several:
            return self._of_several()
        certain, found = self.probabilities.max(axis=1), len(self.truth)
        rows = np.arange(found)
        before = self.uncalibrated[rows, self.truth]
        overall = {
            "sequences": found,
            "accuracy": float(self.right.mean()),
            "most_frequent_class": float((self.truth == self.majority).mean()),
            "macro_f1": float(f1_score(self.truth, self.predicted, average="macro", zero_division=0)),
            "log_loss": _log_loss(self.probabilities[rows, self.truth]),
            "log_loss_uncalibrated": _log_loss(before),
            "calibration_error": calibration_error(certain, self.right),
            "calibration_error_uncalibrated": calibration_error(self.uncalibrated.max(axis=1), self.right),
        }
        return overall | ({} if self.early is None else {"early": self._of_early(self.early)})

    def by_class(self) -> list[dict[str, Any]]:
        """Precision, recall, F1 and the number of sequences of each class."""
        K = len(self.labels.classes)
        found = precision_recall_fscore_support(
            self.truth, self.predicted, labels=range(K), zero_division=0, average=None
        )
        return [
            {
                "class": _plain(label),
                "precision": float(precision),
                "recall": float(recall),
                "f1": float(f1),
                "sequences": int(count),
            }
            for label, precision, recall, f1, count in zip(self.labels.classes, *found, strict=True)
        ]

    def confused(self, most: int = 5) -> list[tuple[Any, Any, int]]:
        """The most frequent confusions: true class, predicted class, and how often."""
        if self.labels.several:
            return []
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        places = [np.unravel_index(place, wrong.shape) for place in order]
        classes = self.labels.classes
        return [(classes[i], classes[j], int(wrong[i, j])) for i, j in places if wrong[i, j]]

    def _of_several(self) -> dict[str, Any]:
        f1 = {
            f"{average}_f1": float(f1_score(self.truth, self.predicted, average=average, zero_division=0))
            for average in ("micro", "macro", "samples")
        }
        return {
            "sequences": len(self.truth),
            "exactly_right": float(self.right.mean()),
            "labels_right": float((self.predicted == self.truth).mean()),
            **f1,
            "log_loss": _log_loss(np.where(self.truth == 1, self.probabilities, 1 - self.probabilities)),
        }

    def _of_early(self, early: Decisions) -> dict[str, Any]:
        places = {label: k for k, label in enumerate(self.labels.classes.tolist())}
        decided = np.array([places[label] for label in early.labels.tolist()])
        return {
            "threshold": early.threshold if np.isfinite(early.threshold) else None,
            "accuracy": float((decided == self.truth).mean()),
            "earliness": float(early.earliness.mean()),
            "steps": float(early.steps.mean()),
        }


def _log_loss(probabilities: Array) -> float:
    return float(-np.log(np.maximum(probabilities, _TINY)).mean())


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label
