"""Words as numbers: the word itself, its characters, its beginnings and its endings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np

from gatewise.language.form_reading import FormError, fields, items, shown
from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs.vocabulary import Vocabulary

BEGINNINGS, ENDINGS = (1, 2, 3), (1, 2, 3, 4)  # lengths of the affixes that are read
_KEPT_FIRST, _KEPT_LAST = 8, 14  # characters of a longer word that are read
_MARKS = 2  # ids of characters for the beginning and the end of a word, above those of the vocabulary
_MOST_AFFIXES, _LONGEST_AFFIX = 100, 100


class Spelled(NamedTuple):
    """Words as numbers.

    Attributes:
        words: ``[U]``, the id of each word.
        characters: ``[K, U]``, the ids of its characters between two marks, then padding.
        lengths: ``[U]``, the number of its characters and marks.
        affixes: ``[U, A]``, the ids of its beginnings and endings; 0 for one that is unknown.
    """

    words: Array
    characters: Array
    lengths: Array
    affixes: Array


@final
@dataclass(frozen=True)
class Affixes:
    """The beginnings or the endings of words, of one length, that have an id."""

    length: int
    at_end: bool
    known: Vocabulary

    @classmethod
    def learn(cls, length: int, at_end: bool, words: Iterable[str]) -> Affixes:
        """The affixes that occur at least twice."""
        found = (_affix(word, length, at_end) for word in words)
        return cls(length, at_end, Vocabulary.of(found, least=2, padding=False))

    def ids(self, words: Sequence[str]) -> Array:
        """The id of the affix of each word."""
        return self.known.ids([_affix(word, self.length, self.at_end) for word in words])


@final
@dataclass(frozen=True)
class Spelling:
    """The words, characters and affixes of a training text, with their ids.

    Attributes:
        words, characters: the words and the characters that have ids.
        affixes: beginnings and endings of each length.

    Example:
        >>> spelling = Spelling.learn([["the", "cat"], ["the", "hat"]])
        >>> spelling.ids(["cat", "dog"]).words
        array([3, 1])
    """

    words: Vocabulary
    characters: Vocabulary
    affixes: tuple[Affixes, ...]

    @classmethod
    def learn(cls, sentences: Iterable[Sequence[str]]) -> Spelling:
        """Number the words of a training text, and what they are made of."""
        words = [word for sentence in sentences for word in sentence]
        kinds = [(length, False) for length in BEGINNINGS] + [(length, True) for length in ENDINGS]
        affixes = tuple(Affixes.learn(length, at_end, words) for length, at_end in kinds)
        return cls(Vocabulary.of(words), Vocabulary.of("".join(words)), affixes)

    @property
    def sizes(self) -> tuple[int, int, tuple[int, ...]]:
        """The number of ids of words, of characters, and of affixes of each kind."""
        affixes = tuple(len(kind.known) for kind in self.affixes)
        return len(self.words), len(self.characters) + _MARKS, affixes

    def ids(self, words: Sequence[str]) -> Spelled:
        """Words as numbers."""
        read = [_read(word) for word in words]
        lengths = np.array([len(text) + _MARKS for text in read], np.int64)
        before = len(self.characters)
        characters = np.zeros((int(lengths.max(initial=_MARKS)), len(words)), np.int64)
        for k, text in enumerate(read):
            characters[1 : len(text) + 1, k] = self.characters.ids(text)
            characters[0, k], characters[len(text) + 1, k] = before, before + 1
        affixes = np.zeros((len(words), len(self.affixes)), np.int64)
        for k, kind in enumerate(self.affixes):
            affixes[:, k] = kind.ids(words)
        return Spelled(self.words.ids(words), characters, lengths, affixes)

    def to_dict(self) -> dict[str, Any]:
        """The spelling as JSON."""
        affixes = [
            {"length": kind.length, "at_end": kind.at_end, "known": kind.known.to_dict()}
            for kind in self.affixes
        ]
        return {
            "words": self.words.to_dict(),
            "characters": self.characters.to_dict(),
            "affixes": affixes,
        }

    @classmethod
    def from_dict(cls, value: Any) -> Spelling:
        """The spelling that `to_dict` described.

        Raises:
            FormError: `value` does not describe a spelling.
        """
        found = fields(value, "spelling", ("words", "characters", "affixes"))
        affixes = items(found["affixes"], "spelling: affixes", 0, _MOST_AFFIXES)
        return cls(
            _vocabulary(found["words"], "words", padding=True),
            _vocabulary(found["characters"], "characters", padding=True),
            tuple(map(_read_affixes, affixes)),
        )


def _read_affixes(value: Any) -> Affixes:
    found = fields(value, "affixes", ("length", "at_end", "known"))
    length, at_end = found["length"], found["at_end"]
    if type(length) is not int or not 1 <= length <= _LONGEST_AFFIX:
        raise FormError(f"affixes: length must be from 1 to {_LONGEST_AFFIX}. Got {shown(length)}")
    if type(at_end) is not bool:
        raise FormError(f"affixes: at_end must be true or false. Got {shown(at_end)}")
    return Affixes(length, at_end, _vocabulary(found["known"], "affixes", padding=False))


def _vocabulary(value: Any, what: str, *, padding: bool) -> Vocabulary:
    found = Vocabulary.from_dict(value, what)
    if found.padding != padding or not found.unknown:
        raise FormError(f"{what}: padding must be {padding}, and unknown True")
    return found


def _affix(word: str, length: int, at_end: bool) -> str:
    return word[-length:] if at_end else word[:length]


def _read(word: str) -> str:
    """The characters of a word that are read: of a long word its beginning and its end."""
    if len(word) <= _KEPT_FIRST + _KEPT_LAST:
        return word
    return word[:_KEPT_FIRST] + word[-_KEPT_LAST:]
