# mypy: allow-untyped-defs, allow-incomplete-defs
"""Cells derived from other cells: options, edits, evaluation mode."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gatewise import Cell, Split, Vector, cell, cells, dropout, layer_norm, sigmoid, tanh, zoneout
from gatewise.compiler.plan.plan import plan
from gatewise.language.form import from_form, to_form
from gatewise.language.graph import RANDOM, Graph, Node, topological
from gatewise.language.rewrites import (
    edited,
    of_value,
    projected,
    with_recurrent_dropout,
    with_zoneout,
    without_random,
    written_out,
)
from gatewise.nn.walk.eager import evaluate

B, H = 3, 5


@cell
def plain(h, c, *, a, b: Split, v: Vector):
    c = sigmoid(a) * c + v * tanh(b.x + b.h)
    half = tanh(c) / 2
    h = half + 0.25 * h
    return h, c


@cell
def dicey(h, c, *, a, b: Split, v: Vector):
    """`plain` with random operations in it."""
    c = zoneout(c, sigmoid(a) * c + v * dropout(tanh(b.x + b.h), 0.5), 0.125)
    half = dropout(tanh(c), 0.375, per="sequence") / 2
    h = half + 0.25 * h
    return h, c


@cell
def normal(h, c, *, a, b):
    a, b = layer_norm(a, b, eps=0.01)
    c = tanh(a) + sigmoid(b) * c
    return layer_norm(tanh(c)), c


def leaves_of(of: Cell) -> dict[Node, Tensor]:
    generator = torch.Generator().manual_seed(1)
    leaves = [
        node for node in topological([*of.next_states, of.seen]) if not node.args and node.op != "constant"
    ]
    return {leaf: torch.randn(B, H, generator=generator, dtype=torch.float64) for leaf in leaves}


def ops(of: Cell) -> list[str]:
    return [node.op for node in topological([*of.next_states, *of.values.values(), of.seen])]


def test_in_evaluation_mode_dropout_is_the_identity_and_zoneout_the_mean() -> None:
    certain = without_random(dicey)
    assert not RANDOM & {*ops(certain)}
    assert not certain.is_random
    leaves = leaves_of(certain)
    named = {f"{node.op} {node.name} {node.part}": value for node, value in leaves.items()}
    new_c = torch.sigmoid(named["gate a "]) * named["state c "] + named["vector v "] * torch.tanh(
        named["gate b x"] + named["gate b h"]
    )
    c = 0.125 * named["state c "] + 0.875 * new_c
    h = torch.tanh(c) / 2 + 0.25 * named["state h "]
    found = evaluate([*certain.next_states, certain.values["half"]], leaves)
    for value, expected in zip(found, (h, c, torch.tanh(c) / 2), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-14, atol=1e-14)


def test_a_cell_without_random_operations_is_returned_unchanged() -> None:
    for of in (plain, cells.lstm, normal):
        assert without_random(of) is of


def test_adding_dropout_changes_nothing_else_in_the_equations() -> None:
    @cell
    def dropped(h, *, a):
        return dropout(tanh(dropout(a, 0.5)), 0.25) + h

    @cell
    def whole(h, *, a):
        return tanh(a) + h

    assert without_random(dropped).signature() == whole.signature()
    assert without_random(with_recurrent_dropout(dropped, 0.5)).signature() == whole.signature()


def test_zoneout_of_chosen_states() -> None:
    for rates, zoned in (((0.0, 0.25), [1]), ((0.5, 0.0), [0]), ((0.5, 0.25), [0, 1])):
        found = with_zoneout(plain, rates)
        for n, (node, before) in enumerate(zip(found.next_states, plain.next_states, strict=True)):
            if n in zoned:
                assert (node.op, node.value, node.part) == ("zoneout", rates[n], "step")
                assert node.args == (plain.leaf("state", plain.states[n]), before)
            else:
                assert node is before
            assert found.values[found.states[n]] is node
        draws = [node.name for node in found.next_states if node.op == "zoneout"]
        assert len({*draws}) == len(zoned)


def test_recurrent_dropout_applies_to_the_state_that_gates_see() -> None:
    found = with_recurrent_dropout(plain, 0.25)
    assert (found.seen.op, found.seen.value, found.seen.part) == ("dropout", 0.25, "sequence")
    assert found.seen.args == (plain.seen,)
    assert found.next_states == plain.next_states
    assert found.is_random
    assert not plain.is_random


def test_no_draw_number_is_used_twice() -> None:
    found = with_recurrent_dropout(with_zoneout(dicey, (0.25, 0.25)), 0.5)
    nodes = topological([*found.next_states, found.seen])
    draws = [node.name for node in nodes if node.op in RANDOM]
    assert sorted(draws) == [*"012345"]


def test_a_projected_output() -> None:
    found = projected(cells.lstm)
    assert found.projects
    assert not cells.lstm.projects
    assert found.next_states[0].args == (cells.lstm.next_states[0],)
    assert found.next_states[1] is cells.lstm.next_states[1]
    assert str(found).splitlines()[-1] == "  h' = project(o * tanh(c'))"


def test_layer_norms_written_out_give_the_same_numbers() -> None:
    found = written_out(normal)
    assert "norm" in ops(normal)
    assert "norm" not in ops(found)
    leaves = leaves_of(normal)
    numbers = evaluate(found.next_states, leaves, {"stop_gradient": lambda node, value: value})
    for value, expected in zip(numbers, evaluate(normal.next_states, leaves), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    "change",
    [
        without_random,
        written_out,
        lambda of: with_zoneout(of, (0.25, 0.0)),
        lambda of: with_recurrent_dropout(of, 0.25),
    ],
)
@pytest.mark.parametrize("of", [dicey, normal])
def test_a_rewrite_changes_nothing_else_of_a_cell(of: Cell, change) -> None:
    before, text = of.signature(), str(of)
    found = change(of)
    assert change(of) is found  # the same object, so it is compiled once
    assert (of.signature(), str(of)) == (before, text)
    assert (found.name, found.states, found.parameters) == (of.name, of.states, of.parameters)
    assert [*found.values] == [*of.values]
    assert copy.deepcopy(found) is found


@cell
def summed(h, *, a, b):
    """A product that is a term of two sums, on the left of one and on the right of the other."""
    product = sigmoid(a) * tanh(b)
    h = (product + h) * (h - product)
    return h


@pytest.mark.parametrize("value", ["a_bar", "product", "h"])
def test_an_edited_value_is_replaced_for_all_readers_where_the_mask_is_set(value: str) -> None:
    new = of_value(summed, value, lambda old: 2 * old - 1)
    other = edited(summed, value, new, "mask")
    leaves = leaves_of(other)
    mask = other.leaf("gate", "mask", "x")
    a, b = (other.leaf("gate", name) for name in "ab")
    h = other.leaf("state", "h")
    found = {}
    for on in (0.0, 1.0):
        leaves[mask] = torch.full((B, H), on, dtype=torch.float64)
        (found[on],) = evaluate(other.next_states, leaves)

    def by_hand(change: Callable[[Tensor], Tensor]) -> Tensor:
        def e(name: str, v: Tensor) -> Tensor:
            return change(v) if name == value else v

        product = e("product", e("a_bar", leaves[a]).sigmoid() * leaves[b].tanh())
        return e("h", (product + leaves[h]) * (leaves[h] - product))

    torch.testing.assert_close(found[0.0], by_hand(lambda v: v))
    torch.testing.assert_close(found[1.0], by_hand(lambda v: 2 * v - 1))


def test_an_edited_cell_is_a_cell_like_any_other() -> None:
    new = of_value(summed, "a_bar", lambda a: -a)
    other = edited(
        edited(summed, "a_bar", new, "mask"),
        "product",
        Graph().leaf("gate", "given", "x"),
        "on",
        "given",
    )
    assert other.input_gates == ("a", "b", "mask", "on", "given")
    assert other.state_gates == ("a", "b")
    assert other.values["a_bar"] is summed.values["a_bar"]
    assert other.values["mask_a_bar"].op == "where"
    assert from_form(to_form(other)).signature() == other.signature()
    assert edited(summed, "a_bar", new, "mask") is edited(summed, "a_bar", new, "mask")


def test_equal_edits_are_the_same_cell_and_unused_ones_are_freed() -> None:
    def to(value: float) -> Cell:
        return edited(summed, "product", Graph().constant(value), "mask")

    assert to(0.5) is to(0.5)
    assert to(0.0) is not to(-0.0)
    first = weakref.ref(to(0.25))
    for n in range(300):
        to(n)
    gc.collect()
    assert first() is None


@pytest.mark.parametrize("of", [cells.lstm, cells.lstm_layer_norm, cells.gru, dicey], ids=lambda of: of.name)
def test_rewrites_of_a_cell_add_nothing_to_its_graph(of: Cell) -> None:
    before, nodes = len(of.graph()), of.nodes
    for n in range(100):
        for name in of.values:
            edited(of, name, of_value(of, name, lambda old: old * (n + 2)), "mask")
        with_recurrent_dropout(with_zoneout(of, (n / 100,) * len(of.states)), n / 100)
    plan(projected(without_random(of)))
    plan(of)
    assert of.graph() is not of.graph()
    assert (len(of.graph()), of.nodes) == (before, nodes)


def test_a_sum_is_still_fused_with_an_edited_product() -> None:
    other = edited(summed, "product", Graph().constant(0), "mask")
    nodes = list(topological(other.next_states))
    sums = [node for node in nodes if node.op in ("add", "sub") and summed.values["product"] in node.args]
    assert [node.op for node in sums] == ["add", "sub"]
    assert other.values["product"] not in {arg for node in nodes for arg in node.args}
