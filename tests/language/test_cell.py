# mypy: allow-untyped-defs, allow-incomplete-defs
"""Definitions of cells: what is read from the function, and the error for every broken rule."""

from __future__ import annotations

import copy
import functools
import math
import pickle
import re
import sys
import textwrap
from typing import Any

import numpy
import pytest

import gatewise
from gatewise import Cell, CellError, Input, Split, Vector, cell, cells, exp, relu, sigmoid, tanh
from gatewise.language import Kind
from gatewise.language.graph import topological


@cell
def every(h, m, *, a: Input, b: Split, d, v: Vector):
    """One parameter of every kind."""
    d = sigmoid(d)
    half = 0.5
    m = d * m + tanh(a + b.x) * half
    aside = m * m  # noqa: F841 -- not needed for the next states, but watched
    h = relu(m * v + b.h)
    return h, m


FILE = "equations.py"


def define(source: str, names: dict[str, Any] | None = None) -> Cell:
    """The cell that `source` defines, as if it were in a file named `FILE`."""
    names = {"math": math, "numpy": numpy, **vars(gatewise)} if names is None else names
    exec(compile(source, FILE, "exec", dont_inherit=True), names)
    defined: Cell = cell(names["f"])
    return defined


def refusal(source: str) -> str:
    with pytest.raises(CellError) as caught:
        define(source)
    return str(caught.value)


def test_states_and_parameters_come_from_the_signature() -> None:
    assert every.name == "every"
    assert every.__doc__ == "One parameter of every kind."
    assert every.states == ("h", "m")
    assert [(p.name, p.kind) for p in every.parameters] == [
        ("a", Kind.INPUT),
        ("b", Kind.SPLIT),
        ("d", Kind.GATE),
        ("v", Kind.VECTOR),
    ]
    assert (every.input_gates, every.state_gates, every.vectors) == (("a", "b", "d"), ("b", "d"), ("v",))


def test_every_assigned_name_can_be_watched_as_can_preactivations() -> None:
    assert list(every.values) == ["a_bar", "b_bar_x", "b_bar_h", "d_bar", "d", "aside", "h", "m"]
    assert every.values["d"].args == (every.values["d_bar"],)
    assert (every.values["h"], every.values["m"]) == every.next_states


def test_a_preactivation_may_be_assigned_its_own_name() -> None:
    same = define(
        "def f(h, *, a, n: Split):\n    a_bar, n_bar_h = a, n.h\n    return tanh(a_bar) + n.x * n_bar_h"
    )
    assert list(same.values) == ["a_bar", "n_bar_x", "n_bar_h", "h"]


def test_a_gate_may_have_a_name_that_ends_like_a_preactivation() -> None:
    barred = define("def f(h, *, a_bar, b: Input):\n    return tanh(a_bar) + b")
    assert list(barred.values) == ["a_bar_bar", "b_bar", "h"]
    assert r"\bar{\mathrm{a\_bar}}_t &= " in barred.latex()


def test_a_state_that_is_passed_on_stays_its_own_leaf() -> None:
    passed = define("def f(h, c, *, a):\n    return tanh(a), h")
    assert passed.next_states[1] is passed.leaf("state", "h")
    assert passed.values["c"] is passed.next_states[1]


def test_shared_terms_are_one_node() -> None:
    twice = define("def f(h, *, a):\n    return tanh(a) * tanh(a) + h * h")
    assert [node.op for node in topological(twice.next_states)] == [
        "gate",
        "tanh",
        "mul",
        "state",
        "mul",
        "add",
    ]


def test_equal_cells_have_equal_signatures_whatever_their_names() -> None:
    source = "def f(h, *, a):\n    {name} = tanh(a)\n    h = {name} + h\n    return h"
    one, other = define(source.format(name="x")), define(source.format(name="y"))
    assert one.signature() == other.signature()
    assert one.signature() != define("def f(h, *, a):\n    return h + tanh(a)").signature()
    assert one.signature() != define("def f(h, *, a: Input):\n    return tanh(a) + h").signature()


def test_a_cell_is_copied_and_pickled_by_its_name() -> None:
    assert copy.deepcopy(cells.lstm) is cells.lstm
    assert pickle.loads(pickle.dumps(every)) is every


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("a ** 3", "a * a * a"),
        ("a ** 5", "(a * a) * (a * a) * a"),
        ("a ** 1", "a"),
        ("a ** 0", "1"),
        ("a ** -2", "1 / (a * a)"),
        ("a ** 0.5", "sqrt(a)"),
        ("a ** 1.5", "exp(1.5 * log(a))"),
        ("a ** h", "exp(h * log(a))"),
        ("numpy.float64(2) * a", "2 * a"),
        ("numpy.sqrt(4.0) - a", "2 - a"),
        ("2 ** a", f"exp(a * {math.log(2)!r})"),
        ("-(-a)", "a"),
        ("+a", "a"),
        ("0 + a - 0", "a"),
        ("1 * a / 1", "a"),
        ("0 - a", "-a"),
        ("a * 1 * 2.0", "a * (1 + 1)"),
        ("where(a > h, a, h)", "where(h < a, a, h)"),
        ("where(a >= h, a, h)", "where(h <= a, a, h)"),
    ],
)
def test_two_notations_of_the_same_cell(written: str, same: str) -> None:
    form = "def f(h, *, a):\n    return a + h + ({})"
    assert define(form.format(written)).signature() == define(form.format(same)).signature()


# The lines of a cell up to the wrong one, and words of the error.
BODIES: dict[str, tuple[str, str]] = {
    "if": ("if a > 0: pass", "branches on a value.*where"),
    "and": ("x = a and h", "branches on a value.*where"),
    "chain": ("x = 0 < a < 1", "branches on a value.*where"),
    "max": ("x = max(a, 0)", "branches on a value.*where"),
    "math": ("x = math.sin(a)", "conversion to a number.*not part of the language.*sigmoid tanh"),
    "numpy": ("x = numpy.sin(a)", "numpy.sin is not part of the language.*sigmoid tanh"),
    "torch": ("import torch; x = torch.sin(a)", "torch.sin is not part of the language.*sigmoid tanh"),
    "method": ("x = a.sum()", "'.sum' is not part of the language"),
    "index": ("x = a[0]", "indexing units is not part of the language"),
    "loop": ("for x in a: pass", "iterating over units is not part of the language"),
    "equality": ("x = where(a == 0, a, h)", "comparing for equality is not part of the language"),
    "augmented": ("h += a", "changes a value in place. Write a new value: c = c \\+ d"),
    "item": ("h[0] = a", "changes a value in place. Write a new value"),
    "text": ("x = a + '1'", "add got a str. Use the parameters of the cell and plain numbers"),
    "array": ("x = a * numpy.ones(3)", "mul got a ndarray. Use the parameters of the cell"),
    "condition-in-a-sum": ("x = 1 + (a > 0)", "arithmetic got a comparison.*where"),
    "condition-in-a-function": ("x = tanh(a > 0)", "tanh got a comparison.*where"),
    "value-as-condition": (
        "x = where(a, h, 0)",
        "the condition of where is not a comparison. Compare two values",
    ),
    "split-in-a-sum": ("x = n + 1", "got the Split gate 'n' as a whole. Use its two parts, n.x .* and n.h"),
    "split-in-a-function": ("x = sigmoid(n)", "got the Split gate 'n' as a whole. Use its two parts"),
    "matrix-product": ("x = a @ h", "the matrix product @ is not part of the language"),
    "remainder": ("x = a % 2", "division with remainder is not part of the language"),
    "bits": ("x = a & h", "an operation on bits is not part of the language"),
    "length": ("x = len(a)", "iterating over units is not part of the language"),
    "integer": ("x = int(a)", "conversion to a number"),
    "part-of-split": ("x = n.y", "'.y' got the Split gate 'n' as a whole. Use its two parts"),
    "index-of-split": ("x = n[0]", "got the Split gate 'n' as a whole. Use its two parts"),
    "assignment-to-a-part": ("n.x = tanh(n.x)", "assigning to n.x changes a value in place. .*: n_x = "),
    "return-split": ("return n, c", "the return got the Split gate 'n' as a whole"),
    "return-text": ("return 'h', c", "the return got a str"),
    "return-one": ("return tanh(a)", "returns 1 value for 2 states. .* in order: return h, c"),
    "return-three": ("return h, c, a", "returns 3 values for 2 states. .* in order: return h, c"),
    "return-nothing": ("return", "returns nothing. End with: return h, c"),
}


@pytest.mark.parametrize(("line", "words"), BODIES.values(), ids=BODIES.keys())
def test_a_broken_rule_is_reported_with_file_line_and_remedy(line: str, words: str) -> None:
    said = refusal(f"def f(h, c, *, a, n: Split):\n    c = c + n.x * n.h\n    {line}\n    return h + a, c")
    assert re.fullmatch(rf"equations\.py:3: cell 'f': .*{words}.*", said), said


SIGNATURES: dict[str, tuple[str, str]] = {
    "no-state": ("def f(*, a): return a", "it has no state. Make the state the first positional parameter"),
    "no-gate": ("def f(h): return h", "no gate sees the input. Declare a gate after the star"),
    "only-vectors": ("def f(h, *, v: Vector): return v * h", "no gate sees the input"),
    "any-number": ("def f(*h, a): return a", "parameter .h takes any number of arguments. Name each"),
    "any-names": ("def f(h, *, a, **b): return a", "parameter ..b takes any number of arguments. Name each"),
    "default": ("def f(h, *, a=1): return a", "parameter 'a' has a default. .* remove it"),
    "annotation": ("def f(h, *, a: int): return a", "annotated <class 'int'>. Use no annotation, or Split"),
    "unused-gate": ("def f(h, *, a, b): return h + a", "gate 'b' is never used in what is returned. Use it"),
    "unused-part": ("def f(h, *, n: Split): return n.x * h", "split 'n.h' is never used in what is returned"),
    "unused-input": ("def f(h, *, a, b: Input): return h + a", "input 'b' is never used"),
    "vector-called-like-a-preactivation": (
        "def f(h, *, a, a_bar: Vector): return a * a_bar",
        "'a_bar' is reserved for the pre-activation of gate 'a'. Rename it",
    ),
    "state-called-like-a-preactivation": (
        "def f(h, n_bar_x, *, n: Split): return n.x * n.h, n_bar_x",
        "'n_bar_x' is reserved for the pre-activation of gate 'n'. Rename it",
    ),
    "value-called-like-a-preactivation": (
        "def f(h, *, a): a_bar = 2 * a; return a_bar",
        "it assigns to 'a_bar', which is reserved for the pre-activation of gate 'a'. Choose another name",
    ),
    "unused-vector": ("def f(h, *, a, v: Vector): return h + a", "vector 'v' is never used"),
}


@pytest.mark.parametrize(("source", "words"), SIGNATURES.values(), ids=SIGNATURES.keys())
def test_the_error_for_a_wrong_signature(source: str, words: str) -> None:
    said = refusal(source)
    assert re.fullmatch(rf"equations\.py:1: cell 'f': .*{words}.*", said), said


def test_symbols_of_two_cells_do_not_mix() -> None:
    stolen: list[Any] = []

    @cell
    def lender(h, *, a):
        stolen.append(a)
        return h + a

    def thief(h, *, b):
        return b + stolen[0]

    with pytest.raises(
        CellError, match=r"test_cell\.py:\d+: cell 'thief': add mixes .* of cell 'lender'\..*own parameters"
    ):
        cell(thief)
    assert lender.name == "lender"


KINDS_AND_PARTS = {
    "Split": (Kind.SPLIT, "n.x * n.h"),
    "Input": (Kind.INPUT, "n"),
    "Vector": (Kind.VECTOR, "n"),
}
ANNOTATIONS: dict[str, str] = {  # annotations of the three kinds, with the code before the function
    "{}": "from gatewise import {}",
    "gatewise.{}": "import gatewise",
    "gatewise.language.parameters.{}": "import gatewise.language.parameters",
    "g.{}": "import gatewise as g",
    "S": "from gatewise import {} as S",
    "T": "from gatewise import {}; T = {}",
    "Annotated[{}, 'a doc']": "from typing import Annotated; from gatewise import {}",
    "typing.Annotated[gatewise.{}, 3, [4]]": "import typing, gatewise",
    "Annotated['{}', 1]": "from typing import Annotated; from gatewise import {}",
    "Annotated[float, {}]": "from typing import Annotated; from gatewise import {}",
    "(  {})": "from gatewise import {}",
}


@pytest.mark.parametrize("kind", KINDS_AND_PARTS)
@pytest.mark.parametrize("written", ["{}", "'{}'", "future"])
@pytest.mark.parametrize(("annotation", "before"), ANNOTATIONS.items(), ids=ANNOTATIONS.keys())
def test_annotations_may_be_text_and_aliases(kind: str, written: str, annotation: str, before: str) -> None:
    future = "from __future__ import annotations\n" if written == "future" else ""
    text = annotation.format(kind)
    if not future:
        text = repr(text) if "'" in written else text
    expected, used = KINDS_AND_PARTS[kind]
    source = f"{future}{before.replace('{}', kind)}\ndef f(h, *, a, n: {text}): return a + h * {used}"
    assert define(source, {}).parameters[1].kind is expected


@pytest.mark.parametrize(
    "annotation", ["Split", "gw.Split", "Annotated[Split, 1]", "t.Annotated[gw.Split, 'x']"]
)
def test_annotations_may_be_imported_for_type_checkers_only(annotation: str) -> None:
    source = f"from __future__ import annotations\ndef f(h, *, n: {annotation}): return n.x * n.h + h"
    assert define(source, {}).parameters[0].kind is Kind.SPLIT


def test_annotations_may_come_from_an_enclosing_function() -> None:
    source = """
    from __future__ import annotations
    def around():
        from gatewise import Split as S
        def f(h, *, n: S):
            S
            return n.x * n.h + h
        return f
    f = around()
    """
    assert define(textwrap.dedent(source), {}).parameters[0].kind is Kind.SPLIT


@pytest.mark.parametrize(
    "annotation",
    ["int", "[Split]", "list[Split]", "'not an expression('", "1 / 0", "nobody", "Annotated[int, 1]"],
)
@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_other_annotations_are_refused(annotation: str, future: str) -> None:
    if not future and annotation in ("1 / 0", "nobody"):
        return  # Python itself refuses these
    before = f"{future}from typing import Annotated\nfrom gatewise import Split\n"
    with pytest.raises(
        CellError, match=r"gate 'n' is annotated .* Use no annotation, or Split, Input or Vector"
    ):
        define(f"{before}def f(h, *, n: {annotation}): return n + h", {})


def test_functions_of_the_language_take_no_numbers_outside_a_cell() -> None:
    with pytest.raises(
        CellError, match=r"exp must be called in the body of a cell.* Got float; for numbers use"
    ):
        exp(1.0)  # type: ignore[arg-type]


def test_only_functions_are_cells() -> None:
    for what in (type, functools.partial(max, 1), "h"):
        with pytest.raises(
            CellError, match=rf"@cell must decorate a function\. Got {type(what).__name__}\. Write a function"
        ):
            cell(what)  # type: ignore[arg-type]


def test_an_error_raised_by_the_body_is_not_changed() -> None:
    with pytest.raises(ZeroDivisionError):
        define("def f(h, *, a):\n    return h + a * (1 / 0)")


def test_a_running_profiler_stays_active_after_a_definition() -> None:
    def profile(*_: object) -> None:
        return None

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        define("def f(h, *, a): return h + a")
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(before)


def test_a_notebook_shows_the_equations() -> None:
    assert cells.rnn._repr_latex_() == f"$$\n{cells.rnn.latex()}\n$$"
