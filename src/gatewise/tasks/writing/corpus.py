"""Texts as numbers: the vocabulary, the training part, and the validation part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs.units import BYTES, split
from gatewise.runtime.jobs.vocabulary import Vocabulary
from gatewise.runtime.jobs.writer import BOUNDARY

MANY = 20  # texts from which on some are held out whole, and the network learns where texts end
LEAST = 100  # characters that are needed
VALIDATION = 0.1  # share of the texts in the validation part, by default
MOST_ENTRIES = 20_000  # of a vocabulary, by default


@dataclass(frozen=True)
class Corpus:
    """Texts that a network learns from.

    Attributes:
        train, check: the texts of the training part and of the validation part.
        ends: whether the network learns where texts end.
        unit: "characters", "bytes" or "words".
        vocabulary: the tokens of the training part.
    """

    train: tuple[str, ...]
    check: tuple[str, ...]
    ends: bool
    unit: str
    vocabulary: Vocabulary

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        unit: str,
        validation: float = VALIDATION,
        most: int = MOST_ENTRIES,
        seed: int = 0,
    ) -> Corpus:
        """Divide texts, and collect the vocabulary of the training part.

        Of at least 20 texts some are held out as the validation part. Of fewer it is the end of each.

        Raises:
            ValueError: there are fewer than 100 characters, no validation part, or nothing occurs twice.
        """
        if sum(map(len, texts)) < LEAST:
            raise ValueError(f"texts must have at least {LEAST} characters. Got {sum(map(len, texts))}.")
        train, check = _divided(texts, validation, seed)
        vocabulary = _vocabulary(train, unit, most)
        if len(texts) < MANY and not any(check):
            raise ValueError(f"validation must be larger for texts this short. Got {validation}.")
        if not vocabulary.entries:
            raise ValueError(f"texts must have {unit} that occur twice, which can be learned.")
        return cls(tuple(train), tuple(check), len(texts) >= MANY, unit, vocabulary)

    def ids(self, texts: Sequence[str]) -> Array:
        """The texts one after the other, each behind a boundary; behind the last one too if texts end."""
        parts = [
            part for text in texts for part in (_boundary(), self.vocabulary.ids(split(text, self.unit)))
        ]
        return np.concatenate([*parts, _boundary()] if self.ends else parts)


def _boundary() -> Array:
    return np.array([BOUNDARY])


def _divided(texts: Sequence[str], validation: float, seed: int) -> tuple[list[str], list[str]]:
    if len(texts) >= MANY:
        order = np.random.default_rng(seed).permutation(len(texts))
        held = set(order[: max(1, round(validation * len(texts)))].tolist())
        return (
            [text for n, text in enumerate(texts) if n not in held],
            [text for n, text in enumerate(texts) if n in held],
        )
    cuts = [len(text) - round(validation * len(text)) for text in texts]
    return (
        [text[:cut] for text, cut in zip(texts, cuts, strict=True)],
        [text[cut:] for text, cut in zip(texts, cuts, strict=True)],
    )


def _vocabulary(texts: Sequence[str], unit: str, most: int) -> Vocabulary:
    """All bytes, or the most frequent tokens. A token that occurs once teaches what is unknown."""
    if unit == BYTES:
        return Vocabulary(tuple(map(chr, range(256))), unknown=False)
    tokens = (token for text in texts for token in split(text, unit))
    return Vocabulary.of(tokens, most=most, least=2)
