"""Code that forward and backward share within a step: the functions of a phase, and addresses of values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol, final

from gatewise.compiler.emit import random, walk
from gatewise.compiler.emit.arguments import Arguments, Fields
from gatewise.compiler.emit.elementwise import Source
from gatewise.compiler.emit.matrix import Elementwise, Place, elementwise_function
from gatewise.compiler.emit.rows import row_function
from gatewise.compiler.emit.tiles import Tiles
from gatewise.compiler.emit.vector import Code, Value, i64
from gatewise.compiler.plan.plan import Plan
from gatewise.compiler.plan.schedule import Pass, Phase, Schedule
from gatewise.language import Cell
from gatewise.language.graph import Node


class Step(Protocol):
    """The arithmetic of a step, on one vector of units at a time."""

    def write_pass(self, one: Pass, place: Place) -> list[list[Value]]:
        """Write a pass. Returns, for each of its means, the values of its arguments at these units."""

    def store_mean(self, place: Place, mean: Node, value: Value) -> None:
        """Store a mean of the row."""

    def touched(self, place: Place) -> Iterable[Value]:
        """The addresses that a pass may read or write."""


class PhaseFunctions(NamedTuple):
    """The functions of a phase: pass 0 on the sums of a tile, and the other passes (if any) on rows."""

    tile: Elementwise
    rows: Value | None


@final
@dataclass(frozen=True)
class _FirstPass:
    """The pass of a phase that goes tile by tile."""

    step: Step
    one: Pass

    def write(self, place: Place) -> None:
        self.step.write_pass(self.one, place)

    def touched(self, place: Place) -> Iterable[Value]:
        return self.step.touched(place)


def phase_functions(tiles: Tiles, phase: Phase, slots: int, step: Step, name: str) -> PhaseFunctions:
    """The functions of a phase whose product has this number of slots."""
    first, *others = phase.passes
    name = f"{name}_{first.level.phase}"
    tile = elementwise_function(tiles, name, slots, _FirstPass(step, first))
    rows = row_function(tiles, f"{name}_rows", others, step) if others else None
    return PhaseFunctions(tile, rows)


def frame_and_fields(plan: Plan, arguments: Arguments, place: Place) -> tuple[Fields, Fields]:
    """The frame of the step (see `walk.step_frame`), and the fields of the call."""
    step = walk.step_frame(plan.cell).read(place.code, place.context)
    return step, arguments.read(place.code, step.pointer("arguments"))


def broadcast(code: Code, array: Value, at: Value) -> Value:
    """One number of an array in every lane."""
    return code.splat(code.scalar(array, at))


def dropped_at(place: Place, step: Fields, f: Fields, node: Node) -> Value:
    """The random mask of a `dropout` or `zoneout` for the units of a place."""
    return random.mask(place.code, node, f["seed"], step["step"], place.row, place.unit)


def spilled_sources(of: Schedule, one: Pass, place: Place, f: Fields) -> dict[Node, Source]:
    """Loads of what earlier passes have spilled."""
    earlier = (node for phase in of.phases for p in phase.passes if p.level < one.level for node in p.spills)
    return {node: partial(place.code.load, spill(of, node, place, f), place.mask) for node in earlier}


def spill(of: Schedule, node: Node, place: Place, f: Fields) -> Value:
    """The address of a spilled node: ``spills[row, node, unit]``."""
    b, count = place.code.b, len(of.spilled)
    row = b.add(b.mul(place.row, i64(count)), i64(of.spilled.index(node)))
    return place.code.at(f.pointer("spills"), b.add(b.mul(row, f["H"]), place.unit))


def touched_states(cell: Cell, place: Place, f: Fields, step: Fields) -> Iterator[Value]:
    """The addresses of the states before and after a step."""
    for name in cell.states:
        yield row_of(place, f, step, f"next_{name}", f"out_{name}.b")
        yield row_of(place, step, step, f"previous_{name}", f"previous_{name}.b")


def row_of(place: Place, f: Fields, step: Fields, array: str, stride: str) -> Value:
    """The address of the units of a place in an array of the step."""
    b = place.code.b
    return place.code.at(step.pointer(array), b.add(b.mul(place.row, f[stride]), place.unit))


def row_outside(place: Place, f: Fields, step: Fields, array: str, stride: str) -> Value:
    """As `row_of`, for an array of the padded batch (see `walk`)."""
    code, b = place.code, place.code.b
    row = walk.row_outside(code, f, place.row)
    return code.at(step.pointer(array), b.add(b.mul(row, f[stride]), place.unit))


def state_and_vector_sources(plan: Plan, place: Place, f: Fields, step: Fields) -> dict[Node, Source]:
    """Loads of the states before the step, and of the learned vectors."""
    code, cell = place.code, plan.cell

    def state(name: str) -> Value:
        return code.load(row_of(place, step, step, f"previous_{name}", f"previous_{name}.b"), place.mask)

    def vector(name: str) -> Value:
        return code.load(code.at(f.pointer(f"vector_{name}"), place.unit), place.mask)

    leaf = cell.leaf
    sources: dict[Node, Source] = {leaf("state", name): partial(state, name) for name in cell.states}
    return sources | {leaf("vector", name): partial(vector, name) for name in cell.vectors}
