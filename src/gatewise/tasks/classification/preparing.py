"""Sequences as inputs of the network: scaling or vocabulary, the validation part, batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewise.runtime.jobs.classifier import CHARACTERS, UNITS, WORDS, Preparation, split_text
from gatewise.runtime.jobs.scaling import Scaling
from gatewise.runtime.jobs.vocabulary import Vocabulary
from gatewise.tasks.classification.network import Batch

Array = NDArray[Any]
AUTO = "auto"
MOST_ENTRIES = 20_000  # of a vocabulary
FEW_TEXTS = 200  # with at least as many, a word that occurs once counts as unknown
SHORT = 3.0  # texts of fewer words on average are read by characters
VALIDATED = 512  # sequences in a validation batch


def prepare(sequences: Sequence[Any], unit: str) -> Preparation:
    """Compute means and scales, or a vocabulary, from training sequences.

    Args:
        sequences: arrays ``[T, C]``, or texts.
        unit: ``"words"``, ``"characters"``, or ``"auto"``: characters if texts have fewer than three words on
            average.
    """
    if not isinstance(sequences[0], str):
        return Preparation(Scaling.fit(sequences), None, "")
    chosen = unit if unit in UNITS else _unit_of(sequences)
    least = 2 if len(sequences) >= FEW_TEXTS else 1
    words = (word for text in sequences for word in split_text(text, chosen))
    lower = chosen == WORDS
    return Preparation(None, Vocabulary.of(words, most=MOST_ENTRIES, least=least, lower=lower), chosen)


def _unit_of(texts: Sequence[str]) -> str:
    mean = np.mean([len(split_text(text, WORDS)) for text in texts])
    return CHARACTERS if mean < SHORT else WORDS


@dataclass(frozen=True)
class Prepared:
    """Sequences as inputs, with their classes and the weights of these.

    Attributes:
        inputs: ``[T, I]`` or ``[T]`` for each sequence.
        targets: ``[N]`` or ``[N, K]``.
        weights: of each class, ``[K]``.
    """

    inputs: list[Array]
    targets: Array
    weights: Array

    @property
    def lengths(self) -> Array:
        """``[N]``, the steps of each sequence."""
        return np.array([len(x) for x in self.inputs])

    def batch(self, rows: Array) -> Batch:
        """Some sequences, padded."""
        inputs, lengths = padded([self.inputs[row] for row in rows])
        targets = self.targets[rows]
        if targets.ndim == 1:
            weights = self.weights[targets]
        else:
            weights = np.where(targets == 1, self.weights, np.float32(1))
        return Batch(inputs, lengths, torch.from_numpy(targets), torch.from_numpy(weights))

    def part(self, rows: Array) -> Prepared:
        """Some of the sequences."""
        return Prepared([self.inputs[row] for row in rows], self.targets[rows], self.weights)

    def batches(self) -> Iterator[Batch]:
        """Batches of all sequences, those of similar length together."""
        order = np.argsort(self.lengths, kind="stable")
        for start in range(0, len(order), VALIDATED):
            yield self.batch(order[start : start + VALIDATED])


def padded(inputs: Sequence[Array]) -> tuple[Tensor, Tensor]:
    """Padded inputs ``[T, B, I]`` or ``[T, B]``, and lengths ``[B]``."""
    lengths = np.array([len(x) for x in inputs], np.int64)
    out = np.zeros((int(lengths.max()), len(inputs), *inputs[0].shape[1:]), inputs[0].dtype)
    for row, x in enumerate(inputs):
        out[: len(x), row] = x
    return torch.from_numpy(out), torch.from_numpy(lengths)
