"""Vocabularies: words or characters as whole numbers, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from gatewise.language.form_reading import FormError, fields, items, shown
from gatewise.runtime.arrays import Array

PADDING, UNKNOWN = "padding", "unknown"
_MOST, _LONGEST = 1 << 22, 1 << 12  # entries; letters of one
_FLAGS = (PADDING, UNKNOWN, "lower")


@final
@dataclass(frozen=True)
class Vocabulary:
    """The entries that have a number (an id), in the order of their numbers.

    The ids are 0 for padding, if `padding`; then one for all that is unknown, if `unknown`; then one for each
    entry.

    Attributes:
        entries: words, characters, tags, or any other texts; all differ.
        padding, unknown: whether there are ids for these.
        lower: whether texts are looked up in lower case. The entries are in lower case then.

    Raises:
        ValueError: two entries are equal, or not in lower case although `lower` is set.

    Example:
        >>> vocabulary = Vocabulary.of("to be or not to be".split())
        >>> vocabulary.entries
        ('be', 'to', 'not', 'or')
        >>> vocabulary.ids(["to", "see"])
        array([3, 1])
    """

    entries: tuple[str, ...]
    padding: bool = True
    unknown: bool = True
    lower: bool = False

    def __post_init__(self) -> None:
        if len(self._places) < len(self.entries):
            raise FormError("entries must differ")
        if self.lower and any(entry != entry.lower() for entry in self.entries):
            raise FormError("entries must be in lower case")

    @classmethod
    def of(
        cls, texts: Iterable[str], *, most: int | None = None, least: int = 1,
        padding: bool = True, unknown: bool = True, lower: bool = False,
    ) -> Vocabulary:  # fmt: skip
        """The vocabulary of some texts (words, or characters), the most frequent first, equal ones sorted.

        Entries that occur fewer than `least` times are left out, and all but the first `most`.
        """
        counts = Counter(text.lower() for text in texts) if lower else Counter(texts)
        chosen = sorted((entry for entry, n in counts.items() if n >= least), key=lambda e: (-counts[e], e))
        return cls(tuple(chosen[:most]), padding, unknown, lower)

    def __len__(self) -> int:
        """The number of ids."""
        return self.first + len(self.entries)

    @property
    def first(self) -> int:
        """The id of the first entry."""
        return self.padding + self.unknown

    @property
    def unknown_id(self) -> int | None:
        """The id of whatever is unknown; None if there is none."""
        return int(self.padding) if self.unknown else None

    @cached_property
    def _places(self) -> dict[str, int]:
        return {entry: self.first + n for n, entry in enumerate(self.entries)}

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        return ("",) * self.first + self.entries

    def __contains__(self, text: str) -> bool:
        """Whether a text has an id of its own."""
        return (text.lower() if self.lower else text) in self._places

    def ids(self, texts: Sequence[str]) -> Array:
        """The ids of texts (of the characters, if it is one text), as int64.

        Raises:
            ValueError: a text is not in the vocabulary, which has no id for what is unknown.
        """
        found = [text.lower() for text in texts] if self.lower else texts
        places, otherwise = self._places, self.unknown_id
        ids = [places.get(text, otherwise) for text in found]
        if otherwise is None and None in ids:
            wrong = texts[ids.index(None)]
            raise ValueError(f"texts must be among the {len(self.entries)} known ones. Got {shown(wrong)}.")
        return np.array(ids, np.int64)

    def texts(self, ids: Iterable[int]) -> list[str]:
        """The entries of ids; "" for padding and for what is unknown.

        Raises:
            IndexError: an id does not exist.
        """
        return [self._texts[_natural(n)] for n in ids]

    def to_dict(self) -> dict[str, Any]:
        """The vocabulary as JSON."""
        return {"entries": list(self.entries), **{flag: getattr(self, flag) for flag in _FLAGS}}

    @classmethod
    def from_dict(cls, value: Any, what: str = "vocabulary") -> Vocabulary:
        """The vocabulary that `to_dict` described.

        Args:
            value: the description, from a file.
            what: its name in error messages.

        Raises:
            FormError: `value` does not describe a vocabulary.
        """
        found = fields(value, what, ("entries", *_FLAGS))
        for flag in _FLAGS:
            if not isinstance(found[flag], bool):
                raise FormError(f"{what}: {flag} must be true or false. Got {shown(found[flag])}")
        entries = items(found["entries"], f"{what}: entries", 0, _MOST)
        for entry in entries:
            _check_entry(entry, what)
        try:
            return cls(tuple(entries), *(found[flag] for flag in _FLAGS))
        except FormError as error:
            raise FormError(f"{what}: {error}") from error


def _check_entry(entry: Any, what: str) -> None:
    if not isinstance(entry, str) or len(entry) > _LONGEST:
        raise FormError(f"{what}: entries must be texts of at most {_LONGEST} letters. Got {shown(entry)}")
    try:
        entry.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FormError(f"{what}: an entry has half of a character") from error


def _natural(n: int) -> int:
    if n < 0:
        raise IndexError(f"ids must be at least 0. Got {n}.")
    return int(n)
