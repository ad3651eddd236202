"""The first promise of the package: the compiled cell computes its equations, for any cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from torch import Tensor

import gatewise
from gatewise import CellError
from tests.random_cells.comparing import (
    Setting,
    differences,
    drawn_settings,
    interpreted,
    layer_of,
    slope_differs,
)
from tests.random_cells.drawing import Drawn, drawn_cells
from tests.random_cells.quickly import compiling_quickly

SLOW = list(HealthCheck)
Test = Callable[..., Any]
CELLS = 300  # in total; `python -m tests.random_cells` tests many more


def drawn(examples: int, number: int) -> Callable[[Test], Test]:
    """The same random examples in every run."""
    some = settings(max_examples=examples, deadline=None, database=None, suppress_health_check=SLOW)
    return lambda test: seed(number)(some(test))


@pytest.mark.parametrize("number", range(8))
def test_a_random_cell_computes_what_its_text_says(number: int) -> None:
    """Values, states and every gradient: padded, packed, reset, in segments, reversed, on two threads."""

    @drawn(CELLS // 10, number)
    @given(drawn_cells(), drawn_settings())
    def holds(cell: Drawn, setting: Setting) -> None:
        assert not differences(cell, setting)

    with compiling_quickly():
        holds()


@pytest.mark.parametrize("number", range(100, 105))
def test_a_random_cell_compiled_as_for_users_computes_what_its_text_says(number: int) -> None:
    @drawn(CELLS // 25, number)
    @given(drawn_cells(), drawn_settings())
    def holds(cell: Drawn, setting: Setting) -> None:
        assert not differences(cell, setting)

    holds()


def test_the_gradient_of_a_smooth_cell_is_that_of_finite_differences() -> None:
    @drawn(30, 200)
    @given(drawn_cells(smooth=True), st.integers(0, 1000))
    def holds(cell: Drawn, number: int) -> None:
        assert slope_differs(cell, Setting(T=3, B=2, given=True, seed=number)) is None

    with compiling_quickly():
        holds()


def case(signature: str, *body: str, returns: str) -> Drawn:
    """A cell from its text."""
    returned = tuple(part.strip() for part in returns.split("; "))
    names = tuple(dict.fromkeys(name.strip() for line in body for name in line.split(" = ")[0].split(",")))
    return Drawn(signature, body, returned, names)


# Cells of users that were once computed wrongly, or refused without a good message.
CASES = {
    "a gate is added to what a norm gives": case("h, *, p0, p1", returns="layer_norm(p0) + p1"),
    "only the second state reads a gate": case("h, c, *, q, r", returns="tanh(c - linear(r)); r + q"),
    "a product in the place of a gate is a term of a sum": case(
        "h, *, f, g", "z = 0.2 * f", returns="z * h + (1 - z) * tanh(g)"
    ),
    "only a condition reads a vector": case("h, *, p, v: Vector", returns="where(p < v, tanh(p), h)"),
    "a comparison is needed after a norm": case(
        "h, *, p, q", "v = layer_norm(tanh(p))", returns="where(tanh(p) < q, v, sigmoid(q))"
    ),
    "a comparison is needed after a product": case(
        "h, *, p, q", "v = linear(sigmoid(p))", returns="where(sigmoid(p) <= tanh(q), v, h)"
    ),
    "a matrix multiplies a constant": case("h, *, p", "v = linear(h ** 0)", returns="tanh(p) * v"),
    "a matrix multiplies a vector": case("h, *, p, v: Vector", "w = linear(v)", returns="tanh(p) * w"),
    "a vector is dropped out": case("h, *, p, v: Vector", "w = dropout(v, 0.25)", returns="tanh(p) * w"),
    "a state is a constant": case("h, c, *, p", returns="tanh(p) * c; 1.0"),
    "what is random is only watched": case("h, *, p", "v = zoneout(h, p, 0.3)", returns="tanh(p)"),
    "only a condition reads what is projected": case(
        "h, c, *, p: Input, q", returns="project(where(0.5 > p, 0.5, 0.1)); tanh(q) * c"
    ),
    "two numbers are compared": case("h, *, p", "v = h ** 0", "w = where(v <= v, p, h)", returns="tanh(w)"),
    "a product is taken from itself": case("h, *, p", "v = p * h", returns="tanh(p) + (v - v)"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
def test_cells_that_were_wrong_once(name: str, double: bool) -> None:
    for training in (False, True):
        setting = Setting(
            T=4, reset=True, given=True, watched=True, bidirectional=True, training=training, double=double
        )
        assert not differences(CASES[name], setting)


EXTREMES = ("maximum({}, 0.5)", "maximum(0.5, {})", "minimum({}, 0.5)", "minimum(0.5, {})")


@pytest.mark.parametrize("form", ["relu({})", "abs({})", *EXTREMES])
def test_nan_passes_through_a_gradient_as_in_torch(form: str) -> None:
    for function in ("sqrt(p)", "log(p)"):  # at 0, the derivative of one of them times 0 is NaN
        cell = case("h, *, p, q", f"v = {function}", f"w = {form.format('v')}", returns="w * q")
        for eager in (False, True):
            assert not differences(cell, Setting(T=1, B=5, H=8, watched=True, eager=eager))


@pytest.mark.parametrize(
    "returns",
    [
        "p2; v * (0.5 * p0 + tanh(p1.x)); p0",
        "p2; v * p0; v * p0",
        "where(c < d, p2, p0); v + v * p0; v",
        "p2 + p0; v; 0.2 * c",  # the last step reads c, for d, which nothing reads
        "p2 + p0; 0.5 * d; v",
    ],
)
def test_a_state_that_nothing_reads_has_gradients_at_the_last_steps_only(returns: str) -> None:
    """A NaN in an earlier step that no result depends on is in no gradient."""
    cell = case("h, c, d, *, p0, p1: Split, p2", "v = sqrt(p1.h + 0.1 * p1.x)", returns=returns)
    settings = [Setting(T=4, B=5, H=4), Setting(T=4, B=5, H=4, lengths=True, reset=True, checkpoint=2)]
    for setting in settings:
        assert not differences(cell, setting)
        assert not differences(cell, replace(setting, eager=True))


@pytest.mark.parametrize(
    ("signature", "returns", "unused"),
    [
        ("h, *, p, q", "tanh(p)", "gate 'q'"),
        ("h, *, p, q: Split", "tanh(p) + q.x", "split 'q.h'"),
        ("h, *, p, v: Vector", "tanh(p)", "vector 'v'"),
    ],
)
def test_an_unused_parameter_is_refused(signature: str, returns: str, unused: str) -> None:
    with pytest.raises(CellError, match=f"{unused} is never used in what is returned"):
        case(signature, returns=returns).cell()


def test_the_comparison_finds_a_wrong_layer() -> None:
    class Wrong(Drawn):
        def cell(self):  # type: ignore[no-untyped-def]
            return case("h, *, p", returns="tanh(p) + 1e-9 * h").cell()

    right = case("h, *, p", returns="tanh(p)")
    found = differences(Wrong(right.signature, right.body, right.returned, ()), Setting(T=3))
    assert {sentence.split(":")[0] for sentence in found} >= {"output", "final 0"}


def test_every_value_of_a_random_cell_can_be_edited() -> None:
    """Also values that nothing reads. The kernels compute what the interpreter computes."""

    @drawn(40, 300)
    @given(drawn_cells(smooth=True), st.integers(0, 1000))
    def holds(cell: Drawn, number: int) -> None:
        torch.manual_seed(number)
        layer, x = layer_of(cell, Setting(T=3, B=2, I=3, H=4, seed=number)), torch.randn(3, 2, 3).double()
        names = [name for name, node in layer.cell.values.items() if node.op != "project"]
        name = names[number % len(names)]
        edited = gatewise.edit(layer, "l0", {name: 0.25}, steps=[1], units=[0, 2])
        found = _results(edited, x, name)
        with interpreted():
            expected = _results(edited, x, name)
        torch.testing.assert_close(found, expected, equal_nan=True, rtol=1e-6, atol=1e-9)
        assert (found[0][1, :, [0, 2]] == 0.25).all()

    with compiling_quickly():
        holds()


def _results(layer: Any, x: Tensor, name: str) -> list[Tensor]:
    """A value, the output, and the gradients of the output by the parameters; zeros where there are none."""
    with gatewise.watch(layer) as seen:
        output = layer(x)[0]
    parameters = list(layer.parameters())
    total = output.sum() + 0 * sum(parameter.sum() for parameter in parameters)
    return [seen["l0"][name], output, *torch.autograd.grad(total, parameters)]
