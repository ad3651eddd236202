"""The plan of a cell: slots, phases of a step in both directions, and what is saved for backward.

A *slot* is one ``[H]`` row of pre-activations. A plain gate is one slot, a `Split` gate is two. Slots fed by
the input alone come first, then slots fed by input and state, then slots fed by the state alone: the input
product fills a prefix of the slots, the recurrent product a suffix, each in one run. A row of ``gates`` has
the slots, then the products in the middle of a step, one ``[H]`` row each, then the vectors that they
multiply.

A step is a `Schedule` of phases. Each begins with a product, the first one with the product of the state and
the recurrent weights, and then computes the cell's arithmetic in one or more passes. Backward has the same
shape: the derivatives by the slots times the recurrent weights, then the arithmetic of the gradient.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import final

from gatewise.compiler.plan.fusing import product_in
from gatewise.compiler.plan.listing import Listing
from gatewise.compiler.plan.schedule import START, Level, Schedule, schedule
from gatewise.language import Cell, Kind
from gatewise.language.gradient import gradient
from gatewise.language.graph import COMPARISONS, Graph, Node, label, text, topological
from gatewise.language.rewrites import written_out

SEEN = "what the gates see"  # the name of the seed for what the gates see; no state can have it


@final
@dataclass(frozen=True)
class Slot:
    """One row of pre-activations: its leaf, and its block of rows in each weight matrix, or None."""

    leaf: Node
    row_ih: int | None
    row_hh: int | None

    def follows(self, other: Slot) -> bool:
        """Whether its rows follow those of `other` in both matrices (or both have none)."""
        pairs = ((self.row_ih, other.row_ih), (self.row_hh, other.row_hh))
        return all(a == b if a is None or b is None else a == b + 1 for a, b in pairs)


@final
@dataclass(frozen=True)
class Plan:
    """The plan of a cell.

    Attributes:
        cell: the equations, with every norm written out.
        graph: the graph of the derivatives, which has the nodes of the cell too.
        slots: the rows of pre-activations, in the order of memory.
        kept: for each slot, the node whose value is saved in its place for backward; None: nothing is saved.
        adjoints: the derivative of the loss by each leaf and each `linear`: nodes over `seeds` and the nodes
            of forward.
        seeds: for each state, the leaf for the derivative by its next value, and the only pass that can read
            it: that pass overwrites the memory that it is computed from.
        forward: the phases of a step.
        backward: the phases of a step of the gradient.
    """

    cell: Cell
    graph: Graph
    slots: tuple[Slot, ...]
    kept: tuple[Node | None, ...]
    adjoints: dict[Node, Node]
    seeds: dict[Node, Level]
    forward: Schedule
    backward: Schedule

    def __str__(self) -> str:
        """The plan as text, which ``GATEWISE_SHOW=plan`` prints."""
        forward = list(topological(self.cell.next_states))
        own = set(forward)
        backward = [node for node in topological(self.adjoints.values()) if node not in own]
        listing = Listing([*forward, *backward])
        lines = [f"plan of {self.cell.name}", "slots"]
        for slot, kept in zip(self.slots, self.kept, strict=True):
            fed = {"w_ih": slot.row_ih, "w_hh": slot.row_hh}
            rows = ", ".join(f"{weights} {row}" for weights, row in fed.items() if row is not None)
            saved = listing.names([kept]) if kept else "nothing"
            lines.append(
                f"  {listing.names([slot.leaf])} {label(slot.leaf)}: {rows}; saved for backward: {saved}"
            )
        after = zip(self.cell.next_states, self.cell.states, strict=True)
        by = ((adjoint, f"by {label(leaf)}") for leaf, adjoint in self.adjoints.items())
        sums = listing.names(slot.leaf for slot in self.state_slots)
        lines += ["forward", *listing.nodes(forward)]
        lines += listing.phases(self.forward, f"{sums} += state @ w_hh", ((n, f"next {s}") for n, s in after))
        lines += ["backward", *listing.nodes(backward)]
        lines += listing.phases(self.backward, "derivatives of the next step @ w_hh", by, self.seeds)
        return "\n".join(lines)

    @functools.cached_property
    def key(self) -> str:
        """The text that tells the kernels of this cell from those of others: equations, watchable values."""
        values = self.cell.values
        return f"{self.cell.signature()} {' '.join(values)} {text(values.values())}"

    @functools.cached_property
    def multiplied(self) -> list[Node]:
        """The vectors that products in the middle of a step multiply, in the order of memory."""
        own = {*(slot.leaf for slot in self.slots), *self.cell.linears}  # these are stored already
        vectors = dict.fromkeys(product.args[0] for product in self.forward.products)
        return [vector for vector in vectors if vector not in own]

    @functools.cached_property
    def columns(self) -> dict[Node, int]:
        """The column of each node in a row of ``gates``, in rows of units."""
        leaves = [slot.leaf for slot in self.slots]
        return {node: n for n, node in enumerate((*leaves, *self.cell.linears, *self.multiplied))}

    @property
    def divides_units(self) -> bool:
        """Whether threads can divide the units of a step: nothing but the first product reads other units."""
        return self.forward.is_single and self.cell.seen.op == "state"

    @functools.cached_property
    def stored(self) -> dict[Node, Level]:
        """The pass that stores each node in a row of ``gates``; other columns are filled before."""
        from_input = {slot.leaf for slot in self.slots if slot.row_hh is None}
        passes = (one for phase in self.forward.phases for one in phase.passes)
        return {node: one.level for one in passes for node in one.readable if node not in from_input}

    def products_at(self, level: Level) -> tuple[Node, ...]:
        """The nodes whose sums a tile of this pass of forward has."""
        if level == START:
            return tuple(slot.leaf for slot in self.state_slots)
        return next(
            (p.products for p in self.forward.phases if p.products and p.passes[0].level == level), ()
        )

    @functools.cached_property
    def gates(self) -> int:
        """The number of columns of a row of ``gates``, in rows of units."""
        return len(self.slots) + len(self.cell.linears) + len(self.multiplied)

    @functools.cached_property
    def derivative_columns(self) -> dict[Node, int]:
        """The column of the derivative by each slot and `linear` in a row of ``derivatives``."""
        first = len(self.slots)
        linear = {node: first + n for n, node in enumerate(self.cell.linears)}
        return {slot.leaf: n for n, slot in enumerate(self.slots)} | linear

    @functools.cached_property
    def overwrites(self) -> bool:
        """Whether derivatives can take the place of gates: the last pass stores all of them."""
        last = self.backward.phases[-1].passes[-1]
        stored = {*last.outputs, *last.readable}
        found = (self.adjoints[node] for node in self.derivative_columns if node in self.adjoints)
        return self.keeps and not self.backward.products and all(node in stored for node in found)

    @functools.cached_property
    def by_vectors(self) -> dict[Node, list[int]]:
        """Each derivative by learned vectors, with the numbers of the vectors: two biases may share one."""
        found: dict[Node, list[int]] = {}
        for n, name in enumerate(self.cell.vectors):
            adjoint = self.adjoints.get(self.cell.leaf("vector", name))
            if adjoint is not None:  # a vector that only conditions read has none
                found.setdefault(adjoint, []).append(n)
        return found

    @functools.cached_property
    def by_seen(self) -> Node:
        """The derivative by the output, over the seed for what the gates see of it."""
        graph, cell = self.graph, self.cell
        return gradient(graph, {cell.seen: graph.leaf("seed", SEEN)})[cell.leaf("state", cell.states[0])]

    @functools.cached_property
    def derivatives(self) -> int:
        """The number of columns of a row of ``derivatives``: one for each slot and each `linear`."""
        return len(self.slots) + len(self.cell.linears)

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
        """Runs of slots whose rows are adjacent in both weight matrices, each with its first column."""
        runs: list[tuple[int, list[Slot]]] = []
        for place, slot in enumerate(self.slots):
            if runs and slot.follows(runs[-1][1][-1]):
                runs[-1][1].append(slot)
            else:
                runs.append((place, [slot]))
        return runs

    @functools.cached_property
    def rows_ih(self) -> list[int]:
        """The block of rows of each input slot in the input weights."""
        return [s.row_ih for s in self.slots if s.row_ih is not None]

    @functools.cached_property
    def rows_hh(self) -> list[int]:
        """The block of rows of each state slot in the recurrent weights."""
        return [s.row_hh for s in self.slots if s.row_hh is not None]

    @functools.cached_property
    def joins(self) -> bool:
        """Whether input and state feed the same slots, so that one product can serve both."""
        return self.rows_ih == self.rows_hh and len(self.rows_ih) == len(self.slots)

    @functools.cached_property
    def keeps(self) -> bool:
        """Whether anything but the states is saved for backward."""
        return any(node is not None for node in self.kept)


@functools.lru_cache(maxsize=128)
def plan(cell: Cell) -> Plan:
    """The plan of a cell; the last ones are remembered. ``GATEWISE_SHOW=plan`` prints it to stderr.

    Raises:
        ValueError: ``GATEWISE_SHOW`` is something else.
    """
    shown = os.environ.get("GATEWISE_SHOW", "")
    if shown not in ("", "plan"):
        raise ValueError(f"GATEWISE_SHOW must be plan. Got {shown!r}.")
    cell = written_out(cell)
    graph, slots = cell.graph(), _slots(cell)
    seeds = _seeds(graph, cell)
    idle = _idle(cell)
    adjoints = gradient(graph, _by_node(graph, cell, seeds), [seed for seed in seeds if seed.name in idle])
    forward = _forward(cell, slots)
    raw = tuple(slot.leaf for slot in slots)
    kept = _kept(cell, slots, adjoints) if forward.is_single else raw
    backward = _backward(graph, cell, adjoints, seeds, forward)
    found = Plan(cell, graph, slots, kept, adjoints, seeds, forward, backward)
    if shown:
        print(found, file=sys.stderr)
    return found


def _idle(cell: Cell) -> list[str]:
    """The states that get a derivative in the last steps only: no later step reads them, or only idle ones.

    In all steps before, their seeds are 0.
    """
    graph = cell.graph()
    readers: dict[str, set[str]] = {state: set() for state in cell.states}
    for state, node in zip(cell.states, cell.next_states, strict=True):
        for leaf in gradient(graph, {node: graph.leaf("seed", state)}):
            if leaf.op == "state":
                readers[leaf.name].add(state)
    idle: list[str] = []
    while more := [s for s in cell.states[1:] if s not in idle and readers[s] <= {*idle}]:
        idle += more
    return idle


def _forward(cell: Cell, slots: tuple[Slot, ...]) -> Schedule:
    sums = {slot.leaf: START for slot in slots if slot.row_hh is not None}
    found = schedule(cell.next_states, momentary=sums, together=True)
    if found.is_single:
        return found
    # Pre-activations and products are stored, for later passes and for backward.
    readable = [*sums, *cell.linears]
    return schedule(cell.next_states, readable=readable, momentary=sums, together=True)


def _seeds(graph: Graph, cell: Cell) -> dict[Node, Level]:
    # A projected output has a width of its own: phase 0 only stores the derivative by it, and everything that
    # is as wide as the units begins in phase 1.
    wide = Level(1, 0) if cell.projects else START
    output, *others = (graph.leaf("seed", state) for state in cell.states)
    return {output: START} | dict.fromkeys(others, wide)


def _backward(
    graph: Graph, cell: Cell, adjoints: Mapping[Node, Node], seeds: Mapping[Node, Level], forward: Schedule
) -> Schedule:
    in_memory = [*cell.next_states, *forward.products, *forward.means]
    in_memory += [product.args[0] for product in forward.products]
    start = Level(1, 0) if cell.projects else START
    kept = [d for node, d in adjoints.items() if node.op in ("gate", "linear")]
    readable = [] if forward.is_single else kept
    # Phase 1 begins with this product even if only conditions depend on the projected value.
    begin = [graph.node("project_back", next(iter(seeds)))] if cell.projects else []
    outputs = [*adjoints.values(), *(set(begin) - set(topological(adjoints.values())))]
    return schedule(outputs, readable=readable, given=in_memory, momentary=seeds, start=start)


def _by_node(graph: Graph, cell: Cell, seeds: Iterable[Node]) -> dict[Node, Node]:
    """The seed of each output node: the sum of the seeds, if two states return the same node."""
    result: dict[Node, Node] = {}
    for node, seed in zip(cell.next_states, seeds, strict=True):
        result[node] = graph.node("add", result[node], seed) if node in result else seed
    return result


def _slots(cell: Cell) -> tuple[Slot, ...]:
    rows_ih = {name: row for row, name in enumerate(cell.input_gates)}
    rows_hh = {name: row for row, name in enumerate(cell.state_gates)}
    leaf = cell.leaf
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
    """The node that is saved in the place of each slot.

    We start at the pre-activation and go on to its user, as long as there is only one, until we reach a node
    that the gradient reads: ``sigmoid(i)`` for a gate, ``tanh(n.x + r * n.h)`` for the candidate of a GRU.
    Everything that depends on the pre-activation depends on this node, so this node is saved instead. The
    next value of a state need not be saved again. A comparison cannot be saved: its value is not a number. A
    product that is fused into a sum is not saved either: the sum reads its factors. Whatever else the
    gradient reads is computed again from the saved values.
    """
    forward = list(topological(cell.next_states))
    # A gate that only watched values read has no user.
    users: dict[Node, list[Node]] = {node: [] for node in (*forward, *(slot.leaf for slot in slots))}
    for node in forward:
        for arg in set(node.args):
            users[arg].append(node)
    own = set(forward)
    both = [*forward, *(node for node in topological(adjoints.values()) if node not in own)]
    read = {arg for node in both[len(forward) :] for arg in node.args}
    fused = {product_in(node) for node in both}

    def stand_in(node: Node) -> Node | None:
        last = node  # the node to save, so far
        while node not in read and node not in cell.next_states and len(users[node]) == 1:
            (user,) = users[node]
            if user.op in COMPARISONS:
                break
            node = user
            last = last if node in fused else node
        return None if last in cell.next_states else last

    return tuple(stand_in(slot.leaf) for slot in slots)
