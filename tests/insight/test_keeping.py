# mypy: allow-untyped-defs, allow-incomplete-defs
"""Which states a gate keeps: found in the equations, not by the name of the cell."""

from __future__ import annotations

import pytest
import torch

from gatewise import Cell, cell, cells, dropout, layer_norm, linear, sigmoid, tanh, where, zoneout
from gatewise.insight.keeping import kept_states
from gatewise.language.graph import Node, topological
from gatewise.nn.walk import eager
from tests.insight.networks import leaky, name


@cell
def interpolating(h, *, z, n):
    z = sigmoid(z)
    h = h + z * (n - h)
    return h


@cell
def divided(h, *, z, n):
    h = -(tanh(n) - h / (1 + sigmoid(z))) * 0.5
    return h


@cell
def chosen(h, *, z, n):
    h = where(z > 0, h * 0.5, n)
    return h


@cell
def zoned(h, *, z, n):
    z = sigmoid(z)
    h = zoneout(h, z * h + dropout(n, 0.5), 0.25)
    return h


@cell
def squared(h, *, z, n):
    h = h * h * z + n
    return h


@cell
def bent(h, *, z, n):
    h = tanh(h) * z + n
    return h


@cell
def mixed_over_units(h, *, z, n):
    h = linear(h) * z + n
    return h


@cell
def normalised(h, *, z, n):
    h = layer_norm(h) * z + n
    return h


@cell
def decided_by_itself(h, *, z, n):
    h = where(h > 0, z, n) + h
    return h


@cell
def divides(h, *, z, n):
    h = n / h + z
    return h


AFFINE = [cells.lstm, cells.gru, leaky, interpolating, divided, chosen]
NOT = [cells.rnn, squared, bent, mixed_over_units, normalised, decided_by_itself, divides]


@pytest.mark.parametrize("cell", AFFINE, ids=name)
def test_keep_times_state_plus_write_is_the_next_state(cell: Cell) -> None:
    torch.manual_seed(0)
    (kept,) = kept_states(cell).values()
    state = cell.leaf("state", kept.state)
    leaves = {leaf: torch.randn(7, dtype=torch.float64) for leaf in leaves_of(cell)}
    after = cell.next_states[cell.states.index(kept.state)]
    keep, write, expected = eager.evaluate([kept.keep, kept.write, after], leaves)
    torch.testing.assert_close(keep * leaves[state] + write, expected, rtol=1e-13, atol=1e-13)
    for leaf in (kept.keep, kept.write):
        other = eager.evaluate([leaf], leaves | {state: leaves[state] + 1})[0]
        assert torch.equal(other, eager.evaluate([leaf], leaves)[0])


def leaves_of(cell: Cell) -> set[Node]:
    return {node for node in topological(cell.next_states) if not node.args and node.op != "constant"}


@pytest.mark.parametrize("cell", NOT, ids=name)
def test_states_that_are_not_kept_by_a_gate(cell: Cell) -> None:
    assert not kept_states(cell)


def test_the_gate_has_its_name_where_it_has_one() -> None:
    gates = {c.name: kept.gate for c in (*AFFINE, zoned) for kept in kept_states(c).values()}
    assert (gates["lstm"], gates["gru"], gates["leaky"]) == ("f", "z", "what keeps m")


def test_random_masks_are_the_same_for_keeping_and_writing() -> None:
    (kept,) = kept_states(zoned).values()
    assert (kept.keep.op, kept.write.op) == ("zoneout", "zoneout")
    assert (kept.keep.name, kept.keep.value) == (kept.write.name, kept.write.value)
