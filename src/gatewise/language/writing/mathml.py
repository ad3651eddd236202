"""The equations of a cell as MathML, which every browser typesets by itself.

MathML Core: https://www.w3.org/TR/mathml-core/.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from html import escape
from math import isfinite, isnan
from typing import ClassVar

from gatewise.language.writing.equations import (
    GREEK,
    Name,
    Term,
    Writer,
    Written,
    equations,
    letter_and_index,
    number,
)

_MINUS = "<mo>&#x2212;</mo>"
_SIGNS = {"add": "+", "sub": "&#x2212;", "mul": "⊙", "less": "&lt;", "less_equal": "≤"}
_FUNCTIONS = {"sigmoid": "&#x3c3;", "maximum": "max", "minimum": "min"}


def mathml(cell: Written) -> str:
    """The equations as a ``<math>`` element, one named value a line; products of vectors are elementwise.

    Each written name has the attribute ``data-name``.

    Example:
        >>> from gatewise import cells
        >>> from gatewise.language.writing.mathml import mathml
        >>> mathml(cells.rnn).count("<mtr>")
        2
    """
    write = _MathML()
    lines = "".join(
        f"<mtr><mtd>{write.name(left)}</mtd><mtd><mo>=</mo></mtd><mtd>{_row(write(right))}</mtd></mtr>"
        for left, right in equations(cell)
    )
    return f'<math display="block"><mtable>{lines}</mtable></math>'


class _MathML(Writer):
    """Terms as MathML."""

    binding: ClassVar[Mapping[str, int]] = {**Writer.binding, "div": 4, "linear": 1, "project": 2}

    def name(self, name: Name) -> str:
        if name.kind == "bar":
            return _bar(name)
        if name.kind == "vector":
            letter, index = letter_and_index(name.name)
            return _sub(_symbol(letter), _symbol(index)) if index else _symbol(letter)
        if name.kind == "state":
            return _sub(_symbol(name.name), _row(f"<mi>t</mi>{_MINUS}<mn>1</mn>"))
        label = "" if name.kind == "term" else f' data-name="{escape(name.name)}"'
        return _sub(_symbol(name.name), "<mi>t</mi>", label)

    def number(self, value: float) -> str:
        if not isfinite(value):
            return "<mi>NaN</mi>" if isnan(value) else f"{_MINUS * (value < 0)}<mi>&#x221e;</mi>"
        digits, _, exponent = number(value).partition("e")
        written = _signed(digits)
        if exponent:
            ten = f"<msup><mn>10</mn>{_row(_signed(str(int(exponent))))}</msup>"
            written = ten if digits == "1" else f"{written}<mo>⋅</mo>{ten}"
        return written

    def affine(self, term: Term) -> str:
        assert term.name is not None
        letter = _symbol(term.name.name)

        def part(matrix: str, of: str, bias: str) -> str:
            product = _sub(f"<mi>{matrix}</mi>", letter) + of
            return f"{product}<mo>+</mo><msubsup><mi>b</mi>{letter}<mi>{bias}</mi></msubsup>"

        terms = [] if term.name.part == "h" else [part("W", _sub("<mi>x</mi>", "<mi>t</mi>"), "x")]
        terms += [part("R", self(seen, 4), "h") for seen in term.args]
        return "<mo>+</mo>".join(terms)

    def operation(self, term: Term) -> str:
        if term.op == "neg":
            return f"{_MINUS}{self(term.args[0], 3)}"
        if term.op == "div":
            return f"<mfrac>{_row(self(term.args[0]))}{_row(self(term.args[1]))}</mfrac>"
        if term.op in _SIGNS:
            return self._infix(term)
        if term.op == "sqrt":
            return f"<msqrt>{self(term.args[0])}</msqrt>"
        if term.op == "abs":
            return f'<mo fence="true">|</mo>{self(term.args[0])}<mo fence="true">|</mo>'
        if term.op == "linear":
            which = f"<mn>{escape(term.which or '0')}</mn>"
            product = _sub("<mi>M</mi>", which) + self(term.args[0], 3)
            return f"{product}<mo>+</mo>{_sub('<mi>b</mi>', which)}"
        if term.op == "project":
            return _sub("<mi>W</mi>", "<mi>P</mi>") + self(term.args[0], 3)
        inside = [*map(self, term.args), *(self._given(*given) for given in term.given)]
        function = f"<mi>{_FUNCTIONS.get(term.op, term.op)}</mi>"
        call = f"{function}<mo>&#x2061;</mo>{self.bracketed('<mo>,</mo>'.join(inside))}"
        return _sub(_row(call), f"<mn>{escape(term.which)}</mn>") if term.which else call

    def _infix(self, term: Term) -> str:
        left, right = self.sides(term)
        if right.startswith(_MINUS):
            right = self.bracketed(right)
        numeric = term.op == "mul" and any(arg.op == "number" for arg in term.args)
        return f"{left}<mo>{'⋅' if numeric else _SIGNS[term.op]}</mo>{right}"

    def _given(self, keyword: str, value: float | str) -> str:
        if isinstance(value, str):
            return f"<mtext>{keyword} {value}</mtext>"
        return (f"{_symbol('epsilon')}<mo>=</mo>" if keyword == "eps" else "") + self.number(value)

    def bracketed(self, written: str) -> str:
        return f"<mrow><mo>(</mo>{written}<mo>)</mo></mrow>"


def _row(inner: str) -> str:
    return f"<mrow>{inner}</mrow>"


def _sub(base: str, below: str, label: str = "") -> str:
    return f"<msub{label}>{base}{below}</msub>"


def _signed(digits: str) -> str:
    return f"{_MINUS * digits.startswith('-')}<mn>{digits.lstrip('-')}</mn>"


def _symbol(name: str) -> str:
    """A name, as a Greek letter if it is the name of one."""
    if name in GREEK:
        letter = "LAMDA" if name == "lambda" else name.upper()  # as Unicode spells it
        return f"<mi>{unicodedata.lookup(f'GREEK SMALL LETTER {letter}')}</mi>"
    return f"<mi>{escape(name)}</mi>"


def _bar(name: Name) -> str:
    over = f"<mover>{_symbol(name.name)}<mo>¯</mo></mover>"
    if name.part:
        return f"<msubsup>{over}<mi>t</mi><mi>{escape(name.part)}</mi></msubsup>"
    return _sub(over, "<mi>t</mi>")
