"""Tests a writer on held-out text, beside counting; and examines what it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import log
from typing import Any

import numpy as np

from gatewise.runtime.jobs.units import WORDS, split
from gatewise.runtime.jobs.writer import Scored, Writer
from gatewise.tasks.writing.copying import Copied, CopyIndex
from gatewise.tasks.writing.corpus import MANY
from gatewise.tasks.writing.loops import Loop, longest_loop
from gatewise.tasks.writing.ngram import HIGHEST, ngram_bits

_READ_BEFORE = 2000  # characters before the held-out part that the network reads


@dataclass(frozen=True)
class Division:
    """Texts, and what is held out of them for the test: some texts of many, else the end of each."""

    train: tuple[str, ...]
    test: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str], share: float = 0.1, seed: int = 0) -> Division:
        """Hold out a share of the texts."""
        if len(texts) >= MANY:
            order = np.random.default_rng([seed, 1]).permutation(len(texts)).tolist()
            held = set(order[: max(1, round(share * len(texts)))])
            return cls(
                *(tuple(t for n, t in enumerate(texts) if (n in held) == kind) for kind in (False, True))
            )
        cuts = [int((1 - share) * len(text)) for text in texts]
        return cls(
            tuple(text[:cut] for text, cut in zip(texts, cuts, strict=True)),
            tuple(text[cut:] for text, cut in zip(texts, cuts, strict=True)),
        )

    @property
    def continues(self) -> bool:
        """Whether each text of the test continues one of the training part."""
        return len(self.train) == len(self.test) < MANY

    @property
    def before(self) -> list[str]:
        """For each text of the test what a network reads before it: the end of the text that it continues."""
        if self.continues:
            return [text[-_READ_BEFORE:] for text in self.train]
        return [""] * len(self.test)


@dataclass(frozen=True)
class Tested:
    """A test on held-out text.

    Attributes:
        unit: what a token is.
        bits: bits per token of the network.
        floors: bits per token of n-gram models, from n = 1 on.
        tokens: the number of tokens.
        unknown: the share of tokens that the training part does not have often enough.
    """

    unit: str
    bits: float
    floors: tuple[float, ...]
    tokens: int
    unknown: float

    @property
    def best_n(self) -> int:
        """The n of the best n-gram model."""
        return int(np.argmin(self.floors)) + 1

    def figure(self, bits: float) -> str:
        """Bits per token as they are usually given: perplexity for words."""
        return f"perplexity {2**bits:.1f}" if self.unit == WORDS else f"{bits:.3f} bits per {self.unit[:-1]}"

    def to_dict(self) -> dict[str, Any]:
        """The test as JSON."""
        return asdict(self) | {"best_n": self.best_n, "perplexity": 2**self.bits}


def tested(model: Writer, division: Division) -> Tested:
    """Score the held-out text with a network, and with n-gram models of the training part."""
    scored = [model.score(text, after) for text, after in zip(division.test, division.before, strict=True)]
    tokens = sum(len(each.tokens) for each in scored)
    nats = sum(float(each.log_probabilities.sum()) for each in scored)
    unknown = sum(token not in model.vocabulary for each in scored for token in each.tokens)
    floors = counted(model, division.train, division.test)
    return Tested(
        model.unit, -nats / log(2) / max(tokens, 1), tuple(floors), tokens, unknown / max(tokens, 1)
    )


def counted(model: Writer, train: Sequence[str], test: Sequence[str]) -> list[float]:
    """Bits per token of n-gram models with the vocabulary and the tokens of a network."""
    parts = ["\n".join(train), "\n".join(test)]
    if model.unit == WORDS:
        known = [tuple(model.vocabulary.ids(split(part, WORDS)).tolist()) for part in parts]
        return ngram_bits(known[0], known[1], 3)
    characters = ["".join(split(part, model.unit)) for part in parts]
    return ngram_bits(characters[0], characters[1], HIGHEST)


@dataclass(frozen=True)
class Sample:
    """A text that a network wrote, and what is to be known about it.

    Attributes:
        text: without the prompt.
        copied: what it shares with the training text; None if that is not at hand.
        loop: a phrase that it repeats over and over; None if there is none.
        scored: the probability of each of its tokens.
    """

    text: str
    copied: Copied | None
    loop: Loop | None
    scored: Scored

    @property
    def figure(self) -> str:
        """How likely the text is."""
        return f"{self.scored.bits_per_character:.2f} bits per character"

    def to_dict(self) -> dict[str, Any]:
        """The sample as JSON."""
        return {
            "text": self.text,
            "bits_per_character": self.scored.bits_per_character if self.text else None,
            "copied": self.copied and {"longest": self.copied.longest, "share": self.copied.share},
            "loop": self.loop and self.loop._asdict(),
        }


def examined(model: Writer, texts: Sequence[str], prompt: str, index: CopyIndex | None) -> list[Sample]:
    """Examine texts that a network wrote after a prompt."""
    return [
        Sample(text, index.compare(text) if index else None, longest_loop(text), model.score(text, prompt))
        for text in texts
    ]
