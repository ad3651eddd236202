"""Number formats: decimal mark, thousands separator, percent signs, marks of missing values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Text = pd.Series  # a column of str, missing values as NaN

SIGNS = "%‰€$£¥"  # signs that may stand at every value of a column
BLANK = "[-?*./\u2013\u2014…#_]{1,8}"  # a value of only these characters is missing
ENDS = 1000  # values at each end of a column that are checked first, to rule out formats
NAMES = {".": "point", ",": "comma", " ": "space", "'": "apostrophe"}
_ESCAPED = {".": r"\.", ",": ",", " ": " ", "'": "'", "": ""}


@dataclass(frozen=True)
class NumberForm:
    """A number format: the decimal mark, and the thousands separator if there is one."""

    decimal: str = "."
    thousands: str = ""

    def __str__(self) -> str:
        thousands = f", thousands {NAMES[self.thousands]}" if self.thousands else ""
        return f"decimal {NAMES[self.decimal]}{thousands}"

    @property
    def pattern(self) -> str:
        """A regular expression for numbers in this format."""
        mark, group = _ESCAPED[self.decimal], _ESCAPED[self.thousands]
        whole = rf"(?:[0-9]+|[1-9][0-9]{{0,2}}(?:{group}[0-9]{{3}})+)" if group else r"[0-9]+"
        return rf"[+-]?(?:{whole}(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]+)?"

    def matches(self, text: Text) -> NDArray[np.bool_]:
        """A mask of the values that are numbers in this format."""
        return np.asarray(text.str.fullmatch(self.pattern).fillna(False), bool)

    def read(self, text: Text) -> Numbers:
        """Read a column. Values that are not in this format become NaN."""
        plain = text.where(self.matches(text))
        if self.thousands:
            plain = plain.str.replace(self.thousands, "", regex=False)
        if self.decimal != ".":
            plain = plain.str.replace(self.decimal, ".", regex=False)
        numbers = pc.cast(pa.array(plain, pa.large_string(), from_pandas=True), pa.float64())
        return np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64)

    def plausible(self, text: Text) -> bool:
        """Whether a format is consistent: all thousands are marked, trailing zeros are always or never
        there."""
        mark = _ESCAPED[self.decimal]
        if self.thousands and text.str.fullmatch(rf"[+-]?[0-9]{{4,}}(?:{mark}[0-9]*)?").any():
            return False
        decimals = text.where(text.str.contains(self.decimal, regex=False), "")
        decimals = decimals.str.replace(rf"^[^{mark}]*", "", regex=True)
        fixed, always = decimals.str.len().nunique() < 2, bool((decimals != "").all())
        padded = decimals.str.fullmatch(rf"{mark}[0-9]*0") & (
            decimals != (f"{self.decimal}0" if always else "")
        )
        return bool(fixed or not padded.any())


class Tidied(NamedTuple):
    """A column of text, stripped of spaces, of a sign at all values, and of marks of missing values.

    `sign` and `blanks` are what was removed, such as a percent sign and ``"?"``.
    """

    text: Text
    sign: str = ""
    blanks: tuple[str, ...] = ()


def tidied(text: Text) -> Tidied:
    """Tidy a column."""
    text = text.str.strip()
    if not text.str.isascii().fillna(True).all():
        text = text.str.replace("[\u00a0\u2009\u202f]", " ", regex=True)
        text = text.str.replace("\u2212", "-", regex=False).str.replace("\u2019", "'", regex=False)
    blank = text.str.fullmatch(BLANK).fillna(False).astype(bool)
    blanks = tuple(map(str, text[blank].unique()))
    text = text.mask(blank | (text == ""))
    present = text.dropna()
    for sign in SIGNS:
        if len(present) and sign in str(present.iloc[0]) and present.str.contains(sign, regex=False).all():
            return Tidied(text.str.replace(sign, "", regex=False).str.strip(), sign, blanks)
    return Tidied(text, "", blanks)


class TwoReadingsError(ValueError):
    """Raised if the numbers of `column`, such as `value`, can be read in two `forms`."""

    def __init__(self, column: str, value: str, forms: list[NumberForm]) -> None:
        self.column = column
        self.value = value
        self.forms = forms
        super().__init__(column)


def decide(columns: Mapping[str, Text], allowed: list[NumberForm], separator: str) -> NumberForm:
    """Decide the number format, which must be the same for all columns.

    If several formats fit and give different numbers, only consistent ones (`plausible`) count.

    Raises:
        TwoReadingsError: several formats are left.
    """
    known = {name: text.dropna() for name, text in columns.items()}
    numeric = {name: text for name, text in known.items() if _look_like_numbers(text)}
    if not numeric:
        return allowed[0]
    whole = pd.concat(list(numeric.values()), ignore_index=True)
    ends = pd.concat([part for text in numeric.values() for part in (text.iloc[:ENDS], text.iloc[-ENDS:])])
    used = [form for form in allowed if not form.thousands or _has(whole, _ESCAPED[form.thousands])]
    forms = _suited(ends, used or allowed)
    if len(forms) > 1:
        forms = _distinct(whole, _suited(whole, forms))
    if len(forms) > 1:
        marked = [text for text in numeric.values() if _has(text, "[0-9][., '][0-9]")]
        forms = [form for form in forms if all(map(form.plausible, marked))] or forms
    # Comma-separated files do not use German thousands, nor semicolon-separated files English ones.
    foreign = {",": ".", ";": ","}.get(separator)
    forms = [form for form in forms if form.thousands != foreign] or forms if len(forms) > 1 else forms
    if len(forms) > 1:
        raise _two_readings(numeric, forms)
    return forms[0]


def _look_like_numbers(text: Text) -> bool:
    """Whether at least half of the first and last values start like numbers, without letters except e."""
    ends = pd.concat([text.iloc[:ENDS], text.iloc[-ENDS:]])
    return bool(len(ends)) and bool(
        ends.str.fullmatch(r"[-+.,]?[0-9][0-9., ']*(?:[eE][-+]?[0-9]+)?").mean() >= 0.5
    )


def _has(text: Text, pattern: str) -> bool:
    return bool(text.str.contains(pattern, regex=True).any())


def _suited(text: Text, forms: list[NumberForm]) -> list[NumberForm]:
    """The formats that can read the most values."""
    read = {form: int(form.matches(text).sum()) for form in forms}
    return [form for form in forms if read[form] == max(read.values())]


def _distinct(text: Text, forms: list[NumberForm]) -> list[NumberForm]:
    """Formats that give different numbers; of formats with the same numbers, the first."""
    kept: dict[bytes, NumberForm] = {}
    for form in forms:
        kept.setdefault(form.read(text).tobytes(), form)
    return list(kept.values())


def _two_readings(columns: Mapping[str, Text], forms: list[NumberForm]) -> TwoReadingsError:
    for name, text in columns.items():
        differ = forms[0].read(text) != forms[1].read(text)
        if differ.any():
            return TwoReadingsError(name, str(text.iloc[int(np.argmax(differ))]), forms)
    raise AssertionError("two ways that give the same numbers")
