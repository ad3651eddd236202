"""How sequences become inputs of a classifier: measurements are scaled, texts are split and numbered.

Shapes: ``T`` steps, ``I`` inputs.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from gatewise.language.form_reading import FormError, fields, number, shown
from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs.scaling import Scaling
from gatewise.runtime.jobs.vocabulary import Vocabulary

WORDS, CHARACTERS = "words", "characters"
UNITS = (WORDS, CHARACTERS)  # what a text is read by
_MOST_STEPS = 1 << 40
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")


def split_text(text: str, unit: str) -> list[str]:
    """The words and punctuation marks of a text, or its characters.

    >>> split_text("Don't panic!", "words")
    ["Don't", 'panic', '!']
    """
    return _WORD.findall(text) if unit == WORDS else list(text)


class Preparation(NamedTuple):
    """How sequences become inputs: measurements by `scaling`, texts by `unit` and `vocabulary`.

    Only the first `longest` steps of a sequence are read, all of them if this is None.
    """

    scaling: Scaling | None
    vocabulary: Vocabulary | None
    unit: str
    longest: int | None = None

    @property
    def is_text(self) -> bool:
        """Whether the sequences are texts."""
        return self.vocabulary is not None

    def __call__(self, sequence: Any) -> Array:
        """The inputs of one sequence: ``[T, I]`` of float32 for measurements, ``[T]`` ids for a text.

        Raises:
            TypeError: a text is expected and something else came, or the other way round.
            ValueError: the number of channels differs, or there is no step.
        """
        if self.vocabulary is not None:
            if not isinstance(sequence, str):
                raise TypeError(f"a sequence must be a text. Got {type(sequence).__name__}.")
            ids = self.vocabulary.ids(self.units(sequence))
            return ids if len(ids) else np.array([self.vocabulary.unknown_id], np.int64)
        assert self.scaling is not None
        if isinstance(sequence, str):
            raise TypeError("a sequence must be an array of measurements. Got a text.")
        values = np.asarray(sequence, np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or not len(values):
            raise ValueError(f"a sequence must have shape [T, {self.scaling.inputs}]. Got {values.shape}.")
        return self.scaling(values[: self.longest])

    def units(self, text: str) -> list[str]:
        """The words or characters of a text that are read."""
        return split_text(text, self.unit)[: self.longest]

    def to_dict(self) -> dict[str, Any]:
        """The preparation as JSON."""
        longest = {} if self.longest is None else {"longest": self.longest}
        if self.vocabulary is not None:
            return {"unit": self.unit, "vocabulary": self.vocabulary.to_dict(), **longest}
        assert self.scaling is not None
        return {"scaling": self.scaling.to_dict(), **longest}

    @classmethod
    def from_dict(cls, value: Any) -> Preparation:
        """The preparation that `to_dict` described. Raises a FormError if it does not describe one."""
        scaled = isinstance(value, dict) and "scaling" in value
        found = fields(value, "preparation", ("scaling",) if scaled else ("unit", "vocabulary"), ("longest",))
        longest = None
        if "longest" in found:
            longest = number(found["longest"], "preparation: longest", 1, _MOST_STEPS)
        if scaled:
            return cls(Scaling.from_dict(found["scaling"], "preparation: scaling"), None, "", longest)
        if found["unit"] not in UNITS:
            raise FormError(
                f"preparation: unit must be one of {', '.join(UNITS)}. Got {shown(found['unit'])}"
            )
        vocabulary = Vocabulary.from_dict(found["vocabulary"], "preparation: vocabulary")
        if vocabulary.unknown_id is None or not vocabulary.padding:
            raise FormError("preparation: vocabulary must have ids for padding and unknown words")
        return cls(None, vocabulary, found["unit"], longest)
