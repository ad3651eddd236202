"""What forward and backward have in common within a step: its functions, where its terms lie, its chances."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from gatewise.compiler.emit import random, walk
from gatewise.compiler.emit.arguments import Arguments, Fields
from gatewise.compiler.emit.elementwise import Source
from gatewise.compiler.emit.matrix import Elementwise, Place, Tiles, elementwise_function
from gatewise.compiler.emit.rows import row_function
from gatewise.compiler.emit.vector import Code, Value, i64
from gatewise.compiler.plan.plan import Plan
from gatewise.compiler.plan.schedule import Pass, Phase, Schedule
from gatewise.language import Cell
from gatewise.language.graph import Node


class PhaseFunctions(NamedTuple):
    """Those of a phase: what is done with the sums of a tile, and with rows after that."""

    tile: Elementwise
    rows: Value | None


def phase_functions(
    tiles: Tiles,
    phase: Phase,
    slots: int,
    write: Callable[[Pass, Place], list[list[Value]]],
    touched: Callable[[Place], Iterable[Value]],
    store_mean: Callable[[Place, Node, Value], None],
    name: str,
) -> PhaseFunctions:
    """The functions of a phase with so many slots, whose passes are written by `write`."""
    first, *others = phase.passes

    def write_tile(place: Place) -> None:
        write(first, place)

    name = f"{name}_{first.level.phase}"
    tile = elementwise_function(tiles, name, slots, write_tile, touched)
    rows = row_function(tiles, f"{name}_rows", others, write, store_mean) if others else None
    return PhaseFunctions(tile, rows)


def frame_and_fields(plan: Plan, arguments: Arguments, place: Place) -> tuple[Fields, Fields]:
    """What is said of the step, and the fields of the call."""
    step = walk.step_frame(plan.cell).read(place.code, place.context)
    return step, arguments.read(place.code, step.pointer("arguments"))


def broadcast(code: Code, array: Value, at: Value) -> Value:
    """A number of an array in every lane."""
    return code.splat(code.scalar(array, at))


def strikes_at(place: Place, step: Fields, f: Fields, node: Node) -> Value:
    """Where chance strikes among this place's units."""
    return random.strikes(place.code, node, f["seed"], step["step"], place.row, place.unit)


def spilled_sources(of: Schedule, one: Pass, place: Place, f: Fields) -> dict[Node, Source]:
    """What earlier passes have stored for this one."""
    earlier = (node for phase in of.phases for p in phase.passes if p.level < one.level for node in p.spills)
    return {node: partial(place.code.load, spill(of, node, place, f), place.mask) for node in earlier}


def spill(of: Schedule, node: Node, place: Place, f: Fields) -> Value:
    """Where a term is kept for later passes."""
    b, count = place.code.b, len(of.spilled)
    row = b.add(b.mul(place.row, i64(count)), i64(of.spilled.index(node)))
    return place.code.at(f.pointer("spills"), b.add(b.mul(row, f["H"]), place.unit))


def touched_states(cell: Cell, place: Place, f: Fields, step: Fields) -> Iterator[Value]:
    """Where the states are as they enter and leave a step."""
    for name in cell.states:
        yield row_of(place, f, step, f"next_{name}", f"out_{name}.b")
        yield row_of(place, step, step, f"previous_{name}", f"previous_{name}.b")


def row_of(place: Place, f: Fields, step: Fields, array: str, stride: str) -> Value:
    """The address of this place's units in an array of the step."""
    b = place.code.b
    return place.code.at(step.pointer(array), b.add(b.mul(place.row, f[stride]), place.unit))


def row_outside(place: Place, f: Fields, step: Fields, array: str, stride: str) -> Value:
    """As `row_of`, for an array outside."""
    code, b = place.code, place.code.b
    row = walk.row_outside(code, f, place.row)
    return code.at(step.pointer(array), b.add(b.mul(row, f[stride]), place.unit))


def state_and_vector_sources(plan: Plan, place: Place, f: Fields, step: Fields) -> dict[Node, Source]:
    """Where the states as they enter the step, and the learned vectors, are loaded from."""
    code, cell = place.code, plan.cell

    def state(name: str) -> Value:
        return code.load(row_of(place, step, step, f"previous_{name}", f"previous_{name}.b"), place.mask)

    def vector(name: str) -> Value:
        return code.load(code.at(f.pointer(f"vector_{name}"), place.unit), place.mask)

    leaf = cell.leaf
    sources: dict[Node, Source] = {leaf("state", name): partial(state, name) for name in cell.states}
    return sources | {leaf("vector", name): partial(vector, name) for name in cell.vectors}
