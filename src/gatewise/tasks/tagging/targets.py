"""Tags as a user gives them, and as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gatewise.runtime.jobs.arithmetic import log_softmax
from gatewise.runtime.jobs.spans import follows_scheme, scheme_of
from gatewise.runtime.jobs.tags import Column
from gatewise.runtime.jobs.vocabulary import Vocabulary

T = TypeVar("T")
Whole = NDArray[np.int64]
_TEMPERATURES = np.exp(np.linspace(np.log(0.25), np.log(4.0), 81))


class SentenceTags(list[T]):
    """The tags of sentences: a list that NumPy takes for a vector of lists, also if all have one length.

    So the predictions of parts can be concatenated, as ``sklearn.model_selection.cross_val_predict`` does.

    >>> np.concatenate([SentenceTags([["A", "B"]]), SentenceTags([["C"]])])
    array([list(['A', 'B']), list(['C'])], dtype=object)
    """

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.object_]:
        made = np.empty(len(self), object)
        made[:] = list(self)
        return made


@dataclass(frozen=True)
class Targets:
    """The tags of sentences, column by column.

    Attributes:
        columns: for each column the tags of every sentence.
        several: whether a word's tags were given as a tuple rather than a text.
    """

    columns: list[list[list[str]]]
    several: bool

    @classmethod
    def of(cls, X: Sequence[Sequence[str]], y: Any) -> Targets:
        """Check the tags of sentences: for each word a text, or a tuple of texts, one for each column.

        Raises:
            TypeError: a tag is neither a text nor a tuple of texts.
            ValueError: the numbers of sentences, of words and of tags do not fit together.
        """
        sentences = [list(tags) for tags in y]
        if len(sentences) != len(X):
            raise ValueError(f"y must have {len(X)} sentences, as X. Got {len(sentences)}.")
        first = next((tag for tags in sentences for tag in tags), "")
        several = not isinstance(first, str)
        width = len(first) if isinstance(first, tuple | list) else 1
        if several and (not isinstance(first, tuple | list) or not width):
            raise TypeError(f"a tag must be a text, or a tuple of texts. Got {first!r:.60}.")
        for row, (words, tags) in enumerate(zip(X, sentences, strict=True)):
            if len(words) != len(tags):
                counts = f"Sentence {row} has {len(words)} words and {len(tags)} tags"
                raise ValueError(f"y must have a tag for each word. {counts}.")
            for tag in tags:
                _check_tag(tag, several, width, row)
        if not several:
            return cls([[list(map(str, tags)) for tags in sentences]], several)  # not those of NumPy
        return cls([[[str(tag[k]) for tag in tags] for tags in sentences] for k in range(width)], several)

    def numbers(self, columns: Sequence[Column]) -> list[Whole]:
        """For each sentence the numbers of its tags, ``[T, C]``."""
        tables = [{tag: k for k, tag in enumerate(column.tags)} for column in columns]
        made = []
        for rows in zip(*self.columns, strict=True):
            each = [[table[tag] for tag in tags] for table, tags in zip(tables, rows, strict=True)]
            made.append(np.array(each, np.int64).reshape(len(columns), -1).T)
        return made


def _check_tag(tag: Any, several: bool, width: int, row: int) -> None:
    if not several:
        if not isinstance(tag, str):
            raise TypeError(f"a tag must be a text, as the first one. Got {tag!r:.60} in sentence {row}.")
    elif not isinstance(tag, tuple | list) or not all(isinstance(one, str) for one in tag):
        raise TypeError(
            f"a tag must be a tuple of texts, as the first one. Got {tag!r:.60} in sentence {row}."
        )
    elif len(tag) != width:
        raise ValueError(
            f"a tag must have {width} texts, as the first one. Got {tag!r:.60} in sentence {row}."
        )


def learn_columns(targets: Targets, names: Sequence[str]) -> list[Column]:
    """The columns with their tags. A column whose sentences all follow a scheme of spans keeps to it."""
    columns = []
    for name, sentences in zip(names, targets.columns, strict=True):
        tags = Vocabulary.of(
            (tag for sentence in sentences for tag in sentence), padding=False, unknown=False
        )
        scheme = scheme_of(tags.entries)
        if scheme is not None and not all(follows_scheme(sentence, scheme) for sentence in sentences):
            scheme = None
        columns.append(Column(name, tags.entries, scheme))
    return columns


def best_temperature(scores: NDArray[np.float32], tags: Whole) -> float:
    """The temperature whose probabilities fit best, of 81 from 1/4 to 4 (Guo et al. 2017).

    Args:
        scores: ``[N, K]``.
        tags: ``[N]``, the numbers of the true tags.
    """
    if not len(tags):
        return 1.0
    rows = np.arange(len(tags))
    losses = [-log_softmax(scores / np.float32(t))[rows, tags].mean() for t in _TEMPERATURES]
    return float(np.float32(_TEMPERATURES[int(np.argmin(losses))]))
