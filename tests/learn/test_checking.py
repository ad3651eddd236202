"""`gatewise learn --check`: right cells pass in any form, and one wrong line is named."""

from __future__ import annotations

import ast
import doctest
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from textwrap import indent
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gatewise import cells
from gatewise.apps.commands import app
from gatewise.learn import checking, own
from gatewise.learn.checking import Finding, check
from gatewise.learn.exercises import exercises, starter
from gatewise.tasks.synthetic.network import first_biases
from tests.selection import with_rest

RNN = """
def rnn(h, *, a):
    h = tanh(a)
    return h
"""
LSTM = """
def lstm(h, c, *, i, f, g, o):
    i = sigmoid(i)
    f = sigmoid(f)
    g = tanh(g)
    o = sigmoid(o)
    c = f * c + i * g
    h = o * tanh(c)
    return h, c
"""
GRU = """
def gru(h, *, r, z, n: Split):
    r = sigmoid(r)
    z = sigmoid(z)
    n = tanh(n.x + r * n.h)
    h = (1 - z) * n + z * h
    return h
"""
TEXTS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


def one(text: str, train: bool = False) -> Finding:
    (finding,) = check(text, train=train).findings
    return finding


# Whether a text is right, from NumPy alone: the function is run there.


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


KNOWN = {
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "Split": None,
    "Input": None,
}


def states_after(text: str) -> list[Any]:
    """The states that a text computes from certain states and gates."""
    space: dict[str, Any] = dict(KNOWN)
    exec(text, space)
    (function,) = (value for name, value in space.items() if name in TEXTS)
    random = np.random.default_rng(5)
    drawn = {name: random.normal(size=(2, 50)) * 1.5 for name in "hcaifgorzn"}
    code = function.__code__
    states, gates = (
        code.co_varnames[: code.co_argcount],
        code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount],
    )
    fed = {name: SimpleNamespace(x=drawn[name][0], h=drawn[name][1]) if f"{name}: Split" in text
           else drawn[name].sum(0) for name in gates}  # fmt: skip
    after = function(*(drawn[name][0] for name in states), **fed)
    return [*after] if isinstance(after, tuple) else [after]


def is_right(name: str, text: str) -> bool:
    """Whether a text computes the cell, in one of the forms that count."""
    forms = [TEXTS[name]]
    if name == "gru":
        forms.append(GRU.replace("(1 - z) * n + z * h", "(1 - z) * h + z * n"))
    try:
        mine = states_after(text)
        return any(
            len(mine) == len(form) and all(np.allclose(a, b) for a, b in zip(mine, form, strict=True))
            for form in map(states_after, forms)
        )
    except (TypeError, AttributeError):  # a gate that is Split, used as a whole
        return False


# Wrong texts: one expression of one line is changed.


def mutants(text: str) -> Iterator[tuple[int, str]]:
    """Texts with one change, and the line that it changes."""
    tree = ast.parse(text)
    (function,) = tree.body
    assert isinstance(function, ast.FunctionDef)
    names = [a.arg for a in (*function.args.args, *function.args.kwonlyargs)]
    for place, statement in enumerate(function.body):
        if isinstance(statement, ast.Assign):
            for value in _changed(statement.value, names):
                new = deepcopy(tree)
                new.body[0].body[place].value = value  # type: ignore[attr-defined]
                yield statement.lineno, f"\n{ast.unparse(new)}"


def _changed(node: ast.expr, names: list[str]) -> Iterator[ast.expr]:
    match node:
        case ast.Name(id=name):
            yield from (ast.Name(other) for other in names if other != name)
        case ast.Call(func=ast.Name(id=name), args=[inner]):
            yield inner
            yield from (ast.Call(ast.Name(n), [inner], []) for n in ("sigmoid", "tanh", "relu") if n != name)
            yield from (ast.Call(node.func, [new], []) for new in _changed(inner, names))
        case ast.BinOp(left=left, op=op, right=right):
            yield left
            yield right
            yield from (
                ast.BinOp(left, o(), right) for o in (ast.Add, ast.Sub, ast.Mult) if o is not type(op)
            )
            yield from (ast.BinOp(new, op, right) for new in _changed(left, names))
            yield from (ast.BinOp(left, op, new) for new in _changed(right, names))
        case ast.Attribute(value=value, attr=part):
            yield ast.Attribute(value, "h" if part == "x" else "x")


ALL = [(name, line, text) for name in TEXTS for line, text in mutants(TEXTS[name])]


@pytest.mark.parametrize(
    ("name", "line", "text"), with_rest(ALL, lambda name, line, text: sum(map(ord, text)) % 12 == 0)
)
def test_a_changed_line_is_named(name: str, line: int, text: str) -> None:
    finding = one(text)
    assert finding.right == is_right(name, text), finding.written(text)
    if not finding.right:
        assert {fault.line for fault in finding.faults} == {line}, finding.written(text)


@pytest.mark.parametrize("name", TEXTS)
def test_a_suggestion_makes_the_cell_right(name: str) -> None:
    tried = 0
    for _, text in [*mutants(TEXTS[name])][::16]:
        for fault in one(text).faults:
            if fault.suggestion:
                lines = text.split("\n")
                lines[fault.line - 1] = indent(fault.suggestion, "    ")
                assert one("\n".join(lines)).right
                tried += 1
    assert tried


# Other texts of the same cell.

SAME = {
    "lstm": [
        "i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)\nc = f * c + i * g\nreturn o * tanh(c), c",
        "new = c * sigmoid(f) + tanh(g) * sigmoid(i)\nreturn tanh(new) * sigmoid(o), new",
        "kept = sigmoid(f) * c\nwritten = (1 - sigmoid(-i)) * (2 * sigmoid(2 * g) - 1)\nc = written + kept\n"
        "h = (exp(c) - exp(-c)) / (exp(c) + exp(-c)) / (1 + exp(-o))\nreturn h, c",
    ],
    "gru": [
        "r, z = sigmoid(r), sigmoid(z)\nn = tanh(r * n.h + n.x)\nreturn n + z * (h - n)",
        "z = 1 - sigmoid(z)\nreturn z * h + (1 - z) * tanh(n.x + n.h / (1 + exp(-r)))",
    ],
    "rnn": ["return tanh(a)", "b = -a\nreturn -tanh(b)", "h = 1 - 2 / (exp(2 * a) + 1)\nreturn h"],
}


@pytest.mark.parametrize(("name", "body"), [(name, body) for name, bodies in SAME.items() for body in bodies])
def test_another_text_of_the_same_cell_is_right(name: str, body: str) -> None:
    finding = one(f"{exercises()[name].first}\n{indent(body, '    ')}\n")
    assert finding.right, finding
    assert finding.said[0] == "Right: every value and every gradient."


LETTERS = st.permutations("pqrstuvw")


@given(LETTERS, st.permutations(range(4)), st.booleans())
@settings(max_examples=25, deadline=None)
def test_names_and_order_of_gates_are_free(letters: list[str], order: list[int], short: bool) -> None:
    gates, (h, c) = letters[:4], letters[4:6]
    i, f, g, o = (gates[n] for n in order)
    new = f"sigmoid({f}) * {c} + sigmoid({i}) * tanh({g})"
    text = f"def lstm({h}, {c}, *, {', '.join(gates)}):\n"
    if short:
        text += f"    m = {new}\n    return sigmoid({o}) * tanh(m), m\n"
    else:
        text += f"    {c} = {new}\n    {h} = sigmoid({o}) * tanh({c})\n    return {h}, {c}\n"
    finding = one(text)
    assert finding.right
    assert f"{f} is f" in finding.said[1]


@pytest.mark.parametrize(
    ("new", "form"),
    [
        (
            "def gru(h, *, r, z, n: Split):",
            "In this form z says how much of the old h stays, and r acts after",
        ),
        ("h = (1 - z) * h + z * n", "In this form z says how much of h is new, and r acts after"),
    ],
)
def test_both_conventions_of_the_gru_are_right(new: str, form: str) -> None:
    text = GRU if new.startswith("def") else GRU.replace("h = (1 - z) * n + z * h", new)
    assert one(text).said[1].startswith(form)
    before = text.replace("n: Split", "n: Input").replace("n.x + r * n.h", "n + linear(r * h)")
    assert one(before).said[1].startswith(form.replace("after", "before"))


# What is said of a wrong line.


def said(text: str) -> str:
    return str(check(text, train=False))


def test_the_first_step_and_name_where_they_part() -> None:
    text = LSTM.replace("f * c + i * g", "f * h + i * g")
    assert said(text) == (
        "lstm (line 2): line 7 is wrong.\n"
        "   7 |     c = f * h + i * g\n"
        "  c should be -0.366 at step 2; yours is -0.3055. All agree up to step 1.\n"
        "  It seems that h stands where c belongs.\n"
        "  Try: c = f * c + i * g"
    )


@pytest.mark.parametrize(
    ("name", "old", "new", "line", "sentence"),
    [
        ("rnn", "tanh(a)", "sigmoid(a)", 3, "It seems that sigmoid stands where tanh belongs."),
        ("lstm", "f * c + i * g", "i * c + f * g", 7, "It seems that i and f are exchanged."),
        ("lstm", "f * c + i * g", "c + i * g", 7, "It seems that the factor f before c is missing."),
        ("lstm", "f * c + i * g", "f * c", 7, "It seems that + i * g after f * c is missing."),
        ("lstm", "o * tanh(c)", "o * c", 8, "It seems that tanh around c is missing."),
        ("lstm", "return h, c", "return c, h", 9, "It seems that c and h are exchanged."),
        ("lstm", "    o = sigmoid(o)\n", "", 7, "It seems that sigmoid around o is missing."),
        ("gru", "    z = sigmoid(z)\n", "", 5, "It seems that z is used without sigmoid."),
        ("lstm", "    h = o * tanh(c)\n    return h, c", "    return tanh(c), c", 8,
         "It seems that the factor o before tanh(c) is missing."),
        ("lstm", "    c = f * c + i * g\n    h = o * tanh(c)",
         "    h = o * tanh(c)\n    c = f * c + i * g", 7,
         "It seems that lines 7 and 8 are in the wrong order."),
        ("gru", "n: Split", "n", 2, "It seems that n must be declared n: Split."),
        ("gru", "r * n.h", "n.h", 5, "It seems that the factor r before n.h is missing."),
        ("gru", "(1 - z) * n", "z * n", 6, "It seems that z stands where 1 - z belongs."),
    ],
)  # fmt: skip
def test_what_a_learner_may_have_meant(name: str, old: str, new: str, line: int, sentence: str) -> None:
    finding = one(TEXTS[name].replace(old, new))
    (fault,) = finding.faults
    assert (fault.line, fault.said[-1]) == (line, sentence)
    assert fault.suggestion


def test_the_output_comes_first() -> None:
    (fault,) = one(LSTM.replace("(h, c,", "(c, h,").replace("return h, c", "return c, h")).faults
    assert (fault.line, fault.suggestion) == (2, "def lstm(h, c, *, i, f, g, o):")
    assert fault.said[0].startswith("The output comes first: h is what the cell says")


def test_several_wrong_lines_are_found() -> None:
    text = LSTM.replace("f = sigmoid", "f = tanh").replace("o * tanh(c)", "c * o * 2")
    finding = one(text)
    assert [(fault.line, fault.suggestion) for fault in finding.faults] == [(4, "f = sigmoid(f)"), (8, "")]
    assert finding.faults[0].said[0].startswith("f should be ")
    assert finding.faults[1].said[0].startswith("h should be ")


def test_other_parts_than_those_of_the_exercise() -> None:
    coupled = "def lstm(h, c, *, i, g, o):\n    i = sigmoid(i)\n    c = (1 - i) * c + i * tanh(g)\n"
    finding = one(coupled + "    return sigmoid(o) * tanh(c), c\n")
    assert finding.said[0].startswith("What you wrote is gatewise.cells.lstm_coupled: LSTM that forgets")
    assert finding.faults[0].said == ("It needs 4 gates, i, f, g, o. Yours has i, g, o.",)
    assert one("def rnn(h, c, *, a):\n    return tanh(a + h * c), c\n").faults[0].said == (
        "It needs 1 state, h. Yours has h, c.",
    )
    random = "def rnn(h, *, a):\n    return dropout(tanh(a), 0.5)\n"
    assert one(random).faults[0].said == ("This cell draws random numbers; the exercise does not.",)


def test_gradients_are_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "parted_gradients", lambda *cells: ["weight_hh"])
    (fault,) = one(RNN).faults
    assert fault.said == ("All values are right, but the gradients of weight_hh are not.",)


def test_an_error_of_the_language_is_shown_at_its_line() -> None:
    (fault,) = one("\n\ndef mine(h, *, a):\n    h = a + nothing\n    return h\n").faults
    assert fault.line == 4
    assert fault.said[0].startswith("There is no 'nothing' here.")
    (fault,) = one(LSTM.replace("tanh(c)", "tnh(c)")).faults
    assert fault.line == 8


# Files.


def test_a_file_with_everything_that_is_allowed() -> None:
    decorated = "# mine\nfrom gatewise import cell, tanh\nimport gatewise as gw\n\n\n@gw.cell" + RNN
    report = check(f'"""Notes."""\n{decorated}\n@cell{LSTM}# end\n', train=False)
    assert report.right
    assert [(finding.name, finding.line) for finding in report.findings] == [("rnn", 8), ("lstm", 13)]


def test_nothing_of_a_file_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    report = check(
        f"import os\nopen({str(mark)!r}, 'w')\n{RNN}\n@print(3)\ndef other(h, *, a):\n    return a\n"
    )
    assert not mark.exists()
    assert [finding.line for finding in report.findings if finding.name == ""] == [1, 2]
    assert not report.right


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("", "There is no cell yet."),
        ("# only a comment", "There is no cell yet."),
        ("def rnn(h, *, a:\n", "line 1 is wrong."),
        ("def rnn(h, *, a):\n    return tanh(a\n", "line 2 is wrong."),
        ("x = 3\0", "line 1 is wrong."),
        ("x = " + "(" * 5000, "line 1 is wrong."),
        ("x = " + "-" * 90_000 + "1", "line 1 is wrong."),
        ("#" * 100_001, "line 1 is wrong."),
        ("x = 1\r" + RNN.replace("\n", "\r"), "line 1 is wrong."),
    ],
)
def test_a_file_that_is_no_file_of_cells(text: str, start: str) -> None:
    report = check(text, train=False)
    assert not report.right
    assert str(report).startswith(start)


def test_a_file_has_a_limited_number_of_cells() -> None:
    report = check(RNN * 21, train=False)
    assert not report.right
    assert len(report.findings) == 21


@given(st.text(max_size=200), st.sampled_from(list(TEXTS)), st.integers(0, 150))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_is_answered(junk: str, name: str, at: int) -> None:
    for text in (junk, TEXTS[name][:at] + junk + TEXTS[name][at:]):
        report = check(text, train=False)
        assert str(report)


# Cells of one's own.


def test_a_cell_that_can_be_trained() -> None:
    finding = one("def mine(h, *, f, g):\n    return sigmoid(f) * h + (1 - sigmoid(f)) * tanh(g)\n")
    assert finding.right
    assert finding.said[0] == "A cell of your own, with 1 state and 2 gates."
    assert "is gatewise.cells.ugrnn" in finding.said[1]
    assert finding.said[-1].startswith("It can be trained: over 50 steps all values are finite")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("return h + relu(a) * h", "a gets no gradient, so it learns nothing."),
        ("return 3 * h + exp(3 * h) + a", "h is not a finite number from step"),
        ("return tanh(a) + where(b > 0, h, 0)", "b gets no gradient, so it learns nothing."),
    ],
)
def test_a_cell_that_cannot_be_trained(body: str, sentence: str) -> None:
    finding = one(f"def mine(h, *, a, b):\n    {body if 'b >' in body else body + ' + 0 * b'}\n")
    assert not finding.right
    assert any(one_.startswith(sentence) for fault in finding.faults for one_ in fault.said), finding


def test_whether_a_cell_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_biases(cells.gru) == {"z": 5.0}
    assert first_biases(cells.rnn) == {}
    monkeypatch.setattr(own, "remembered", lambda cell: own.Remembered(True, 0.995, 9_072, {"f": 5.0}))
    mine = "def mine(h, *, f, g):\n    return sigmoid(f) * h + tanh(g)\n"
    assert one(mine, train=True).said[-1] == (
        "It remembers: after 9,072 sequences of the adding problem over 50 steps, first biases f +5, "
        "99.5% of new ones are right."
    )


def test_a_cell_is_trained() -> None:
    found = own.remembered(cells.ugrnn, most=32)
    assert (found.learned, found.sequences, found.biases) == (False, 32, {"g": 5.0})


# The command.

RUN = CliRunner()


def test_the_command_says_all_right(tmp_path: Path) -> None:
    file = tmp_path / "cells.py"
    file.write_text(RNN)
    done = RUN.invoke(app, ["learn", "--check", str(file)])
    assert (done.exit_code, done.stdout) == (0, "rnn (line 2): Right: every value and every gradient.\n")
    file.write_text(RNN.replace("tanh", "sigmoid"))
    done = RUN.invoke(app, ["learn", "--check", str(file)])
    assert done.exit_code == 1
    assert "line 3 is wrong" in done.stdout


def test_the_command_with_a_wrong_file(tmp_path: Path) -> None:
    done = RUN.invoke(app, ["learn", "--check", str(tmp_path / "none.py")])
    assert (done.exit_code, "No such file" in done.stderr) == (2, True)
    (tmp_path / "b.py").write_bytes(b"\xff\xfe\x00")
    done = RUN.invoke(app, ["learn", "--check", str(tmp_path / "b.py")])
    assert (done.exit_code, "not a text in UTF-8" in done.stderr) == (2, True)


def test_the_starter_leads_to_right_cells(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    assert RUN.invoke(app, ["learn", "--start", str(file)]).exit_code == 0
    text = file.read_text()
    assert "gatewise learn --check mine.py" in text
    assert str(check(text)).startswith("There is no cell yet")
    done = RUN.invoke(app, ["learn", "--start", str(file)])
    assert (done.exit_code, "exists already" in done.stderr, file.read_text() == text) == (2, True, True)
    done = RUN.invoke(app, ["learn", "--start", str(tmp_path / "none" / "a.py")])
    assert (done.exit_code, "there is no folder" in done.stderr) == (2, True)
    for name, whole in TEXTS.items():
        first, body = whole.strip().split("\n", 1)
        assert f"# {first}\n#     ..." in text
        text = text.replace(f"# @cell\n# {first}\n#     ...", f"@cell\n{first}\n{body}")
        assert name in text
    report = check(text, train=False)
    assert report.right
    assert [finding.name for finding in report.findings] == [*TEXTS]
    assert starter().count("@cell") == 4


def test_the_example_of_the_docstring() -> None:
    assert doctest.testmod(checking).failed == 0
