# mypy: allow-untyped-defs, allow-incomplete-defs
"""Operations with their own weights, and random ones: parameters, printing, and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gatewise
from gatewise import (
    Cell,
    CellError,
    Input,
    Split,
    cell,
    dropout,
    layer_norm,
    linear,
    project,
    sigmoid,
    tanh,
    zoneout,
)
from gatewise.language import Kind

FILE = "equations.py"


def define(signature: str, *body: str) -> Cell:
    """The cell whose body is these lines, from the second line on, of a file named `FILE`."""
    names: dict[str, Any] = {**vars(gatewise), "np": np}
    source = f"def f({signature}):\n" + "".join(f"    {line}\n" for line in body)
    exec(compile(source, FILE, "exec", dont_inherit=True), names)
    defined: Cell = cell(names["f"])
    return defined


@cell
def rich(h, c, *, a, b: Split, d: Input):
    """All of these operations."""
    a, d = layer_norm(a, d)
    x = linear(tanh(a) + d)
    y = linear(x * c)
    c = zoneout(c, sigmoid(b.x) * c + dropout(y, 0.25), 0.125)
    h = project(tanh(layer_norm(c)) + sigmoid(b.h))
    return h, c


def test_parameters_come_from_the_operations() -> None:
    learned = [(p.name, p.kind) for p in rich.parameters]
    assert learned[:3] == [("a", Kind.GATE), ("b", Kind.SPLIT), ("d", Kind.INPUT)]
    assert learned[3:] == [
        (f"norm_{of}_{n}", kind) for n in range(3) for of, kind in (("gain", Kind.GAIN), ("bias", Kind.BIAS))
    ]
    assert [node.name for node in rich.linears] == ["0", "1"]
    assert rich.projects
    assert rich.is_random


def test_they_are_printed_as_text() -> None:
    assert str(rich).splitlines()[5:] == [
        "  a = norm(a_bar, d_bar)[0] * norm_gain_0 + norm_bias_0",
        "  d = norm(a_bar, d_bar)[1] * norm_gain_1 + norm_bias_1",
        "  x = linear[0](tanh(a) + d)",
        "  y = linear[1](x * c)",
        "  c' = zoneout(c, sigmoid(b_bar_x) * c + dropout(y, 0.25), 0.125)",
        "  h' = project(tanh(norm(c') * norm_gain_2 + norm_bias_2) + sigmoid(b_bar_h))",
    ]


def test_they_are_printed_as_latex() -> None:
    lines = [line.removesuffix(r" \\") for line in rich.latex().splitlines()]
    assert lines[5:8] == [
        r"a_t &= \mathrm{norm}(\bar{a}_t,\; \bar{d}_t)_{0} \odot \gamma_{0} + \beta_{0}",
        r"d_t &= \mathrm{norm}(\bar{a}_t,\; \bar{d}_t)_{1} \odot \gamma_{1} + \beta_{1}",
        lines[7],
    ]
    assert [line.partition("(")[0] for line in lines[7:11]] == [
        r"x_t &= M_{0}\, ",
        r"y_t &= M_{1}\, ",
        r"c_t &= \mathrm{zoneout}",
        r"h_t &= W_{P}\, ",
    ]
    assert r"+ \mathrm{dropout}(y_t,\; 0.25),\; 0.125)" in lines[9]
    assert r"\tanh(\mathrm{norm}(c_t) \odot \gamma_{2} + \beta_{2})" in lines[10]


def test_every_random_operation_is_its_own_draw() -> None:
    """Equal equations are one term, but equal random operations are two draws."""
    twice = define("h, *, a", "x = tanh(a)", "return dropout(x, 0.5) + dropout(x, 0.5) + zoneout(h, x, 0.5)")
    both, kept = twice.next_states[0].args
    assert [node.name for node in (*both.args, kept)] == ["0", "1", "2"]


def test_every_product_and_every_norm_has_its_own_parameters() -> None:
    twice = define("h, *, a", "return linear(a) + linear(a) + layer_norm(h) + layer_norm(h)")
    assert len(twice.linears) == 2
    assert twice.vectors == ("norm_gain_0", "norm_bias_0", "norm_gain_1", "norm_bias_1")


def test_a_vector_normalised_alone_and_with_others() -> None:
    one = define("h, *, a", "(only,) = (layer_norm(a),)", "return only")
    both = define("h, *, a, b", "a, b = layer_norm(a, b, eps=0.5)", "return a * b")
    norms = {node.name: node for node in (side.args[0].args[0] for side in both.next_states[0].args)}
    assert one.values["only"].args[0].args[0].value == 1e-5
    assert {norm.value for norm in norms.values()} == {0.5}
    assert {len(norm.args) for norm in norms.values()} == {2}
    assert [*norms] == ["0", "1"]


RATE = "Use a plain number from 0 to less than 1"
EPS = "the eps of layer_norm is"
# The faulty body, the line of the file in the error, and the words of the error.
WRONG: dict[str, tuple[str, tuple[str, ...], int, str]] = {
    "project-twice": (
        "h, *, a",
        ("x = project(a)", "return project(x)"),
        3,
        "it projects twice. Only the output",
    ),
    "project-not-last": (
        "h, *, a",
        ("return 2 * project(a)",),
        1,
        "projected vector is used in a computation. .* 'h'",
    ),
    "project-dropped": (
        "h, *, a",
        ("return dropout(project(a), 0.5)",),
        1,
        "a projected vector is used in a comput",
    ),
    "project-second": (
        "h, c, *, a",
        ("return c, project(a)",),
        1,
        "a projected vector is used in a computation",
    ),
    "project-both": (
        "h, c, *, a",
        ("p = project(a)", "return p, p"),
        1,
        "a projected vector is used in a computation",
    ),
    "project-output": (
        "h, *, a",
        ("return project(a * h)",),
        1,
        "uses its output 'h', which is projected",
    ),
    "linear-unused": (
        "h, *, a",
        ("x = linear(a)", "return a"),
        1,
        r"a linear\(...\) is never used .* remove it",
    ),
    "linear-split": (
        "h, *, a: Split",
        ("return linear(a)",),
        2,
        r"linear got the Split gate 'a' as a whole.* a\.x",
    ),
    "linear-comparison": ("h, *, a", ("return linear(a > 0)",), 2, "linear got a comparison. Turn it"),
    "norm-unused": (
        "h, *, a, b",
        ("", "a, c = layer_norm(a, b)", "return a"),
        3,
        "'c' is normalised and never used in what is returned. Use it, or remove it from",
    ),
    "norm-unused-and-renamed": (
        "h, *, a, b",
        ("a, c = layer_norm(a, b)", "c = 1", "return a"),
        2,
        r"a result of this layer_norm\(...\) is normalised and never used",
    ),
    "norm-unused-alone": ("h, *, a", ("layer_norm(a)", "return a"), 2, "and never used in what is returned"),
    "norm-name-taken": (
        "h, *, a, norm_gain_0: Vector",
        ("return norm_gain_0 * a",),
        1,
        "vector 'norm_gain_0' has a name that is reserved for layer_norm. Rename it",
    ),
    "norm-name-taken-by-a-later-one": (
        "h, *, a, norm_bias_12: Vector",
        ("return norm_bias_12 * layer_norm(a)",),
        1,
        "vector 'norm_bias_12' has a name that is reserved for layer_norm",
    ),
    "norm-eps": ("h, *, a", ("", "return layer_norm(a, eps=-1)"), 3, f"{EPS} -1. Use a small plain number"),
    "norm-eps-nan": ("h, *, a", ("return layer_norm(a, eps=np.nan)",), 2, f"{EPS} nan"),
    "norm-eps-text": ("h, *, a", ("return layer_norm(a, eps='small')",), 2, f"{EPS} 'small'"),
    "norm-eps-true": ("h, *, a", ("return layer_norm(a, eps=True)",), 2, f"{EPS} True"),
    "norm-eps-vector": ("h, *, a", ("return layer_norm(a, eps=h)",), 2, f"{EPS} of type Symbol"),
    "rate-1": ("h, *, a", ("a = tanh(a)", "return dropout(a, 1)"), 3, f"the rate of dropout is 1. {RATE}"),
    "rate-negative": ("h, *, a", ("return dropout(a, -0.5)",), 2, f"the rate of dropout is -0.5. {RATE}"),
    "rate-true": ("h, *, a", ("return dropout(a, True)",), 2, f"the rate of dropout is True. {RATE}"),
    "rate-nan": ("h, *, a", ("return dropout(a, np.nan)",), 2, f"the rate of dropout is nan. {RATE}"),
    "rate-vector": (
        "h, *, a",
        ("return dropout(a, sigmoid(a))",),
        2,
        f"the rate of dropout is of type Symbol. {RATE}",
    ),
    "rate-text": ("h, *, a", ("return dropout(a, 'half')",), 2, f"the rate of dropout is 'half'. {RATE}"),
    "zoneout-rate": ("h, *, a", ("return zoneout(h, a, 1.5)",), 2, f"the rate of zoneout is 1.5. {RATE}"),
    "zoneout-none": (
        "h, *, a",
        ("return zoneout(h, a, None)",),
        2,
        f"the rate of zoneout is of type NoneType. {RATE}",
    ),
    "zoneout-compared": ("h, *, a", ("return zoneout(h, a > 0, 0.5)",), 2, "zoneout got a comparison"),
    "per": ("h, *, a", ("return dropout(a, 0.5, per='row')",), 2, "drawn per 'row'. Use per=\"step\" or per"),
}


@pytest.mark.parametrize(("signature", "body", "line", "words"), WRONG.values(), ids=WRONG.keys())
def test_an_error_has_its_line_and_a_remedy(signature, body, line, words) -> None:
    with pytest.raises(CellError, match=f"^{FILE}:{line}: cell 'f': .*{words}"):
        define(signature, *body)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("layer_norm()", "^layer_norm must have at least one argument. Got none"),
        ("layer_norm([a, h])", "^layer_norm must be called in the body of a cell.* Got list"),
        ("layer_norm(2.0)", "^layer_norm must be called in the body of a cell.* Got float"),
        ("linear(2.0)", "^linear must be called in the body of a cell.* Got float"),
        ("project(None)", "^project must be called in the body of a cell.* Got NoneType"),
        ("dropout(0.5, 0.5)", "^dropout must be called in the body of a cell.* Got float"),
        ("zoneout(1, 2, 0.5)", "^zoneout must be called in the body of a cell.* Got int, int"),
    ],
)
def test_operations_on_no_vector_are_refused(wrong, words) -> None:
    with pytest.raises(CellError, match=words):
        define("h, *, a", f"return a + {wrong}")


@pytest.mark.parametrize("rate", ["0", "0.999", "np.float32(0.5)"])
def test_numpy_numbers_are_accepted_as_rates(rate) -> None:
    found = define("h, *, a", f"return zoneout(h, dropout(a, {rate}), {rate})")
    assert found.is_random


def test_a_projection_that_is_not_returned_is_refused() -> None:
    with pytest.raises(CellError, match=r"a project\(...\) is never used in what is returned. Use it"):

        @cell
        def wrong(h, *, a):
            u = project(a)  # noqa: F841
            return tanh(a)
