"""The equations of a cell as LaTeX."""

from __future__ import annotations

from collections.abc import Mapping
from math import isinf, isnan
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

_SIGNS = {"add": "+", "sub": "-", "mul": r"\odot", "less": "<", "less_equal": r"\le"}
_COMMANDS = {
    "sigmoid": r"\sigma",
    "tanh": r"\tanh",
    "exp": r"\exp",
    "log": r"\log",
    "maximum": r"\max",
    "minimum": r"\min",
}


def latex(cell: Written) -> str:
    """The equations as a LaTeX ``aligned`` environment; products of vectors are elementwise."""
    write = _Latex()
    lines = [f"{write.name(left)} &= {write(right)}" for left, right in equations(cell)]
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


class _Latex(Writer):
    """Terms as LaTeX."""

    binding: ClassVar[Mapping[str, int]] = {**Writer.binding, "linear": 1, "project": 2}

    def name(self, name: Name) -> str:
        if name.kind == "bar":
            return rf"\bar{{{_symbol(name.name)}}}_t" + (f"^{name.part}" if name.part else "")
        if name.kind == "vector":
            letter, index = letter_and_index(name.name)
            return f"{_symbol(letter)}_{{{_symbol(index)}}}" if index else _symbol(letter)
        return f"{_symbol(name.name)}_" + ("{t-1}" if name.kind == "state" else "t")

    def number(self, value: float) -> str:
        if isinf(value) or isnan(value):
            return r"\text{NaN}" if isnan(value) else r"-\infty" if value < 0 else r"\infty"
        digits, _, exponent = number(value).partition("e")
        factor = "" if digits == "1" else rf"{digits} \cdot "
        return rf"{factor}10^{{{int(exponent)}}}" if exponent else digits

    def affine(self, term: Term) -> str:
        assert term.name is not None
        letter = _symbol(term.name.name)
        terms = [] if term.name.part == "h" else [f"W_{{{letter}}} x_t + b_{{{letter}}}^x"]
        terms += [f"R_{{{letter}}} {self(seen, 4)} + b_{{{letter}}}^h" for seen in term.args]
        return " + ".join(terms)

    def operation(self, term: Term) -> str:
        if term.op == "neg":
            return "-" + self(term.args[0], 3)
        if term.op == "div":
            return rf"\frac{{{self(term.args[0])}}}{{{self(term.args[1])}}}"
        if term.op in _SIGNS:
            return self._infix(term)
        if term.op == "linear":
            which = term.which or "0"
            return rf"M_{{{which}}}\, {self(term.args[0], 3)} + b_{{{which}}}"
        if term.op == "project":
            return rf"W_{{P}}\, {self(term.args[0], 3)}"
        inside = r",\; ".join([*map(self, term.args), *(self._given(*given) for given in term.given)])
        if term.op == "sqrt":
            return rf"\sqrt{{{inside}}}"
        if term.op == "abs":
            return rf"\left|{inside}\right|"
        command = _COMMANDS.get(term.op, rf"\mathrm{{{term.op.replace('_', ' ')}}}")
        return f"{command}({inside})" + (f"_{{{term.which}}}" if term.which else "")

    def _infix(self, term: Term) -> str:
        left, right = self.sides(term)
        numbers = [arg.op == "number" for arg in term.args]
        if term.op == "mul" and numbers[1]:
            left, right = right, left  # numbers first: 2 x
        if right.startswith("-"):
            right = self.bracketed(right)
        sign = r"\," if term.op == "mul" and any(numbers) else _SIGNS[term.op]
        return f"{left} {sign} {right}"

    def _given(self, keyword: str, value: float | str) -> str:
        if isinstance(value, str):
            return rf"\text{{{keyword} {value}}}"
        return rf"\epsilon = {self.number(value)}" if keyword == "eps" else self.number(value)

    def bracketed(self, written: str) -> str:
        return f"({written})"


def _symbol(name: str) -> str:
    if name in GREEK:
        return f"\\{name}"
    escaped = name.replace("_", r"\_")
    return name if len(name) == 1 else rf"\mathrm{{{escaped}}}"
