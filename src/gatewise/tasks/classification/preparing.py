"""Sequences as inputs of the network: scaling or vocabulary, the validation part, batches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewise.runtime.jobs.preparation import CHARACTERS, UNITS, WORDS, Preparation, split_text
from gatewise.runtime.jobs.scaling import Scaling
from gatewise.runtime.jobs.vocabulary import Vocabulary
from gatewise.tasks.classification.network import Batch

Array = NDArray[Any]
AUTO = "auto"
FEWEST, SMALLEST = 8, 4  # batches in an epoch, and sequences in a batch, at least
MOST_ENTRIES = 20_000  # of a vocabulary
FEW_TEXTS = 200  # with at least as many, a word that occurs once counts as unknown
SHORT = 3.0  # texts of fewer words on average are read by characters
VALIDATED = 512  # sequences in a validation batch
VALIDATED_STEPS = 1 << 20  # steps in it, padding included
MOST_STEPS = 1 << 16  # of a sequence; with these, training takes about 0.5 GB for each sequence of a batch
BATCH_STEPS = 1 << 18  # of a training batch, padding included, if it has more than one sequence
# Letters of scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, Chinese characters.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_LETTER = re.compile(r"\w")


def prepare(sequences: Sequence[Any], unit: str, longest: int | None = None) -> Preparation:
    """Compute means and scales, or a vocabulary, from training sequences.

    Args:
        sequences: arrays ``[T, C]``, or texts.
        unit: ``"words"``, ``"characters"``, or ``"auto"``: characters if texts have fewer than three words on
            average, or are written without spaces between words, as Chinese and Japanese are.
        longest: the most steps of a sequence that are read; None for all.
    """
    if not isinstance(sequences[0], str):
        return Preparation(Scaling.fit([some[:longest] for some in sequences]), None, "", longest)
    chosen = unit if unit in UNITS else unit_of(sequences)
    least = 2 if len(sequences) >= FEW_TEXTS else 1
    words = (word for text in sequences for word in split_text(text, chosen)[:longest])
    lower = chosen == WORDS
    vocabulary = Vocabulary.of(words, most=MOST_ENTRIES, least=least, lower=lower)
    return Preparation(None, vocabulary, chosen, longest)


def check_lengths(inputs: Sequence[Array], unit: str) -> None:
    """Refuse a sequence that is too long to train on.

    Raises:
        ValueError: a sequence has more than `MOST_STEPS` steps. The message says what to do.
    """
    lengths = [len(x) for x in inputs]
    if max(lengths) > MOST_STEPS:
        place, what = int(np.argmax(lengths)), unit or "steps"
        raise ValueError(
            f"X must have sequences of at most {MOST_STEPS:,} {what}, for the memory that training takes. "
            f"Got {max(lengths):,} in sequence {place}: divide it, or read only its beginning (longest=)"
        )


def batch_size(lengths: Array, most: int) -> int:
    """The sequences in a training batch: fewer than `most` if there are few, or if one is very long."""
    size = min(most, max(len(lengths) // FEWEST, SMALLEST))
    return max(min(size, BATCH_STEPS // int(lengths.max())), 1)


def unit_of(texts: Sequence[str]) -> str:
    """The unit by which ``"auto"`` reads texts; see `prepare`."""
    letters = sum(len(_LETTER.findall(text)) for text in texts)
    if 2 * sum(len(_UNSPACED.findall(text)) for text in texts) > letters:
        return CHARACTERS
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
        lengths = self.lengths
        order = np.argsort(lengths, kind="stable")
        size = max(min(VALIDATED, VALIDATED_STEPS // int(lengths.max())), 1)
        for start in range(0, len(order), size):
            yield self.batch(order[start : start + size])


def padded(inputs: Sequence[Array]) -> tuple[Tensor, Tensor]:
    """Padded inputs ``[T, B, I]`` or ``[T, B]``, and lengths ``[B]``."""
    lengths = np.array([len(x) for x in inputs], np.int64)
    out = np.zeros((int(lengths.max()), len(inputs), *inputs[0].shape[1:]), inputs[0].dtype)
    for row, x in enumerate(inputs):
        out[: len(x), row] = x
    return torch.from_numpy(out), torch.from_numpy(lengths)
