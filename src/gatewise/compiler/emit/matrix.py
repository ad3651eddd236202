"""The matrix phase: rows of numbers times packed weights, in register tiles.

Weights are packed in *panels*: for each block of V units, for each k, the weights of all slots of those
units side by side, ``[blocks, K, slots, V]``, padded with zeros. A *tile* multiplies a few rows by a few
blocks and leaves its sums in a small buffer ``[rows, blocks, slots, V]`` that stays in the first cache,
from which an elementwise function takes them. Panels that are too deep for the second cache are taken in
parts of k, with as many rows as there is room for sums. Every sum runs over k from first to last in one chain
of `fma`, whatever the tile and the parts: so a row's bits do not depend on the rows beside it, nor on V.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import final

from llvmlite import binding as llvm
from llvmlite import ir

from gatewise.compiler.emit.arguments import Arguments
from gatewise.compiler.emit.vector import (
    I1,
    I64,
    POINTER,
    VOID,
    Address,
    Code,
    Number,
    Value,
    i64,
    internal_function,
)

_PART_BYTES = 1 << 18  # of a panel that are used on all rows before the next: a share of the second cache
_TILES = 32  # of rows whose sums are kept while a panel is taken in parts
_FAR_BYTES = 6 << 20  # of panels in all, from which on they come from memory and are sent for in time


@final
@dataclass(frozen=True)
class Shape:
    """A register tile: rows x blocks of V units."""

    rows: int
    blocks: int


def tallest(slots: int, registers: int) -> int:
    """The most rows of a tile: three quarters of the registers hold sums, the rest weights and numbers."""
    return max(1, _sums(registers) // (slots * -(-4 // slots)))


def shape(slots: int, registers: int, rows: int) -> Shape:
    """The tile for so many rows; few rows take more blocks, to have enough independent sums in flight."""
    return Shape(rows, max(1, min(4, _sums(registers) // (slots * rows))))


def _sums(registers: int) -> int:
    return registers * 3 // 4


def even_rows(code: Code, most: int, first: Value, last: Value) -> Iterator[tuple[int, Value, Value]]:
    """Divide rows among as few tiles as can be, of rows as equal as can be.

    What the caller writes for each ``(rows, start, stop)`` that is yielded handles the tiles of so many rows
    between start and stop; at run time at most two of them have any.
    """
    b = code.b
    n = b.sub(last, first)
    count = b.sdiv(b.add(n, i64(most - 1)), i64(most))
    small = b.sdiv(n, b.select(b.icmp_signed("==", count, i64(0)), i64(1), count))
    taller = b.sub(n, b.mul(small, count))  # tiles with one row more
    start = first
    for rows in range(most, 0, -1):
        tiles = b.select(b.icmp_signed("==", small, i64(rows)), b.sub(count, taller), i64(0))
        tiles = b.select(b.icmp_signed("==", small, i64(rows - 1)), taller, tiles)
        stop = b.add(start, b.mul(tiles, i64(rows)))
        with b.if_then(b.icmp_signed(">", tiles, i64(0))):
            yield rows, start, stop
        start = stop


Span = tuple[Value, Value]  # the first and the one after the last


def blocks_of(code: Code, units: Value) -> Value:
    """How many vectors hold so many units."""
    return code.b.sdiv(code.b.add(units, i64(code.width - 1)), i64(code.width))


def padded(code: Code, units: Value) -> Value:
    """A number of units rounded up to whole vectors."""
    return code.b.and_(code.b.add(units, i64(code.width - 1)), i64(-code.width))


_TILE = ir.FunctionType(
    VOID, [POINTER, POINTER, *[I64] * 4, POINTER, I64, POINTER, I64, I64, I64, POINTER, I64]
)


@final
class Tiles:
    """The tile functions of one module, written when first asked for."""

    def __init__(self, name: str, number: Number, width: int, registers: int) -> None:
        self.module = ir.Module(name)
        self.module.triple = llvm.get_default_triple()
        self.number = number
        self.width = width
        self.registers = registers

    def function(self, slots: int, shape: Shape) -> Value:
        """The function that makes a tile's `sums`: what lies at `start`, and the products of k..K.

        ``tile(sums, start, by_row, by_block, by_slot, units, a, a_stride, panel, panel_stride, k, K, ahead,
        pace)``. `start` has a stride for each axis, and of every slot the first `units` there are; `a` is
        ``[rows, K]`` with the given stride; the panels of blocks lie `panel_stride` apart. Meanwhile what
        lies at `ahead` is sent for, `pace` elements for each k.
        """
        name = f"tile_{slots}_{shape.rows}_{shape.blocks}"
        known = self.module.globals.get(name)
        return known or self._write(name, slots, shape)

    def _write(self, name: str, slots: int, shape: Shape) -> Value:
        function = internal_function(self.module, name, _TILE.args)
        sums, start, by_row, by_block, by_slot, units, a, stride, panel, panel_stride, *others = function.args
        first, K, ahead, pace = others
        code = Code(function, self.number, self.width)
        b, V = code.b, self.width
        places = [(r, j, g) for r in range(shape.rows) for j in range(shape.blocks) for g in range(slots)]
        total = {place: code.room(code.vector) for place in places}  # promoted to registers
        masks = [code.first(b.sub(units, i64(j * V))) for j in range(shape.blocks)]
        for r, j, g in places:
            at = b.add(b.add(b.mul(by_row, i64(r)), b.mul(by_block, i64(j))), b.mul(by_slot, i64(g)))
            b.store(code.load(code.at(start, at), masks[j]), total[r, j, g])
        rows = [code.at(a, b.mul(stride, i64(r))) for r in range(shape.rows)]
        panels = [code.at(panel, b.mul(panel_stride, i64(j))) for j in range(shape.blocks)]

        def accumulate(k: Value) -> None:
            numbers = [code.splat(code.scalar(row, k)) for row in rows]
            for j in range(shape.blocks):
                for g in range(slots):
                    at = b.add(b.mul(k, i64(slots * V)), i64(g * V))
                    weights = code.load(code.at(panels[j], at))
                    for r in range(shape.rows):
                        place = total[r, j, g]
                        b.store(code.fma(numbers[r], weights, b.load(place, typ=code.vector)), place)

        unrolled = 2
        whole = b.add(first, b.and_(b.sub(K, first), i64(-unrolled)))
        with code.loop(first, whole, i64(unrolled)) as k:
            code.prefetch(code.at(ahead, b.mul(k, pace)))
            for i in range(unrolled):
                accumulate(b.add(k, i64(i)))
        with code.loop(whole, K, i64(1)) as k:
            accumulate(k)
        for n, place in enumerate(places):
            code.store(b.load(total[place], typ=code.vector), code.at(sums, i64(n * V)))
        b.ret_void()
        return function


@final
@dataclass(frozen=True)
class Rows:
    """Rows to multiply: at ``a + outer * outer_stride + row * row_stride``, `outers` times first..last."""

    a: Value
    outer_stride: Value
    row_stride: Value
    outers: Value
    first: Value
    last: Value


@final
@dataclass(frozen=True)
class Start:
    """What the sums start from: ``[rows, slots, units]``, with strides for rows and slots."""

    at: Value
    by_row: Value
    by_slot: Value


@final
@dataclass(frozen=True)
class Columns:
    """Panels of `units` units, `stride` apart, of which the blocks first..last are used."""

    panels: Value
    stride: Value
    K: Value
    units: Value
    first: Value
    last: Value


@final
@dataclass(frozen=True)
class Then:
    """What is done with the sums of a tile: an elementwise function and its context."""

    function: Elementwise
    context: Value


# What `matrix_phase` hands to the function that does it, which is written once for so many slots.
_PHASE = Arguments(
    (
        *("a", "outer_stride", "row_stride", "outers", "first", "last", "start", "start_row", "start_slot"),
        *(
            "panels",
            "stride",
            "K",
            "units",
            "first_block",
            "last_block",
            "run",
            "send_for",
            "context",
            "turn",
        ),
    )
)


def matrix_phase(
    code: Code, tiles: Tiles, slots: int, rows: Rows, start: Start, columns: Columns, then: Then, turn: Value
) -> None:
    """Add to `start` the products of `rows` with panels, tile by tile, and hand each tile's sums to `then`.

    Where `turn` is odd the blocks are taken from the last to the first: turn about from step to step, each
    step begins with the panels that the one before left in the cache.
    """
    name = f"multiply_{slots}"
    multiply = tiles.module.globals.get(name) or _write_multiply(tiles, name, slots)
    phase = _PHASE.make(code)
    phase.set(
        a=rows.a, outer_stride=rows.outer_stride, row_stride=rows.row_stride,
        outers=rows.outers, first=rows.first, last=rows.last,
        start=start.at, start_row=start.by_row, start_slot=start.by_slot,
        panels=columns.panels, stride=columns.stride, K=columns.K, units=columns.units,
        first_block=columns.first, last_block=columns.last,
        run=Address(then.function.run), send_for=Address(then.function.send_for),
        context=then.context, turn=turn,
    )  # fmt: skip
    code.b.call(multiply, [phase.array])


def _write_multiply(tiles: Tiles, name: str, slots: int) -> Value:
    blocks_function = _write_blocks(tiles, f"blocks_{slots}", slots)
    function = internal_function(tiles.module, name, [POINTER])
    code = Code(function, tiles.number, tiles.width)
    f, b = _PHASE.read(code, function.args[0]), code.b
    weights = max(slots, 1)
    room = code.room(code.number.type, code.width * max(weights, _sums(tiles.registers)) * _TILES)
    for n, first, last in even_rows(code, tallest(weights, tiles.registers), f["first"], f["last"]):
        wide = shape(weights, tiles.registers, n)
        rest = b.srem(b.sub(f["last_block"], f["first_block"]), i64(wide.blocks))
        whole = b.sub(f["last_block"], rest)
        parts = [(wide, f["first_block"], whole)]
        if wide.blocks > 1:
            parts.append((Shape(n, 1), whole, f["last_block"]))
        for part, start, stop in parts:
            tile = Address(tiles.function(slots, part))
            sizes = [i64(part.rows), i64(part.blocks), first, last, start, stop]
            b.call(blocks_function, [function.args[0], room, tile, *sizes])
    b.ret_void()
    return function


def _write_blocks(tiles: Tiles, name: str, slots: int) -> Value:
    """``blocks(phase, room, tile, rows, blocks, first, last, first_block, last_block)``: tiles of one shape.

    They are taken block after block. Deep panels are used on a group of rows part by part of k.
    """
    function = internal_function(tiles.module, name, [POINTER, POINTER, POINTER, *[I64] * 6])
    phase, room, tile, n, blocks, first, last, first_block, last_block = function.args
    code = Code(function, tiles.number, tiles.width)
    f, b, V = _PHASE.read(code, phase), code.b, code.width
    K, units, stride, outers = f["K"], f["units"], f["stride"], f["outers"]
    tile_function = Address(tile, _TILE)
    run, send_for = (Address(f.pointer(name), _VISIT) for name in ("run", "send_for"))
    line = b.mul(blocks, i64(slots * V))
    part = b.sdiv(i64(_PART_BYTES), code.larger(b.mul(line, i64(code.number.bytes)), i64(1)))
    depth = code.larger(i64(16), b.and_(part, i64(-16)))
    deep = b.icmp_signed(">", K, depth)
    far = b.icmp_signed(">", b.mul(K, units), i64(_FAR_BYTES // max(slots * code.number.bytes, 1)))
    reach = code.smaller(b.sdiv(b.sub(last, first), n), i64(_TILES))
    some_rows = b.select(deep, b.mul(n, i64(_TILES)), b.sub(last, first))
    some_outers = b.select(deep, b.sdiv(i64(_TILES), code.larger(reach, i64(1))), outers)
    share = b.sdiv(b.add(reach, b.sub(line, i64(1))), code.larger(reach, i64(1)))
    pace = b.select(far, share, i64(0))
    backwards = b.trunc(f["turn"], I1)
    with (
        code.loop(i64(0), outers, some_outers) as outer,
        code.loop(first, last, some_rows) as row,
        code.loop(first_block, last_block, blocks) as done,
    ):
        mirrored = b.sub(b.sub(b.add(first_block, last_block), blocks), done)
        block = b.select(backwards, mirrored, done)
        panel = code.at(f.pointer("panels"), b.mul(block, stride))
        size = b.mul(stride, blocks)
        unit = b.mul(block, i64(V))
        left = b.sub(units, unit)
        # Where nothing is to be sent for, the address is one that is there: to look for another takes time.
        more = b.icmp_signed("<", b.add(done, blocks), last_block)
        away = b.select(backwards, b.neg(size), size)
        next_panel = code.at(panel, b.select(b.and_(far, more), away, i64(0)))
        group = b.sdiv(b.sub(code.smaller(b.add(row, some_rows), last), row), n)
        with (
            code.loop(i64(0), code.larger(K, i64(1)), depth) as k,
            code.loop(outer, code.smaller(b.add(outer, some_outers), outers), i64(1)) as o,
            code.loop(i64(0), group, i64(1)) as number,
        ):
            r = b.add(row, b.mul(number, n))
            index = b.add(b.mul(b.sub(o, outer), reach), number)
            extent = [units, o, r, n, block, blocks]
            stop = code.smaller(b.add(k, depth), K)
            is_last = b.icmp_signed("==", stop, K)
            with b.if_then(b.and_(far, is_last)):
                b.call(send_for, [f.pointer("context"), room, *extent])
            at_row = b.add(b.mul(o, f["outer_stride"]), b.mul(r, f["row_stride"]))
            a = code.at(f.pointer("a"), at_row)
            sums = code.at(room, b.mul(b.select(deep, index, i64(0)), b.mul(n, line)))
            ahead = code.at(next_panel, b.mul(b.mul(index, K), pace))
            # Parts of k after the first go on from the sums.
            is_first = b.icmp_signed("==", k, i64(0))
            begin = code.at(f.pointer("start"), b.add(b.mul(r, f["start_row"]), unit))
            whence = [
                b.select(is_first, begin, sums),
                b.select(is_first, f["start_row"], line),
                b.select(is_first, i64(V), i64(slots * V)),
                b.select(is_first, f["start_slot"], i64(V)),
                left,
            ]
            b.call(tile_function, [sums, *whence, a, f["row_stride"], panel, stride, k, stop, ahead, pace])
            with b.if_then(is_last):
                b.call(run, [f.pointer("context"), sums, *extent])
    b.ret_void()
    return function


_VISIT = ir.FunctionType(VOID, [POINTER, POINTER, *[I64] * 6])


@final
@dataclass(frozen=True)
class Place:
    """Where an elementwise function stands: a row, the first of V units out of all, the sums.

    Of the lanes those in `mask` exist; None stands for all of them.
    """

    code: Code
    context: Value
    outer: Value
    row: Value
    unit: Value
    units: Value
    mask: Value | None
    sums: Value

    def sum(self, slot: int) -> Value:
        """The sums of a slot."""
        return self.code.load(self.code.at(self.sums, i64(slot * self.code.width)))


@final
@dataclass(frozen=True)
class Elementwise:
    """What `matrix_phase` calls for a tile: `run` with its sums, `send_for` before, for what `run` will touch
    where that comes from memory."""

    run: Value
    send_for: Value


def elementwise_function(
    tiles: Tiles,
    name: str,
    slots: int,
    write: Callable[[Place], None],
    touched: Callable[[Place], Iterable[Value]],
) -> Elementwise:
    """The functions for a tile, written by `write`, which touches memory at the addresses `touched`."""

    def run(place: Place) -> None:
        b = place.code.b
        left = b.sub(place.units, place.unit)
        with b.if_else(b.icmp_signed(">=", left, i64(place.code.width))) as (whole, ragged):
            with whole:
                write(place)
            with ragged:
                write(replace(place, mask=place.code.first(left)))

    def send_for(place: Place) -> None:
        for address in touched(place):
            place.code.prefetch(address, write=True)

    return Elementwise(_walk(tiles, name, slots, run), _walk(tiles, f"{name}_send_for", slots, send_for))


def _walk(tiles: Tiles, name: str, slots: int, visit: Callable[[Place], None]) -> Value:
    """``walk(context, sums, units, outer, row, rows, block, blocks)`` visits the vectors of a tile."""
    function = internal_function(tiles.module, name, _VISIT.args)
    context, sums, units, outer, row, rows, block, blocks = function.args
    code = Code(function, tiles.number, tiles.width)
    b, V = code.b, code.width
    with code.loop(i64(0), rows, i64(1)) as r, code.loop(i64(0), blocks, i64(1)) as j:
        here = code.at(sums, b.mul(b.add(b.mul(r, blocks), j), i64(slots * V)))
        unit = b.mul(b.add(block, j), i64(V))
        visit(Place(code, context, outer, b.add(row, r), unit, units, None, here))
    b.ret_void()
    return function
