"""How numbers are written: decimal mark, thousands, percent signs, marks of missing values."""

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
Text = pd.Series  # of str, missing values as NaN

SIGNS = "%‰€$£¥"  # that may stand at every value of a column
BLANK = r"[-?*./\u2013\u2014…#_]{1,8}"  # a value of such characters alone is missing
LOOKED_AT = 1000  # values at each end of a column that rule out most ways of writing
NAMES = {".": "point", ",": "comma", " ": "space", "'": "apostrophe"}
_ESCAPED = {".": r"\.", ",": ",", " ": " ", "'": "'", "": ""}


@dataclass(frozen=True)
class NumberForm:
    """A way to write numbers: its decimal mark, and the mark between groups of thousands, if any."""

    decimal: str = "."
    thousands: str = ""

    def __str__(self) -> str:
        thousands = f", thousands {NAMES[self.thousands]}" if self.thousands else ""
        return f"decimal {NAMES[self.decimal]}{thousands}"

    @property
    def pattern(self) -> str:
        """A regular expression of all numbers written like this."""
        mark, group = _ESCAPED[self.decimal], _ESCAPED[self.thousands]
        whole = rf"(?:\d+|[1-9]\d{{0,2}}(?:{group}\d{{3}})+)" if group else r"\d+"
        return rf"[+-]?(?:{whole}(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?"

    def matches(self, text: Text) -> NDArray[np.bool_]:
        """Say which values are numbers written like this."""
        return np.asarray(text.str.fullmatch(self.pattern).fillna(False), bool)

    def read(self, text: Text) -> Numbers:
        """Read a column; what is no number written like this is NaN."""
        plain = text.where(self.matches(text))
        if self.thousands:
            plain = plain.str.replace(self.thousands, "", regex=False)
        if self.decimal != ".":
            plain = plain.str.replace(self.decimal, ".", regex=False)
        numbers = pc.cast(pa.array(plain, pa.large_string(), from_pandas=True), pa.float64())
        return np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64)

    def plausible(self, text: Text) -> bool:
        """Say whether one writer would write so: all thousands marked, zeros at the end of all or none."""
        mark = _ESCAPED[self.decimal]
        if self.thousands and text.str.fullmatch(rf"[+-]?\d{{4,}}(?:{mark}\d*)?").any():
            return False
        decimals = text.where(text.str.contains(self.decimal, regex=False), "")
        decimals = decimals.str.replace(rf"^[^{mark}]*", "", regex=True)
        fixed, always = decimals.str.len().nunique() < 2, bool((decimals != "").all())
        padded = decimals.str.fullmatch(rf"{mark}\d*0") & (decimals != (f"{self.decimal}0" if always else ""))
        return bool(fixed or not padded.any())


class Tidied(NamedTuple):
    """A column of text without blanks around its values, the sign at all of them, and marks of missing ones.

    `sign` and `blanks` are what was taken away: a percent sign, say, and `"?"`.
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
    """A column whose numbers can be read in two ways; `column`, a `value` and the two `forms`."""

    def __init__(self, column: str, value: str, forms: list[NumberForm]) -> None:
        self.column = column
        self.value = value
        self.forms = forms
        super().__init__(column)


def decide(columns: Mapping[str, Text], allowed: list[NumberForm], separator: str) -> NumberForm:
    """Decide how the numbers of all columns are written. One way must suit all of them.

    Of several ways that suit and differ, the one is taken that a single writer would have used; then, where
    fields are separated by commas, a decimal point, and by semicolons a comma.

    Raises:
        TwoReadingsError: more than one is left.
    """
    ends = {name: text.dropna() for name, text in columns.items()}
    ends = {name: pd.concat([text.iloc[:LOOKED_AT], text.iloc[-LOOKED_AT:]]) for name, text in ends.items()}
    numeric = [name for name, text in ends.items() if _share(text, allowed) >= 0.5]
    forms = _suited({name: ends[name] for name in numeric}, allowed)
    if len(forms) > 1:
        whole = {name: columns[name].dropna() for name in numeric}
        forms = _distinct(whole, _suited(whole, forms))
    if len(forms) > 1:
        forms = [form for form in forms if all(map(form.plausible, whole.values()))] or forms
    if len(forms) > 1 and separator in ",;":
        usual = [form for form in forms if form.decimal == ("." if separator == "," else ",")]
        # A point in a file of semicolons is German thousands as often as it is a decimal point.
        forms = usual if len(usual) == 1 and (separator == "," or "." not in usual[0].thousands) else forms
    if len(forms) > 1:
        raise _two_readings(whole, forms)
    return forms[0]


def _share(text: Text, forms: list[NumberForm]) -> float:
    found = np.zeros(len(text), bool)
    for form in forms:
        found |= form.matches(text)
    return float(found.mean()) if len(text) else 0.0


def _suited(columns: Mapping[str, Text], forms: list[NumberForm]) -> list[NumberForm]:
    """The ways that read the most values; a value that none reads is no number."""
    read = {form: sum(int(form.matches(text).sum()) for text in columns.values()) for form in forms}
    return [form for form in forms if read[form] == max(read.values())]


def _distinct(columns: Mapping[str, Text], forms: list[NumberForm]) -> list[NumberForm]:
    """The ways that give different numbers, the first of those that give the same."""
    kept: list[NumberForm] = []
    for form in forms:
        if not any(_same(columns, form, other) for other in kept):
            kept.append(form)
    return kept


def _same(columns: Mapping[str, Text], one: NumberForm, two: NumberForm) -> bool:
    return all(np.array_equal(one.read(text), two.read(text), equal_nan=True) for text in columns.values())


def _two_readings(columns: Mapping[str, Text], forms: list[NumberForm]) -> TwoReadingsError:
    for name, text in columns.items():
        differ = forms[0].read(text) != forms[1].read(text)
        if differ.any():
            return TwoReadingsError(name, str(text.iloc[int(np.argmax(differ))]), forms)
    raise AssertionError("two ways that give the same numbers")
