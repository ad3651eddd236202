"""What a step of a cell is made of, before any instruction: slots, phases, and what backward keeps.

A *slot* is one ``[H]`` row of pre-activations. Slots fed by the input alone come first, then those fed by
input and state, then those fed by the state alone; so the input product fills a prefix of a row of slots
and the recurrent product a suffix, each in one run. A plain gate is one slot; a `Split` gate is two.

A step is a list of phases: here one matrix phase (the state times the recurrent weights) and one elementwise
phase (the cell's arithmetic). Backward has the same shape: the derivatives of the slots times the recurrent
weights, then the gradient's arithmetic.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import final

from gatewise.language import Cell, Kind
from gatewise.language.gradient import gradient
from gatewise.language.graph import COMPARISONS, Node, topological


@final
@dataclass(frozen=True)
class Slot:
    """One row of pre-activations: its leaf, and its block of rows in each weight matrix (None: not there)."""

    leaf: Node
    row_ih: int | None
    row_hh: int | None

    def follows(self, other: Slot) -> bool:
        """Whether its rows come right after those of another slot, wherever either has any."""
        pairs = ((self.row_ih, other.row_ih), (self.row_hh, other.row_hh))
        return all(a == b if a is None or b is None else a == b + 1 for a, b in pairs)


@final
@dataclass(frozen=True)
class MatrixPhase:
    """`vector` (a state, or with `transposed` the slots' derivatives) times the weights of some slots."""

    vector: str
    transposed: bool = False


@final
@dataclass(frozen=True)
class ElementwisePhase:
    """Arithmetic on vectors of units: for each leaf, its next value or the derivative by it."""

    outputs: tuple[tuple[Node, Node], ...]


@final
@dataclass(frozen=True)
class Plan:
    """A cell, ready to be emitted.

    Attributes:
        cell: the equations.
        slots: the rows of pre-activations, in the order of memory.
        kept: for each slot, the node whose value backward finds in its place; None where it needs none.
        adjoints: the derivative of the loss by each leaf, as a graph over `seeds` and forward's nodes.
        seeds: for each state, the leaf for the derivative by its next value.
        forward: the phases of a step.
        backward: the phases of a step of the gradient.
    """

    cell: Cell
    slots: tuple[Slot, ...]
    kept: tuple[Node | None, ...]
    adjoints: dict[Node, Node]
    seeds: tuple[Node, ...]

    @functools.cached_property
    def input_slots(self) -> tuple[Slot, ...]:
        """The slots that the input product fills: a prefix."""
        return tuple(s for s in self.slots if s.row_ih is not None)

    @functools.cached_property
    def state_slots(self) -> tuple[Slot, ...]:
        """The slots that the recurrent product adds to: a suffix."""
        return tuple(s for s in self.slots if s.row_hh is not None)

    @functools.cached_property
    def runs(self) -> list[tuple[int, list[Slot]]]:
        """Slots on end whose rows lie on end in both weight matrices; each with its first place."""
        runs: list[tuple[int, list[Slot]]] = []
        for place, slot in enumerate(self.slots):
            if runs and slot.follows(runs[-1][1][-1]):
                runs[-1][1].append(slot)
            else:
                runs.append((place, [slot]))
        return runs

    @functools.cached_property
    def rows_ih(self) -> list[int]:
        """For each input slot, its block of rows in the input weights."""
        return [s.row_ih for s in self.slots if s.row_ih is not None]

    @functools.cached_property
    def rows_hh(self) -> list[int]:
        """For each state slot, its block of rows in the recurrent weights."""
        return [s.row_hh for s in self.slots if s.row_hh is not None]

    @functools.cached_property
    def joins(self) -> bool:
        """Whether input and state feed the same slots, so that one product can do for both."""
        return self.rows_ih == self.rows_hh and len(self.rows_ih) == len(self.slots)

    @functools.cached_property
    def keeps(self) -> bool:
        """Whether backward reads anything besides the states."""
        return any(node is not None for node in self.kept)

    @property
    def forward(self) -> tuple[MatrixPhase, ElementwisePhase]:
        """The phases of a step."""
        leaves = (self.cell.graph.leaf("state", name) for name in self.cell.states)
        outputs = tuple(zip(leaves, self.cell.next_states, strict=True))
        return MatrixPhase(self.cell.states[0]), ElementwisePhase(outputs)

    @property
    def backward(self) -> tuple[MatrixPhase, ElementwisePhase]:
        """The phases of a step of the gradient."""
        outputs = tuple(self.adjoints.items())
        return MatrixPhase(self.cell.states[0], transposed=True), ElementwisePhase(outputs)


@functools.lru_cache(maxsize=128)
def plan(cell: Cell) -> Plan:
    """The plan of a cell; the last ones are remembered."""
    slots = _slots(cell)
    seeds = tuple(cell.graph.leaf("seed", state) for state in cell.states)
    adjoints = gradient(cell.graph, _by_node(cell, seeds))
    return Plan(cell, slots, _kept(cell, slots, adjoints), adjoints, seeds)


def _by_node(cell: Cell, seeds: tuple[Node, ...]) -> dict[Node, Node]:
    """The seed of each output node: the sum of the seeds where two states return the same node."""
    result: dict[Node, Node] = {}
    for node, seed in zip(cell.next_states, seeds, strict=True):
        result[node] = cell.graph.node("add", result[node], seed) if node in result else seed
    return result


def _slots(cell: Cell) -> tuple[Slot, ...]:
    rows_ih = {name: row for row, name in enumerate(cell.input_gates)}
    rows_hh = {name: row for row, name in enumerate(cell.state_gates)}
    leaf = cell.graph.leaf
    slots = []
    for p in cell.parameters:
        if p.kind is Kind.SPLIT:
            slots.append(Slot(leaf("gate", p.name, "x"), rows_ih[p.name], None))
            slots.append(Slot(leaf("gate", p.name, "h"), None, rows_hh[p.name]))
        elif p.kind is Kind.INPUT:
            slots.append(Slot(leaf("gate", p.name, "x"), rows_ih[p.name], None))
        elif p.kind is Kind.GATE:
            slots.append(Slot(leaf("gate", p.name), rows_ih[p.name], rows_hh[p.name]))
    return tuple(sorted(slots, key=lambda s: (s.row_hh is not None, s.row_ih is None)))


def _kept(cell: Cell, slots: tuple[Slot, ...], adjoints: dict[Node, Node]) -> tuple[Node | None, ...]:
    """What to keep in the place of each slot.

    From a pre-activation we walk along its only user, and that one's only user, until a node is met that the
    gradient reads: ``sigmoid(i)`` for a gate, ``tanh(n.x + r * n.h)`` for the candidate of a GRU. All that
    depends on the pre-activation depends on that node, so it stands for it. If it is the next value of a
    state, that is kept anyway. A comparison is no number to keep; the walk stops before it. What the gradient
    reads and nobody keeps is computed again from what is kept.
    """
    forward = list(topological(cell.next_states))
    users: dict[Node, list[Node]] = {node: [] for node in forward}
    for node in forward:
        for arg in set(node.args):
            users[arg].append(node)
    own = set(forward)
    read = {arg for node in topological(adjoints.values()) if node not in own for arg in node.args}

    def stand_in(node: Node) -> Node | None:
        while node not in read and node not in cell.next_states and len(users[node]) == 1:
            (user,) = users[node]
            if user.op in COMPARISONS:
                return node
            node = user
        return None if node in cell.next_states else node

    return tuple(stand_in(slot.leaf) for slot in slots)
