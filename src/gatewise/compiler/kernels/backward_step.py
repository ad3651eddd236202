"""The arithmetic of a backward step: the gradient of the equations on one vector of units of one row."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import final

from gatewise.compiler.emit import walk
from gatewise.compiler.emit.arguments import Arguments, Fields
from gatewise.compiler.emit.elementwise import Evaluation, Source
from gatewise.compiler.emit.matrix import Place
from gatewise.compiler.emit.step import (
    broadcast,
    dropped_at,
    frame_and_fields,
    row_of,
    row_outside,
    spill,
    spilled_sources,
    state_and_vector_sources,
    touched_states,
)
from gatewise.compiler.emit.vector import Value, i64
from gatewise.compiler.plan.plan import SEEN, Plan
from gatewise.compiler.plan.schedule import START, Pass
from gatewise.language.graph import Node


@final
class BackwardStep:
    """Writes the passes of a step (see `Step`).

    ::

        load what the pass reads: what forward saved, sums of its product, spills of earlier passes;
            the derivative by each next state: what the later step left in carry (and dout, for the output)
        compute what it stores
        derivatives = the derivatives by the slots and by the products `linear`
        carry       = the derivatives by the states before the step
        by_vectors += the derivatives by the learned vectors
    """

    def __init__(self, plan: Plan, arguments: Arguments) -> None:
        self.plan = plan
        self._arguments = arguments

    def write_pass(self, one: Pass, place: Place) -> list[list[Value]]:
        """Write a pass. Returns, for each of its means, the values of its arguments at these units."""
        code, b, cell, plan = place.code, place.code.b, self.plan.cell, self.plan
        step, f = self._frame_and_fields(place)
        values = self._evaluation(one, place, step, f)
        seeds = [values[seed] for seed in self._seeds_of(one)]  # of all rows: resets are applied on reading
        if cell.projects and one.level == START:
            at = row_of(place, f, step, "projected", "projected.b")
            code.store(seeds[0], at, place.mask)
            code.store(code.constant(0), self._carry(place, f, cell.states[0]), place.mask)
            return []
        stores = []
        for leaf, target in self._targets(place, step, f):
            node = plan.adjoints.get(leaf)
            if node is None and one.level == plan.backward.last:
                stores.append((code.constant(0), target))
            elif node is not None and (node in one.outputs or node in one.readable):
                stores.append((values[node], target))
        for n, node in enumerate(plan.by_vectors):
            if node in one.outputs:
                row = b.add(b.mul(place.row, i64(len(plan.by_vectors))), i64(n))
                at = code.at(f.pointer("by_vectors"), b.add(b.mul(row, f["H"]), place.unit))
                stores.append((code.flushed(b.fadd(code.load(at, place.mask), values[node])), at))
        stores += [(values[node], spill(plan.backward, node, place, f)) for node in one.spills]
        added = [[values[arg] for arg in mean.args] for mean in one.means]
        for value, target in stores:  # after all loads, because derivatives may overwrite gates
            code.store(value, target, place.mask)
        return added

    def store_mean(self, place: Place, mean: Node, value: Value) -> None:
        """Store a mean of the row."""
        _, f = self._frame_and_fields(place)
        place.code.b.store(value, self._own_mean(place, f, mean))

    def touched(self, place: Place) -> Iterator[Value]:
        """The addresses that a pass may read or write."""
        code, b, cell = place.code, place.code.b, self.plan.cell
        step, f = self._frame_and_fields(place)
        for array, count in (("gates", self.plan.gates), ("derivatives", self.plan.derivatives)):
            first = row_of(place, f, step, array, f"{array}.b")
            yield from (code.at(first, b.mul(f["H"], i64(s))) for s in range(count))
        yield row_outside(place, f, step, "dout", "dout.b")
        yield from (self._carry(place, f, state) for state in cell.states)
        yield from touched_states(cell, place, f, step)

    def add_to_carry(self, place: Place) -> None:
        """Before the first step: add the result of the product to the derivative by the initial output."""
        code = place.code
        step, f = self._frame_and_fields(place)
        at = self._carry(place, f, self.plan.cell.states[0])
        by_output = self._by_sums(place, step, f)
        code.store(code.flushed(code.b.fadd(code.load(at, place.mask), by_output)), at, place.mask)

    def _frame_and_fields(self, place: Place) -> tuple[Fields, Fields]:
        return frame_and_fields(self.plan, self._arguments, place)

    def _seeds_of(self, one: Pass) -> list[Node]:
        """The seeds that can be read in a pass."""
        return [seed for seed, level in self.plan.seeds.items() if level == one.level]

    def _targets(self, place: Place, step: Fields, f: Fields) -> list[tuple[Node, Value]]:
        """Each leaf or product with the address of the derivative by it."""
        code, b, cell = place.code, place.code.b, self.plan.cell
        derivatives = row_of(place, f, step, "derivatives", "derivatives.b")
        targets: list[tuple[Node, Value]] = [
            (leaf, code.at(derivatives, b.mul(f["H"], i64(n))))
            for leaf, n in self.plan.derivative_columns.items()
        ]
        states = [state for state in cell.states if not (cell.projects and state == cell.states[0])]
        return [*targets, *((cell.leaf("state", state), self._carry(place, f, state)) for state in states)]

    def _carry(self, place: Place, f: Fields, state: str, array: str = "carry") -> Value:
        """The address of the derivative by a state, carried from step to step."""
        b, width = place.code.b, walk.width_of(f, self.plan.cell, state)
        return place.code.at(f.pointer(f"{array}_{state}"), b.add(b.mul(place.row, width), place.unit))

    def _by_sums(self, place: Place, step: Fields, f: Fields) -> Value:
        """The derivative by an output that comes from the slots of the later step."""
        seed = self.plan.graph.leaf("seed", SEEN)
        masks = partial(dropped_at, place, step, f)
        return Evaluation(place.code, {seed: partial(place.sum, 0)}, masks)[self.plan.by_seen]

    def _own_mean(self, place: Place, f: Fields, mean: Node) -> Value:
        """The address of a mean of the gradient."""
        b, means = place.code.b, self.plan.backward.means
        at = b.add(b.mul(place.row, i64(len(means))), i64(means.index(mean)))
        return place.code.at(f.pointer("own_means"), at)

    def _evaluation(self, one: Pass, place: Place, step: Fields, f: Fields) -> Evaluation:
        """The nodes that a pass can compute, over loads of those that are in memory."""
        code, plan = place.code, self.plan
        cut = walk.is_reset(code, f, step, place.row)
        sources = self._saved_sources(place, step, f)
        for mean in plan.backward.means:
            sources[mean] = partial(broadcast, code, self._own_mean(place, f, mean), i64(0))
        earlier = {
            n for p in plan.backward.phases for q in p.passes if q.level < one.level for n in q.readable
        }
        for leaf, node in plan.adjoints.items():
            if node in earlier and leaf in plan.derivative_columns:
                n = plan.derivative_columns[leaf]
                sources[node] = partial(self._column, place, step, f, "derivatives", n)
        sources |= {
            seed: partial(self._by_next, place, step, f, cut, seed.name) for seed in self._seeds_of(one)
        }
        sources |= {p: partial(place.sum, 0) for p in plan.backward.products if p not in earlier}
        sources |= spilled_sources(plan.backward, one, place, f)
        masks = partial(dropped_at, place, step, f)
        return Evaluation(code, sources | state_and_vector_sources(plan, place, f, step), masks)

    def _saved_sources(self, place: Place, step: Fields, f: Fields) -> dict[Node, Source]:
        """Loads of what forward saved: slots, products and what they multiply, next states, means."""
        code, b, plan, cell = place.code, place.code.b, self.plan, self.plan.cell

        def next_value(state: str) -> Value:
            return code.load(row_of(place, f, step, f"next_{state}", f"out_{state}.b"), place.mask)

        kept = dict(zip(plan.kept, range(len(plan.slots)), strict=False))
        kept |= {node: n for node, n in plan.columns.items() if n >= len(plan.slots)}
        sources: dict[Node, Source] = {
            node: partial(self._column, place, step, f, "gates", n)
            for node, n in kept.items()
            if node is not None
        }
        after = zip(cell.states, cell.next_states, strict=True)
        sources |= {node: partial(next_value, state) for state, node in after}
        for n, mean in enumerate(plan.forward.means):
            at = b.add(b.mul(place.row, f["means.b"]), i64(n))
            sources[mean] = partial(broadcast, code, step.pointer("means"), at)
        return sources

    def _column(self, place: Place, step: Fields, f: Fields, array: str, n: int) -> Value:
        """Column n of a row of an array, in rows of units."""
        code = place.code
        first = row_of(place, f, step, array, f"{array}.b")
        return code.load(code.at(first, code.b.mul(f["H"], i64(n))), place.mask)

    def _by_next(self, place: Place, step: Fields, f: Fields, cut: Value, state: str) -> Value:
        """The derivative by the next value of a state; `cut`: whether the row is reset after this step."""
        code, b = place.code, place.code.b
        carried = code.load(self._carry(place, f, state), place.mask)
        if state != self.plan.cell.states[0]:
            return self._from_later(place, f, cut, state, carried)
        by_output = code.load(row_outside(place, f, step, "dout", "dout.b"), place.mask)
        carried = code.flushed(b.fadd(carried, self._by_sums(place, step, f)))
        return code.flushed(b.fadd(by_output, self._from_later(place, f, cut, state, carried)))

    def _from_later(self, place: Place, f: Fields, cut: Value, state: str, value: Value) -> Value:
        """The derivative from the later step; 0 for a row reset there: it is added to ``drestart``."""
        code, b = place.code, place.code.b
        with b.if_then(b.and_(cut, b.icmp_signed("!=", f[f"drestart_{state}"], i64(0)))):
            at = self._carry(place, f, state, "drestart")
            code.store(code.flushed(b.fadd(code.load(at, place.mask), value)), at, place.mask)
        return b.select(cut, code.constant(0), value)


@final
class BeforeFirst:
    """The work after the product at step -1: only the derivative by the initial output is left."""

    def __init__(self, step: BackwardStep) -> None:
        self._step = step

    def write(self, place: Place) -> None:
        """Write the instructions."""
        self._step.add_to_carry(place)

    def touched(self, place: Place) -> Iterator[Value]:
        """The addresses that these instructions read or write."""
        return self._step.touched(place)
