"""Columns of tags, words with their tags, and what a tagger needs besides its weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, final

from gatewise.language.form_reading import FormError, fields, items, label, shown
from gatewise.runtime.jobs.spans import Transitions, scheme_of
from gatewise.runtime.jobs.spelling import Spelling
from gatewise.runtime.jobs.vocabulary import Vocabulary

KEY = "preparation"  # its key in the header of a file
SCHEMES = ("iob2", "iobes")
MOST_LOOK_AHEAD = 16  # words; a step reads so many words more
MOST_COLUMNS = 100
_KEYS = ("spelling", "columns", "look_ahead", "several")


@final
@dataclass(frozen=True)
class Column:
    """A column of tags.

    Attributes:
        name: its name.
        tags: the tags of training, frequent ones first.
        scheme: ``"iob2"`` or ``"iobes"`` if they mark spans that must be well formed; else None.
        temperature: what scores are divided by before they become probabilities.
    """

    name: str
    tags: tuple[str, ...]
    scheme: str | None = None
    temperature: float = 1.0

    @cached_property
    def transitions(self) -> Transitions | None:
        """Which tags may follow each other; None if all may."""
        return Transitions.of(self.tags, self.scheme) if self.scheme else None

    def to_dict(self) -> dict[str, Any]:
        """The column as JSON."""
        return {
            "name": self.name,
            "tags": list(self.tags),
            "scheme": self.scheme,
            "temperature": self.temperature,
        }

    @classmethod
    def from_dict(cls, value: Any) -> Column:
        """The column that `to_dict` described.

        Raises:
            FormError: `value` does not describe a column.
        """
        found = fields(value, "a column", ("name", "tags", "scheme", "temperature"))
        plain = {"entries": found["tags"], "padding": False, "unknown": False, "lower": False}
        tags = Vocabulary.from_dict(plain, "tags").entries
        scheme, temperature = found["scheme"], found["temperature"]
        if not tags:
            raise FormError("tags must have an item")
        if scheme is not None and (scheme not in SCHEMES or scheme_of(tags) is None):
            raise FormError(f"scheme must be null, or one that the tags follow. Got {shown(scheme)}")
        if not isinstance(temperature, float) or not 0.01 <= temperature <= 100:
            raise FormError(f"temperature must be a number from 0.01 to 100. Got {shown(temperature)}")
        return cls(label(found["name"], "name"), tags, scheme, temperature)


class Tagged(NamedTuple):
    """A word with its tags.

    Attributes:
        word: the word.
        tags: a tag for each column.
        probabilities: the probability of each of these tags.
    """

    word: str
    tags: tuple[str, ...]
    probabilities: tuple[float, ...]

    def certain(self, least: float, otherwise: str = "_") -> tuple[str, ...]:
        """The tags, with `otherwise` in place of those whose probability is below `least`."""
        both = zip(self.tags, self.probabilities, strict=True)
        return tuple(tag if probability >= least else otherwise for tag, probability in both)


@final
@dataclass(frozen=True)
class TableNames:
    """The columns of words and of sentences in the table of training; None where it had none."""

    word: str | None = None
    sentence: str | None = None

    @classmethod
    def from_dict(cls, value: Any) -> TableNames:
        """The names that ``vars`` described.

        Raises:
            FormError: `value` does not describe them.
        """
        found = fields(value, "table", ("word", "sentence"))
        for name in found.values():
            if name is not None and not isinstance(name, str):
                raise FormError(f"table: a column must be a text. Got {shown(name)}")
            (name or "").encode("utf-8")  # raises a ValueError for a name that cannot be encoded
        return cls(**found)


@final
@dataclass(frozen=True)
class Preparation:
    """What a tagger needs besides its weights.

    Attributes:
        spelling: the ids of words, characters and affixes.
        columns: the columns of tags.
        look_ahead: words that the network reads past a word before it is tagged; None if it reads the whole
            sentence, in both directions.
        several: whether tags were given as tuples.
        table: the columns of the table of training.
    """

    spelling: Spelling
    columns: tuple[Column, ...]
    look_ahead: int | None
    several: bool = True
    table: TableNames = TableNames()

    def to_dict(self) -> dict[str, Any]:
        """The preparation as JSON."""
        return {
            "spelling": self.spelling.to_dict(),
            "columns": [column.to_dict() for column in self.columns],
            "look_ahead": self.look_ahead,
            "several": self.several,
            "table": vars(self.table),
        }

    @classmethod
    def from_dict(cls, value: Any) -> Preparation:
        """The preparation that `to_dict` described; older files lack ``table``.

        Raises:
            FormError: `value` does not describe one.
        """
        found = fields(value, KEY, _KEYS, ("table",))
        columns = tuple(map(Column.from_dict, items(found["columns"], "columns", 1, MOST_COLUMNS)))
        ahead, several = found["look_ahead"], found["several"]
        if ahead is not None and (type(ahead) is not int or not 0 <= ahead <= MOST_LOOK_AHEAD):
            raise FormError(f"look_ahead must be null, or from 0 to {MOST_LOOK_AHEAD}. Got {shown(ahead)}")
        if type(several) is not bool or (len(columns) > 1 and not several):
            raise FormError(f"several must be true or false, as there are columns. Got {shown(several)}")
        table = TableNames.from_dict(found["table"]) if "table" in found else TableNames()
        return cls(Spelling.from_dict(found["spelling"]), columns, ahead, several, table)


def sentences_of(X: Iterable[Sequence[str]]) -> list[list[str]]:
    """Sentences as lists of words.

    Raises:
        TypeError: a sentence is a text, or a word is not one.
    """
    if isinstance(X, str):
        raise TypeError("X must hold sentences, each a list of words. Got a text.")
    sentences = []
    for words in X:
        if isinstance(words, str):
            raise TypeError(f"X must hold sentences, each a list of words. Got the text {words!r:.60}.")
        sentences.append([word_of(word) for word in words])
    return sentences


def word_of(word: str) -> str:
    """Check that a word is a text with a character; raises a TypeError if not."""
    if not isinstance(word, str) or not word:
        raise TypeError(f"a word must be a text with a character. Got {word!r:.60}.")
    return str(word)
