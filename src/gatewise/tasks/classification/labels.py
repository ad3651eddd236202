"""The labels of sequences as numbers: one class each, or any number of labels each.

Shapes: ``N`` sequences, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from gatewise.runtime.jobs.classes import KINDS, classes_of, described

Array = NDArray[Any]


@dataclass(frozen=True)
class Labels:
    """The classes of a classifier.

    Attributes:
        classes: ``[K]``, sorted.
        several: whether a sequence has any number of labels.
    """

    classes: Array
    several: bool

    @classmethod
    def fit(cls, y: Any) -> Labels:
        """The classes of ``y``: N labels; N lists of labels; or an indicator matrix ``[N, K]`` of 0 and 1.

        A list may be empty, but not all of them.

        Raises:
            ValueError: `y` is none of these, or a label is missing.
        """
        _check_present(y)
        if is_lists(y):
            binarizer = MultiLabelBinarizer().fit(y)
            if not len(binarizer.classes_):
                raise ValueError(f"y must have labels. Got {len(y)} empty lists.")
            return cls(_of_one_kind(binarizer.classes_), True)
        if type_of_target(y, input_name="y") == "multilabel-indicator":
            return cls(np.arange(np.shape(y)[1]), True)
        check_classification_targets(y)
        return cls(_of_one_kind(unique_labels(column_or_1d(y, warn=True))), False)

    def encoded(self, y: Any) -> Array:
        """The number of the class of each sequence ``[N]`` (int64), or ``[N, K]`` of 0 and 1 (float32).

        Raises:
            ValueError: a label is unknown.
        """
        _check_present(y)
        if not self.several:
            return _numbers(self.classes, column_or_1d(y))
        if not is_lists(y):
            matrix = np.asarray(y)
            if matrix.shape[1:] != self.classes.shape or not np.isin(matrix, (0, 1)).all():
                raise ValueError(
                    f"y must be a matrix of 0 and 1 with {len(self.classes)} columns. Got {matrix.shape}"
                )
            return matrix.astype(np.float32)
        indicator = np.zeros((len(y), len(self.classes)), np.float32)
        for row, labels in enumerate(y):
            if len(labels):
                indicator[row, _numbers(self.classes, np.asarray(list(labels)))] = 1
        return indicator

    def weights(self, chosen: str | Mapping[Any, float] | None, encoded: Array) -> Array:
        """The weight of each class ``[K]``. `chosen` is as scikit-learn's `class_weight`.

        With several labels, it is the weight of having the label.

        Raises:
            ValueError: a class of the mapping does not exist.
        """
        K = len(self.classes)
        if chosen is None:
            return np.ones(K, np.float32)
        if isinstance(chosen, Mapping):
            known = {_plain(label): k for k, label in enumerate(self.classes)}
            for label in chosen:
                if label not in known:
                    raise ValueError(f"class_weight must have classes of y. Got {label!r}")
            found = np.ones(K, np.float32)
            for label, weight in chosen.items():
                found[known[label]] = weight
            return found
        if self.several:
            having = encoded.mean(axis=0)
            ratio: Array = np.clip((1 - having) / np.maximum(having, 1e-6), 1e-3, 1e3)
            return ratio.astype(np.float32)
        present = np.unique(encoded)
        found = np.ones(K, np.float32)
        found[present] = compute_class_weight(chosen, classes=present, y=encoded)
        return found

    def to_dict(self) -> dict[str, Any]:
        """The classes as JSON, for a model file."""
        return described(self.classes, self.several)

    @classmethod
    def from_dict(cls, value: Any) -> Labels:
        """The classes that `to_dict` described. Raises a FormError if `value` does not describe them."""
        return cls(*classes_of(value))


def is_lists(y: Any) -> bool:
    """Whether `y` is a list of lists, tuples or sets of labels, but not a matrix of 0 and 1."""
    if isinstance(y, np.ndarray) and y.dtype != object:
        return False
    if not hasattr(y, "__len__") or not len(y) or (hasattr(y, "iloc") and getattr(y, "ndim", 1) == 2):
        return False
    rows = list(y)
    if not all(isinstance(row, list | tuple | set | frozenset) for row in rows):
        return False
    widths = {len(row) for row in rows}
    indicators = (
        len(widths) == 1
        and widths != {0}
        and all(isinstance(label, int | np.integer) and label in (0, 1) for row in rows for label in row)
    )
    return not indicators


def _check_present(y: Any) -> None:
    """Refuse a list, an array of objects or a Series with None or NaN among its labels."""
    if not isinstance(y, list | tuple) and getattr(getattr(y, "dtype", None), "kind", "") != "O":
        return  # scikit-learn says so of other arrays
    missing = [place for place, label in enumerate(y) if _is_missing(label)]
    if missing:
        lists = any(isinstance(label, list | tuple | set | frozenset) for label in y)
        hint = " A sequence that has none of the labels gets an empty list." if lists else ""
        raise ValueError(
            f"y must have a label for each sequence; {len(missing):,} of {len(y):,} have none, "
            f"first y[{missing[0]}].{hint}"
        )


def _is_missing(label: Any) -> bool:
    is_nan = isinstance(label, float) and label != label
    return label is None or is_nan or type(label).__name__ == "NAType"  # of pandas


def _of_one_kind(classes: Array) -> Array:
    """The classes, checked to be texts, integers, numbers or booleans, in the type that a file gives back."""
    if classes.dtype.kind not in KINDS or (
        classes.dtype.kind == "O" and not all(isinstance(label, str) for label in classes)
    ):
        raise ValueError(f"y must be labels of one kind: texts, numbers or booleans. Got {classes.dtype}")
    return classes_of(described(classes, several=False))[0]


def _numbers(classes: Array, labels: Array) -> Array:
    """The place of each label among the classes."""
    places = {label: k for k, label in enumerate(classes.tolist())}
    try:
        return np.array([places[label] for label in labels.tolist()], np.int64)
    except KeyError as error:
        raise ValueError(f"y has the label {error.args[0]!r}, which fit has not seen") from error


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label
