"""Passes over the units of a row, after those that are made tile by tile: what means make necessary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from llvmlite import ir

from gatewise.compiler.matrix import Place, Tiles
from gatewise.compiler.schedule import Pass
from gatewise.compiler.vector import I64, POINTER, Code, Value, i64, internal_function
from gatewise.language.graph import Node

_LANES = 16  # sums are added up in so many parts, whatever the width: so the bits do not depend on it

# Writes a pass for some units; gives for each of its means the values of the arguments there.
Write = Callable[[Pass, Place], list[list[Value]]]


def row_function(
    tiles: Tiles,
    name: str,
    passes: Sequence[Pass],
    write: Write,
    store_mean: Callable[[Place, Node, Value], None],
) -> Value:
    """``name(context, first, last, units)``: some rows, each pass after pass."""
    function = internal_function(tiles.module, name, [POINTER, *[I64] * 3])
    context, first, last, units = function.args
    code = Code(function, tiles.number, tiles.width)
    nowhere = Place(code, context, i64(0), first, i64(0), units, None, ir.Constant(POINTER, None))
    with code.loop(first, last, i64(1)) as row:
        for one in passes:
            _write_pass(replace(nowhere, row=row), one, write, store_mean)
    code.b.ret_void()
    return function


def _write_pass(
    at_row: Place, one: Pass, write: Write, store_mean: Callable[[Place, Node, Value], None]
) -> None:
    code, b, V = at_row.code, at_row.code.b, at_row.code.width
    sums = [code.room(code.number.type, _LANES) for _ in one.means]
    for room in sums:
        with code.loop(i64(0), i64(_LANES), i64(V)) as lane:
            code.store(code.constant(0), code.at(room, lane))

    def visit(place: Place) -> None:
        lane = i64(0) if V == _LANES else b.and_(place.unit, i64(_LANES - 1))
        for room, values in zip(sums, write(one, place), strict=True):
            at = code.at(room, lane)
            for value in values:
                there = value if place.mask is None else b.select(place.mask, value, code.constant(0))
                code.store(b.fadd(code.load(at), there), at)

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
        store_mean(at_row, mean, b.fdiv(_total(code, room), count))


def _total(code: Code, room: Value) -> Value:
    """The lanes added up, two by two."""
    lanes = [code.scalar(room, i64(n)) for n in range(_LANES)]
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = [code.b.fadd(lanes[n], lanes[n + half]) for n in range(half)]
    return lanes[0]
