from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from gatewise import Cell, Input, Vector, cell, cells, exp, sigmoid, sqrt, tanh, where
from gatewise.language.writing.mathml import mathml

EVERY = [vars(cells)[name] for name in cells.__all__]


def lines(of: Cell) -> list[str]:
    """The text of each line, without invisible characters."""
    table = ElementTree.fromstring(mathml(of))[0]
    return ["".join(row.itertext()).replace("\u2061", "") for row in table]


@pytest.mark.parametrize("of", EVERY, ids=lambda of: of.name)
def test_every_value_has_a_line_and_everything_is_mathml(of: Cell) -> None:
    named = {
        part.get("data-name") for row in ElementTree.fromstring(mathml(of)).iter("mtr") for part in row[0]
    }
    calculated = {name for name, node in of.values.items() if node.args}
    assert calculated <= named
    gates = sum(2 if f"{p.name}_bar_x" in of.values else 1 for p in of.parameters if p.sees_input)
    assert len(lines(of)) >= gates + len({of.values[name] for name in calculated})


def test_the_lstm() -> None:
    assert lines(cells.lstm)[-6:] == [
        "it=\u03c3(i¯t)",
        "ft=\u03c3(f¯t)",
        "gt=tanh(g¯t)",
        "ot=\u03c3(o¯t)",
        "ct=ft⊙ct\u22121+it⊙gt",
        "ht=ot⊙tanh(ct)",
    ]
    assert lines(cells.lstm)[0] == "i¯t=Wixt+bix+Riht\u22121+bih"


def test_brackets_only_where_they_are_needed_and_every_operation() -> None:
    @cell
    def odd(h, *, lambda_: Input, a, v: Vector):  # type: ignore[no-untyped-def]
        """Many different operations."""
        rate = sigmoid(a - (lambda_ - v))
        h = where(h < 0, -(h + 2), sqrt(exp(h) * 0.5)) / (1 + rate) - abs(tanh(h) * rate)
        return h

    *_, rate, h = lines(odd)
    assert rate == "ratet=\u03c3(a¯t\u2212(lambda_¯t\u2212v))"
    before = "ht\u22121"
    chosen = f"where({before}<0,\u2212({before}+2),exp({before})⋅0.5)"
    assert h == f"ht={chosen}1+ratet\u2212|tanh({before})⊙ratet|"
    assert "<mfrac>" in mathml(odd)
    assert "<msqrt>" in mathml(odd)


def test_names_are_text_and_greek_letters_are_letters() -> None:
    @cell
    def greek(h, *, alpha):  # type: ignore[no-untyped-def]
        """One gate."""
        return sigmoid(alpha)

    assert "\u03b1" in mathml(greek)
    hostile = replace(greek, states=("<script>",))
    assert "<script" not in mathml(hostile)
