"""Any names of states, gates, vectors and values can be used: all values can be read."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import gatewise
from gatewise import Cell, cells
from gatewise import nn as ours
from gatewise.insight.watch import LayerValues

T, B, I, H = 3, 2, 3, 4

OWN = [name for name in dir(LayerValues) if not name.startswith("__")]
OF_LAYERS = [
    name
    for layer in (ours.Recurrent(cells.gru, I, H), ours.Step(cells.gru, I, H))
    for name in dir(layer)
    if not name.startswith("__")
]
OF_EDIT = list(inspect.signature(gatewise.edit).parameters)
OTHERS = ["T", "H", "count", "index", "keys", "items", "data", "grad", "shape", "_x", "__x", "self", "x", "h"]
NAMES = sorted({*OWN, *OF_LAYERS, *OF_EDIT, *OTHERS, *vars(tuple)} - {"print", "lambda"})
WEIGHTS = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_linear", "bias_linear", "weight_hr"]


def cell_of(state: str, gate: str, vector: str, value: str) -> Cell:
    source = f"""
def named({state}, *, {gate}, {vector}: Vector):
    {value} = sigmoid({gate})
    {state} = {value} * {state} + {vector} * tanh({gate})
    return {state}
"""
    names = vars(gatewise).copy()
    exec(source, names)
    made: Cell = gatewise.cell(names["named"])
    return made


FOUR_NAMES = st.lists(
    st.sampled_from([n for n in NAMES if n.isidentifier()]), min_size=4, max_size=4, unique=True
)


@settings(max_examples=60, deadline=None)
@given(FOUR_NAMES, st.booleans())
def test_every_value_can_be_read_by_name(names: list[str], single: bool) -> None:
    state, gate, vector, value = names
    if vector in WEIGHTS or f"{gate}_bar" in names:
        return
    cell, plain = cell_of(*names), cell_of("y", "a", "v", "z")
    make: Any = ours.Step if single else ours.Recurrent
    layer, expected = (
        make(cell, I, H).bfloat16(),
        make(plain, I, H).bfloat16(),
    )  # by the interpreter, which compiles nothing
    expected.load_state_dict(dict(zip(expected.state_dict(), layer.state_dict().values(), strict=True)))
    x = torch.randn(B, I).bfloat16() if single else torch.randn(T, B, I).bfloat16()
    for called in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        with gatewise.watch(called) as seen:
            found = called(x)
        assert torch.equal(outputs(found), outputs(expected(x)))
    with gatewise.watch(expected) as wanted:
        expected(x)
    assert seen["l0"].names == (f"{gate}_bar", value, state)
    for name, other in zip(seen["l0"].names, ("a_bar", "z", "y"), strict=True):
        assert torch.equal(seen["l0"][name], wanted["l0"][other])
        if name not in OWN and not name.startswith("__"):
            assert getattr(seen["l0"], name) is seen["l0"][name]
    if not single:
        edited = gatewise.edit(layer, "l0", {value: 0.25}, units=[1])
        assert torch.equal(outputs(edited(x)), outputs(gatewise.edit(expected, "l0", z=0.25, units=[1])(x)))


def outputs(found: Any) -> Tensor:
    output: Tensor = found if isinstance(found, Tensor) else found[0]
    return output


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("make", [ours.Step, ours.Recurrent])
def test_a_vector_cannot_have_the_name_of_a_weight(name: str, make: Any) -> None:
    with pytest.raises(
        ValueError, match=f"cell 'named': Vector '{name}' has the name of a weight. Rename it."
    ):
        make(cell_of("h", "a", name, "z"), I, H)


def test_a_vector_of_a_step_whose_name_is_taken_gets_an_underscore() -> None:
    source = "def named(h, *, a, bias: Vector, bias_: Vector): return tanh(bias * a) + bias_ * h"
    names = vars(gatewise).copy()
    exec(source, names)
    step: Any = ours.Step(gatewise.cell(names["named"]), I, H)
    assert [*step.state_dict()] == ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "bias_", "bias__"]
    x, h = torch.randn(B, I), torch.randn(B, H)
    a = nn.functional.linear(x, step.weight_ih, step.bias_ih) + nn.functional.linear(
        h, step.weight_hh, step.bias_hh
    )
    torch.testing.assert_close(step(x, h), torch.tanh(step.bias_ * a) + step.bias__ * h)
    before = step.bias_.detach().clone()
    step.reset_parameters()
    assert not torch.equal(step.bias_, before)
