"""Passes over the units of a row. Means need them, after the pass that goes tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from llvmlite import ir

from gatewise.compiler.emit.matrix import Place
from gatewise.compiler.emit.tiles import Tiles
from gatewise.compiler.emit.vector import I64, POINTER, Code, Value, i64, internal_function
from gatewise.compiler.plan.schedule import Pass
from gatewise.language.graph import Node

_LANES = 16  # partial sums of a mean, the same number for every vector width, so that the bits are the same


class RowArithmetic(Protocol):
    """The arithmetic of a pass, on one vector of units at a time."""

    def write_pass(self, one: Pass, place: Place) -> list[list[Value]]:
        """Write a pass. Returns, for each of its means, the values of its arguments at these units."""

    def store_mean(self, place: Place, mean: Node, value: Value) -> None:
        """Store a mean of the row."""


# rows(context, first, last, units):
#
# for row in range(first, last):
#     for pass in passes:
#         for unit in range(0, units, V):    write_pass; sums of each mean += the values of its arguments
#         for mean in the means of the pass: store_mean(sums / units)
def row_function(tiles: Tiles, name: str, passes: Sequence[Pass], arithmetic: RowArithmetic) -> Value:
    """The function for some rows: all passes on one row, then on the next."""
    function = internal_function(tiles.module, name, [POINTER, *[I64] * 3])
    context, first, last, units = function.args
    code = tiles.code(function)
    nowhere = Place(code, context, i64(0), first, i64(0), units, None, ir.Constant(POINTER, None))
    with code.loop(first, last, i64(1)) as row:
        for one in passes:
            _write_pass(replace(nowhere, row=row), one, arithmetic)
    code.b.ret_void()
    return function


def _write_pass(at_row: Place, one: Pass, arithmetic: RowArithmetic) -> None:
    code, b, V = at_row.code, at_row.code.b, at_row.code.width
    sums = [code.room(code.number.type, _LANES) for _ in one.means]
    for room in sums:
        for lane in range(0, _LANES, V):
            code.store(code.constant(0), code.at(room, i64(lane)))

    def visit(place: Place) -> None:
        lane = i64(0) if V == _LANES else b.and_(place.unit, i64(_LANES - 1))
        for room, values in zip(sums, arithmetic.write_pass(one, place), strict=True):
            total, at = _added(code, values), code.at(room, lane)
            there = total if place.mask is None else b.select(place.mask, total, code.constant(0))
            code.store(code.flushed(b.fadd(code.load(at), there)), at)

    with code.loop(i64(0), at_row.units, i64(V)) as unit:
        place = replace(at_row, unit=unit)
        left = b.sub(at_row.units, unit)
        with b.if_else(b.icmp_signed(">=", left, i64(V))) as (whole, ragged):
            with whole:
                visit(place)
            with ragged:
                visit(replace(place, mask=code.first(left)))
    for mean, room in zip(one.means, sums, strict=True):
        count = b.sitofp(b.mul(at_row.units, i64(len(mean.args))), code.number.type)
        arithmetic.store_mean(at_row, mean, code.flushed(b.fdiv(_total(code, room), count)))


def _total(code: Code, room: Value) -> Value:
    """The sum of the lanes."""
    return _added(code, [code.scalar(room, i64(n)) for n in range(_LANES)])


def _added(code: Code, values: Sequence[Value]) -> Value:
    """The sum of some values, in pairs: a chain would make each addition wait for the one before."""
    while len(values) > 1:
        pairs = [code.flushed(code.b.fadd(*values[n : n + 2])) for n in range(0, len(values) - 1, 2)]
        values = [*pairs, *values[2 * len(pairs) :]]
    return values[0]
