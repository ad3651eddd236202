# mypy: allow-untyped-defs, allow-incomplete-defs
"""All formats are complete: every change of an equation changes the text, the LaTeX and the MathML."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from gatewise import (
    Cell,
    Input,
    Split,
    Vector,
    cell,
    cells,
    dropout,
    layer_norm,
    linear,
    project,
    tanh,
    where,
    zoneout,
)
from gatewise.language.form import ARITY
from gatewise.language.graph import Node
from gatewise.language.rewrites import projected, with_recurrent_dropout, with_zoneout, without_random
from gatewise.language.writing.equations import Equation, Name, Term, Writer, equations
from gatewise.language.writing.latex import _Latex
from gatewise.language.writing.mathml import _MathML, mathml
from gatewise.language.writing.text import _Text
from gatewise.nn.walk.eager import evaluate
from tests.language.generated import random_cells

WRITERS: list[Writer] = [_Text(), _Latex(), _MathML()]


@cell
def told(h, m, *, a: Split, b, u: Input, v_f: Vector, long_name: Vector):
    """Every argument of every operation, signs, and numbers that need more than plain digits."""
    n, k = layer_norm(a.x, a.h, eps=1e-3)
    d = dropout(n, 0.123456789, per="sequence") + dropout(layer_norm(k), 0.5)
    p = b * -2 + v_f * (d * 1e-7) - 2.5e9 * (-long_name) - linear(m)
    m = zoneout(m, p * (linear(d) - linear(u)), 0.1)
    h = project(where(p <= d, abs(m) / (1 + tanh(p)), m - math.inf))
    return h, m


@cell
def shared(h, *, a, t1: Vector):
    """Terms with lines of their own, one of whose names is taken."""
    for _ in range(30):
        h = h + 0.25 * (tanh(a) - h * h) * t1
    return h


def changed(of: Cell) -> Iterator[Cell]:
    """The cell as it is, and with every option of a layer."""
    yield of
    yield without_random(of)
    yield with_recurrent_dropout(of, 0.125)
    if not of.projects:
        yield with_zoneout(of, (0.25,) * len(of.states))
        yield projected(of)


EVERY = [c for of in (*(vars(cells)[name] for name in cells.__all__), told, shared) for c in changed(of)]
each = pytest.mark.parametrize("of", EVERY, ids=lambda of: of.name)


def variants(term: Term) -> Iterator[Term]:
    """The term with one part changed, for each part in turn."""
    if term.op == "number":
        yield term._replace(value=math.nextafter(term.value, 2.0))
        yield term._replace(value=-term.value - 1)
    if term.name is not None:
        yield from (term._replace(name=name) for name in other_names(term.name))
    if term.op == "affine" and term.args:
        yield term._replace(args=())
    for op in ("neg", "add", "mul", "tanh", "less", "maximum", "linear", "where"):
        if term.op in ARITY and op != term.op and ARITY[op] == len(term.args):
            yield term._replace(op=op)
    if term.which:
        yield term._replace(which="9")
    for n, (keyword, value) in enumerate(term.given):
        other = "step" if isinstance(value, str) else math.nextafter(value, 1)
        yield term._replace(given=(*term.given[:n], (keyword, other), *term.given[n + 1 :]))
        yield term._replace(given=(*term.given[:n], *term.given[n + 1 :]))
    for n, arg in enumerate(term.args):
        for other_arg in variants(arg):
            yield term._replace(args=(*term.args[:n], other_arg, *term.args[n + 1 :]))


def other_names(name: Name) -> Iterator[Name]:
    yield name._replace(name=name.name + "q")
    if name.part:
        yield name._replace(part="h" if name.part == "x" else "x")
    if name.kind in ("state", "next"):
        yield name._replace(kind="next" if name.kind == "state" else "state")


def assert_all_is_said(of: Cell) -> None:
    lines = equations(of)
    assert len(str(of).splitlines()) == len(lines) + 1
    assert len(of.latex().splitlines()) == len(lines) + 2
    assert mathml(of).count("<mtr>") == len(lines)
    for line in lines:
        others = [Equation(name, line.right) for name in other_names(line.left)]
        others += [Equation(line.left, term) for term in variants(line.right)]
        for write in WRITERS:
            written = write.name(line.left), write(line.right)
            for other in others:
                assert (write.name(other.left), write(other.right)) != written, other


@each
def test_every_format_shows_everything_of_a_cell(of: Cell) -> None:
    assert_all_is_said(of)


@settings(deadline=None, max_examples=50)
@given(random_cells(more=("linear", "norm", "dropout", "zoneout")))
def test_every_format_shows_everything_of_a_random_cell(of: Cell) -> None:
    assert_all_is_said(of)
    assert [_Text().name(left) for left, _ in equations(of)] == [
        line.split(" = ")[0].strip() for line in str(of).splitlines()[1:]
    ]


# Stand-ins for operations with weights and for random ones, the same for the text and for the graph.
def norms(*args: Tensor, eps: float = 1e-5) -> list[Tensor]:
    return [(arg - sum(args) / 2) * (1 + eps) + n for n, arg in enumerate(args)]


def norm(*args: Tensor, eps: float = 1e-5) -> Any:
    return norms(*args, eps=eps) if len(args) > 1 else norms(*args, eps=eps)[0]


def alike(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function of tensors that also accepts numbers."""
    return lambda *args: function(*(torch.as_tensor(arg, dtype=torch.float64) for arg in args))


def linear_of(number: int) -> Callable[[Tensor], Tensor]:
    return lambda v: v * (2 + number) - 0.5


IN_TEXT: dict[str, Any] = {
    name: getattr(torch, name) for name in ("sigmoid", "tanh", "relu", "exp", "log", "sqrt", "abs")
}
IN_TEXT |= {
    "softplus": lambda v: torch.log1p(torch.exp(v)),
    "minimum": alike(torch.minimum),
    "maximum": alike(torch.maximum),
    "where": torch.where,
    "norm": norm,
    "project": lambda v: v * 3,
    "dropout": lambda v, rate, per="step": v * (1 - rate) + (per == "sequence"),
    "zoneout": lambda old, new, rate: rate * old + (1 - rate) * new,
    "inf": math.inf,
}
IN_GRAPH: dict[str, Callable[..., Tensor]] = {
    "norm": lambda node, *args: norms(*args, eps=node.value)[int(node.name)],
    "linear": lambda node, v: linear_of(int(node.name))(v),
    "project": lambda node, v: v * 3,
    "dropout": lambda node, v: IN_TEXT["dropout"](v, node.value, node.part),
    "zoneout": lambda node, old, new: IN_TEXT["zoneout"](old, new, node.value),
}


def of_text(of: Cell, leaves: dict[Node, Tensor]) -> dict[str, Tensor]:
    """Run every line of the text except the pre-activations as Python."""
    bars = {bar: leaves[of.values[bar]] for p in of.parameters for bar in p.bars}
    names = {node.name: value for node, value in leaves.items() if node.op != "gate"}
    linears = [linear_of(n) for n in range(len(of.linears))]
    scope = {**IN_TEXT, **names, **bars, "linear": linears if len(linears) > 1 else linear_of(0)}
    for line in str(of).splitlines()[1:]:
        left, right = re.sub(r"(\w)'", r"\1_after", line).strip().split(" = ", 1)
        if left not in bars:
            scope[left] = eval(right, scope)
    return {state: torch.as_tensor(scope[f"{state}_after"]) for state in of.states}


@each
def test_the_text_computes_what_the_cell_computes(of: Cell) -> None:
    generator = torch.Generator().manual_seed(3)
    leaves = {
        leaf: torch.rand(7, generator=generator, dtype=torch.float64) + 0.1
        for leaf in of.nodes
        if not leaf.args and leaf.op != "constant"
    }
    found = of_text(of, leaves)
    for state, expected in zip(of.states, evaluate(of.next_states, leaves, IN_GRAPH), strict=True):
        torch.testing.assert_close(found[state], expected, rtol=1e-9, atol=1e-9, equal_nan=True)
