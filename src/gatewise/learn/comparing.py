"""Compares a learner's cell with the right one: in one step from random states, and step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gatewise.language import Cell, Kind
from gatewise.language.graph import Node
from gatewise.nn.walk.eager import evaluate, scan
from gatewise.nn.walk.walk import Walk, Weights

ROWS, UNITS, INPUTS, STEPS = 16, 3, 2, 4
CLOSE = 1e-9  # relative; both sides are float64
_MOST_ORDERS = 24  # of gates that are tried

Gates = Mapping[str, str]  # the right cell's parameter, by the learner's


class Parting(NamedTuple):
    """The first step and the first name at which two cells part.

    Attributes:
        step: from 1 on.
        name: the name of the value in the right cell.
        unit: the unit that differs most, from 1 on.
        should, yours: the two numbers.
    """

    step: int
    name: str
    unit: int
    should: float
    yours: float


def orders(mine: Cell, right: Cell, free: bool = False) -> Iterator[Gates]:
    """The ways in which the parameters of `mine` can be those of `right`, the most likely one first.

    Parameters of the same name are the same, unless names are `free`. The others are tried in their order,
    then in all orders. There is none if the cells have different numbers of states, gates or matrices, or if
    `mine` is random.
    """
    if len(mine.states) != len(right.states) or len(mine.linears) != len(right.linears):
        return
    if mine.projects != right.projects or mine.is_random:
        return
    wanted = {p.name: p.kind for p in right.parameters}
    given = {p.name: p.kind for p in mine.parameters}
    own = [name for name in given if free or name not in wanted]
    rest = [name for name in wanted if free or name not in given]
    if len(given) != len(wanted):
        return
    for n, order in enumerate(permutations(rest)):
        if n == _MOST_ORDERS:
            return
        gates = {name: name for name in given if name not in own} | dict(zip(own, order, strict=True))
        if all((given[name] is Kind.VECTOR) == (wanted[of] is Kind.VECTOR) for name, of in gates.items()):
            yield gates


class Probe:
    """Random values of everything that a step of the right cell reads, and what it computes from them."""

    def __init__(self, right: Cell) -> None:
        self.right = right
        random = torch.Generator().manual_seed(0)
        shape = (ROWS, UNITS)

        def drawn(spread: float, *size: int) -> Tensor:
            return spread * torch.randn(*size, generator=random, dtype=torch.float64)

        self._states = [drawn(1.5, *shape) for _ in right.states]
        self._parts = {p.name: (drawn(1.0, *shape), drawn(1.0, *shape)) for p in right.parameters}
        self._linear = drawn(1.0, max(len(right.linears), 1), UNITS, UNITS)
        self._values = self._computed(right, {p.name: p.name for p in right.parameters})

    def same(self, mine: Cell, gates: Gates) -> bool:
        """Whether one step of `mine` gives the states that it should."""
        found = self._computed(mine, gates)
        return all(
            _close(self._values[should], found[state])
            for should, state in zip(self.right.states, mine.states, strict=True)
        )

    def agrees(self, mine: Cell, gates: Gates, names: Mapping[str, str]) -> dict[str, bool]:
        """For each name of a value of `mine`, whether it has the right value; `names` says which it has."""
        found = self._computed(mine, gates)
        return {name: _close(self._values[of], found[name]) for name, of in names.items() if name in found}

    def _computed(self, cell: Cell, gates: Gates) -> dict[str, Tensor]:
        """The named values after one step."""
        leaf = cell.leaf
        leaves = {leaf("state", name): v for name, v in zip(cell.states, self._states, strict=True)}
        for p in cell.parameters:
            x, h = self._parts[gates[p.name]]
            for op, name, part in p.leaves:
                whole = x + h if p.kind is Kind.GATE else x
                leaves[leaf(op, name, part)] = h if part == "h" else whole
        values = evaluate(list(cell.values.values()), leaves, {"linear": self._product})
        return {name: v.expand(ROWS, UNITS) for name, v in zip(cell.values, values, strict=True)}

    def _product(self, node: Node, v: Tensor) -> Tensor:
        return F.linear(v.expand(ROWS, UNITS), self._linear[int(node.name)])


def roles(mine: Cell, right: Cell, gates: Gates) -> dict[str, str]:
    """Which value of the right cell each named value of `mine` should be.

    States go by their place, gates by `gates`, and all other values by their name.
    """
    found = dict(zip(mine.states, right.states, strict=True))
    found |= {name: of for name, of in gates.items() if of in right.values}
    own = (name for name in mine.values if name not in found and name not in mine.states)
    taken, states = set(found.values()), dict(zip(mine.next_states, right.states, strict=True))
    for name in own:
        if name in right.values and name not in taken:
            found[name] = name
        elif (node := mine.values[name]) in states and node.args:
            found[name] = states[node]  # returned as the next value of this state
    return found


def parting(mine: Cell, right: Cell, gates: Gates, only: str = "") -> Parting | None:
    """The first step and name at which two networks with the same weights part.

    With `only`, the first step at which the value of this name does. Both have three units, random weights
    and four steps of random input, and begin from states of zero; if they agree from there, from random
    states.
    """
    weights = _weights(right)
    x = torch.randn(STEPS, 1, INPUTS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    names = roles(mine, right, gates)
    of = {role: name for name, role in names.items() if name in mine.values}
    order = [name for name in _in_order(right) if name in of and only in ("", name)]
    for spread in (0.0, 2.0):
        random = torch.Generator().manual_seed(2)
        states = tuple(
            spread * torch.randn(1, UNITS, generator=random, dtype=torch.float64) for _ in right.states
        )
        theirs = scan(Walk(right, x, weights, states, record=order)).recorded
        own = scan(
            Walk(mine, x, _permuted(weights, right, mine, gates), states, record=[of[n] for n in order])
        )
        for step in range(STEPS):
            for name in order:
                should, yours = theirs[name][step, 0], own.recorded[of[name]][step, 0]
                if not _close(should, yours):
                    unit = int((should - yours).abs().nan_to_num(torch.inf).argmax())
                    return Parting(step + 1, name, unit + 1, should[unit].item(), yours[unit].item())
    return None


def parted_gradients(mine: Cell, right: Cell, gates: Gates) -> list[str]:
    """The names of the weights whose gradients differ, for the sum of squares of the final states."""
    weights = _weights(right)
    x = torch.randn(STEPS, ROWS, INPUTS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for cell in (right, mine):
        leaves = weights.filled(part.clone().requires_grad_() for part in weights.flat)
        own = leaves if cell is right else _permuted(leaves, right, mine, gates)
        squares = [state.square().sum() for state in scan(Walk(cell, x, own)).states]
        found.append(torch.autograd.grad(squares, leaves.flat, materialize_grads=True, allow_unused=True))
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", *right.vectors]
    names += ["weight_linear"] if right.linears else []
    return [name for name, a, b in zip(names, *found, strict=True) if not _close(a, b)]


def _in_order(cell: Cell) -> list[str]:
    """The names of values, in the order in which they are computed."""
    place = {node: n for n, node in enumerate(cell.nodes)}
    return sorted(cell.values, key=lambda name: place[cell.values[name]])


def _weights(cell: Cell) -> Weights:
    """Random weights of a small layer."""
    random = torch.Generator().manual_seed(3)

    def drawn(*size: int) -> Tensor:
        return torch.randn(*size, generator=random, dtype=torch.float64)

    x, h, n = len(cell.input_gates), len(cell.state_gates), len(cell.linears)
    return Weights(
        drawn(x * UNITS, INPUTS), drawn(h * UNITS, UNITS), drawn(x * UNITS), drawn(h * UNITS),
        tuple(drawn(UNITS) for _ in cell.vectors),
        weight_linear=drawn(n * UNITS, UNITS) if n else None,
    )  # fmt: skip


def _permuted(weights: Weights, right: Cell, mine: Cell, gates: Gates) -> Weights:
    """The weights of the right cell in the order of another cell's gates.

    A gate that sees the state only in one of the two cells gets zeros there.
    """

    def rows(part: Tensor | None, own: tuple[str, ...], theirs: tuple[str, ...]) -> Tensor:
        assert part is not None
        blocks = dict(zip(theirs, torch.split(part, UNITS), strict=True)) if theirs else {}
        zeros = part.new_zeros(UNITS, *part.shape[1:])
        chosen = [blocks.get(gates[name], zeros) for name in own]
        return torch.cat(chosen) if chosen else zeros[:0]

    by_input = mine.input_gates, right.input_gates
    by_state = mine.state_gates, right.state_gates
    vectors = dict(zip(right.vectors, weights.vectors, strict=True))
    return weights._replace(
        weight_ih=rows(weights.weight_ih, *by_input),
        weight_hh=rows(weights.weight_hh, *by_state),
        bias_ih=rows(weights.bias_ih, *by_input),
        bias_hh=rows(weights.bias_hh, *by_state),
        vectors=tuple(vectors[gates[name]] for name in mine.vectors),
    )


def _close(a: Tensor, b: Tensor) -> bool:
    return bool(torch.allclose(a, b, rtol=CLOSE, atol=CLOSE))
