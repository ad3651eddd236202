"""The arithmetic of a forward step: the cell's equations on one vector of units of one row."""

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
from gatewise.compiler.plan.plan import Plan
from gatewise.compiler.plan.schedule import Pass
from gatewise.language.graph import Node


@final
class ForwardStep:
    """Writes the passes of a step (see `Step`).

    ::

        load what the pass reads: sums of its product, gates and means and spills of earlier passes
        compute what it stores
        store gates that later passes read, and spills
        if keep:   store what backward reads in the place of the pre-activations
        if watch:  store the watched values                    (last pass)
        store the next states                                  (last pass; a projected one in its own)
    """

    def __init__(self, plan: Plan, arguments: Arguments) -> None:
        self.plan = plan
        self._arguments = arguments

    def write_pass(self, one: Pass, place: Place) -> list[list[Value]]:
        """Write a pass. Returns, for each of its means, the values of its arguments at these units."""
        code, b, cell = place.code, place.code.b, self.plan.cell
        step, f = self._frame_and_fields(place)
        values = self._evaluation(one, place, step, f)
        gates = row_of(place, f, step, "gates", "gates.b")
        after = [
            (state, values[node])
            for state, node in zip(cell.states, cell.next_states, strict=True)
            if node in one.outputs
        ]
        for node in one.readable:
            column = self.plan.columns[node]
            code.store(values[node], code.at(gates, b.mul(f["H"], i64(column))), place.mask)
        for node in one.spills:
            code.store(values[node], spill(self.plan.forward, node, place, f), place.mask)
        added = [[values[arg] for arg in mean.args] for mean in one.means]
        if self.plan.forward.is_single:
            self._keep(place, f, values, gates)
        if one.level == self.plan.forward.last:
            self._watch(place, step, f, values)
        self._store_states(place, step, f, after)
        return added

    def write_seen(self, one: Pass, place: Place) -> None:
        """Store what the gates see of the previous output, if that is not the output itself."""
        step, f = self._frame_and_fields(place)
        value = self._evaluation(one, place, step, f)[self.plan.cell.seen]
        at = place.code.b.add(place.code.b.mul(place.row, f["P"]), place.unit)
        place.code.store(value, place.code.at(f.pointer("seen"), at), place.mask)

    def store_mean(self, place: Place, mean: Node, value: Value) -> None:
        """Store a mean of the row."""
        step, f = self._frame_and_fields(place)
        b = place.code.b
        at = b.add(b.mul(place.row, f["means.b"]), i64(self.plan.forward.means.index(mean)))
        b.store(value, place.code.at(step.pointer("means"), at))

    def touched(self, place: Place) -> Iterator[Value]:
        """The addresses that a pass may read or write."""
        code, b = place.code, place.code.b
        step, f = self._frame_and_fields(place)
        gates = row_of(place, f, step, "gates", "gates.b")
        yield from (code.at(gates, b.mul(f["H"], i64(n))) for n in range(self.plan.gates))
        yield from touched_states(self.plan.cell, place, f, step)

    def _frame_and_fields(self, place: Place) -> tuple[Fields, Fields]:
        return frame_and_fields(self.plan, self._arguments, place)

    def _evaluation(self, one: Pass, place: Place, step: Fields, f: Fields) -> Evaluation:
        """The nodes that a pass can compute, over loads of those that are in memory."""
        code, b, plan = place.code, place.code.b, self.plan
        gates = row_of(place, f, step, "gates", "gates.b")
        products = plan.products_at(one.level)

        def column(n: int) -> Value:
            return code.load(code.at(gates, b.mul(f["H"], i64(n))), place.mask)

        sources: dict[Node, Source] = {
            node: partial(column, n)
            for node, n in plan.columns.items()
            if node not in plan.stored or plan.stored[node] < one.level
        }
        sources |= {node: partial(place.sum, n) for n, node in enumerate(products)}
        sources |= spilled_sources(plan.forward, one, place, f)
        for n, mean in enumerate(plan.forward.means):
            at = b.add(b.mul(place.row, f["means.b"]), i64(n))
            sources[mean] = partial(broadcast, code, step.pointer("means"), at)
        masks = partial(dropped_at, place, step, f)
        return Evaluation(code, sources | state_and_vector_sources(plan, place, f, step), masks)

    def _keep(self, place: Place, f: Fields, values: Evaluation, gates: Value) -> None:
        """Save for backward: each slot takes the value that stands for its pre-activation."""
        code, b = place.code, place.code.b
        with b.if_then(b.icmp_signed("!=", f["keep"], i64(0))):
            kept = values.branch()
            for s, stand_in in enumerate(self.plan.kept):
                if stand_in is not None:
                    code.store(kept[stand_in], code.at(gates, b.mul(f["H"], i64(s))), place.mask)

    def _watch(self, place: Place, step: Fields, f: Fields, values: Evaluation) -> None:
        """Store each value that is watched. A projected one is watched as the output."""
        code, b = place.code, place.code.b
        with b.if_then(b.icmp_signed("!=", f["watch"], i64(0))):
            watched = values.branch()
            row = walk.row_outside(code, f, place.row)
            offset = b.add(step["watch"], b.add(b.mul(row, f["watch.b"]), place.unit))
            for name, node in self.plan.cell.values.items():
                if node.op != "project":
                    with b.if_then(b.icmp_signed("!=", f[f"watch_{name}"], i64(0))):
                        value = watched.branch()[node]
                        code.store(value, code.at(f.pointer(f"watch_{name}"), offset), place.mask)

    def _store_states(self, place: Place, step: Fields, f: Fields, after: list[tuple[str, Value]]) -> None:
        """Store the next states, after everything else: they may share memory with the previous states."""
        code, b = place.code, place.code.b
        for name, value in after:
            code.store(value, row_of(place, f, step, f"next_{name}", f"out_{name}.b"), place.mask)
            if name == self.plan.cell.states[0]:
                with b.if_then(b.icmp_signed("!=", f["shown"], i64(0))):
                    code.store(value, row_outside(place, f, step, "shown", "shown.b"), place.mask)


@final
class SeenByGates:
    """A pass that stores what the gates see of the previous output, row by row."""

    def __init__(self, step: ForwardStep) -> None:
        self._step = step

    def write_pass(self, one: Pass, place: Place) -> list[list[Value]]:
        """Write the pass, which has no means."""
        self._step.write_seen(one, place)
        return []

    def store_mean(self, place: Place, mean: Node, value: Value) -> None:
        """Store a mean of the row."""
        self._step.store_mean(place, mean, value)
