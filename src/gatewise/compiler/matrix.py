"""The matrix phase: rows of numbers times packed weights, in register tiles.

Weights are packed in *panels*: for each block of V units, for each k, the weights of all slots of those
units side by side, ``[blocks, K, slots, V]``, padded with zeros. A *tile* multiplies a few rows by a few
blocks and leaves its sums in a small buffer ``[rows, blocks, slots, V]`` that stays in the first cache,
from which an elementwise function takes them. Panels that are too deep for the second cache are taken in
parts of k, with as many rows as there is room for sums. Every sum runs over k from first to last in one chain
of `fma`, whatever the tile and the parts: so a row's bits do not depend on the rows beside it, nor on V.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

from llvmlite import binding as llvm
from llvmlite import ir

from gatewise.compiler.vector import I1, I64, POINTER, VOID, Code, Number, Value, i64

_PART_BYTES = 1 << 18  # of a panel that are used on all rows before the next: a share of the second cache
_TILES = 32  # of rows whose sums are kept while a panel is taken in parts


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
        """``tile(sums, a, a_stride, panel, panel_stride, k, K)``: adds to the sums the products of k..K.

        `a` is ``[rows, K]`` with the given stride, the panels of blocks lie `panel_stride` apart. From k = 0
        on the sums start at zero.
        """
        name = f"tile_{slots}_{shape.rows}_{shape.blocks}"
        known = self.module.globals.get(name)
        return known or self._write(name, slots, shape)

    def _write(self, name: str, slots: int, shape: Shape) -> Value:
        kind = ir.FunctionType(VOID, [POINTER, POINTER, I64, POINTER, I64, I64, I64])
        function = ir.Function(self.module, kind, name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        sums, a, stride, panel, panel_stride, start, K = function.args
        code = Code(function, self.number, self.width)
        b, V = code.b, self.width
        places = [(r, j, g) for r in range(shape.rows) for j in range(shape.blocks) for g in range(slots)]
        total = {place: code.room(code.vector) for place in places}  # promoted to registers
        with b.if_else(b.icmp_signed("==", start, i64(0))) as (first, later):
            with first:
                for place in places:
                    b.store(code.constant(0), total[place])
            with later:
                for n, place in enumerate(places):
                    b.store(code.load(code.at(sums, i64(n * V))), total[place])
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

        unrolled = 4
        whole = b.add(start, b.and_(b.sub(K, start), i64(-unrolled)))
        with code.loop(start, whole, i64(unrolled)) as k:
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
class Columns:
    """Panels of `units` units, of which the blocks first..last are used."""

    panels: Value
    K: Value
    units: Value
    first: Value
    last: Value


@final
@dataclass(frozen=True)
class Then:
    """What is done with the sums of a tile: an elementwise function and its context."""

    function: Value
    context: Value


def matrix_phase(
    code: Code, tiles: Tiles, slots: int, rows: Rows, columns: Columns, then: Then, turn: Value
) -> None:
    """Multiply `rows` by panels, tile by tile, and hand the sums of each tile to `then`.

    Where `turn` is odd the blocks are taken from the last to the first: turn about from step to step, each
    step begins with the panels that the one before left in the cache.
    """
    b, weights = code.b, max(slots, 1)
    room = code.room(code.number.type, code.width * max(weights, _sums(tiles.registers)) * _TILES)
    for n, first, last in even_rows(code, tallest(weights, tiles.registers), rows.first, rows.last):
        wide = shape(weights, tiles.registers, n)
        rest = b.srem(b.sub(columns.last, columns.first), i64(wide.blocks))
        whole = b.sub(columns.last, rest)
        parts = [(wide, columns.first, whole)]
        if wide.blocks > 1:
            parts.append((Shape(n, 1), whole, columns.last))
        for part, start, stop in parts:
            some_rows, some_columns = (
                replace(rows, first=first, last=last),
                replace(columns, first=start, last=stop),
            )
            _blocks(code, tiles, slots, part, some_rows, some_columns, then, turn, room)


def _blocks(
    code: Code,
    tiles: Tiles,
    slots: int,
    shape: Shape,
    rows: Rows,
    columns: Columns,
    then: Then,
    turn: Value,
    room: Value,
) -> None:
    """Tiles of one shape, block after block. Deep panels are used on a group of rows part by part of k."""
    b, n, V = code.b, shape.rows, code.width
    tile = tiles.function(slots, shape)
    line = slots * shape.blocks * V
    depth = i64(max(16, _PART_BYTES * 8 // (max(line, 1) * code.number.bits) // 16 * 16))
    deep = b.icmp_signed(">", columns.K, depth)
    count = code.smaller(b.sdiv(b.sub(rows.last, rows.first), i64(n)), i64(_TILES))
    some_rows = b.select(deep, i64(_TILES * n), b.sub(rows.last, rows.first))
    some_outers = b.select(deep, b.sdiv(i64(_TILES), count), rows.outers)
    with (
        code.loop(i64(0), rows.outers, some_outers) as outer,
        code.loop(rows.first, rows.last, some_rows) as row,
        code.loop(columns.first, columns.last, i64(shape.blocks)) as done,
    ):
        mirrored = b.sub(b.sub(b.add(columns.first, columns.last), i64(shape.blocks)), done)
        block = b.select(b.trunc(turn, I1), mirrored, done)
        stride = b.mul(columns.K, i64(slots * V))
        panel = code.at(columns.panels, b.mul(block, stride))
        with (
            code.loop(i64(0), code.larger(columns.K, i64(1)), depth) as k,
            code.loop(outer, code.smaller(b.add(outer, some_outers), rows.outers), i64(1)) as o,
            code.loop(row, code.smaller(b.add(row, some_rows), rows.last), i64(n)) as r,
        ):
            stop = code.smaller(b.add(k, depth), columns.K)
            a = code.at(rows.a, b.add(b.mul(o, rows.outer_stride), b.mul(r, rows.row_stride)))
            index = b.add(b.mul(b.sub(o, outer), count), b.sdiv(b.sub(r, row), i64(n)))
            sums = code.at(room, b.mul(b.select(deep, index, i64(0)), i64(n * line)))
            b.call(tile, [sums, a, rows.row_stride, panel, stride, k, stop])
            with b.if_then(b.icmp_signed("==", stop, columns.K)):
                extent = [columns.units, o, r, i64(n), block, i64(shape.blocks)]
                b.call(then.function, [then.context, sums, *extent])


@final
@dataclass(frozen=True)
class Place:
    """Where an elementwise function stands: a row, the first of V units, the lanes that exist, the sums."""

    code: Code
    context: Value
    outer: Value
    row: Value
    unit: Value
    mask: Value | None
    sums: Value

    def sum(self, slot: int) -> Value:
        """The sums of a slot."""
        return self.code.load(self.code.at(self.sums, i64(slot * self.code.width)))


def elementwise_function(tiles: Tiles, name: str, slots: int, write: Callable[[Place], None]) -> Value:
    """The function that `matrix_phase` calls after a tile.

    It walks over the vectors of the tile; `write` writes what is done with one, once for a whole vector and
    once for the last units of a row under a mask.
    """
    kind = ir.FunctionType(VOID, [POINTER, POINTER, *[I64] * 6])
    function = ir.Function(tiles.module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    context, sums, units, outer, row, rows, block, blocks = function.args
    code = Code(function, tiles.number, tiles.width)
    b, V = code.b, code.width
    with code.loop(i64(0), rows, i64(1)) as r, code.loop(i64(0), blocks, i64(1)) as j:
        unit = b.mul(b.add(block, j), i64(V))
        left = b.sub(units, unit)
        here = code.at(sums, b.mul(b.add(b.mul(r, blocks), j), i64(slots * V)))
        with b.if_else(b.icmp_signed(">=", left, i64(V))) as (whole, ragged):
            with whole:
                write(Place(code, context, outer, b.add(row, r), unit, None, here))
            with ragged:
                write(Place(code, context, outer, b.add(row, r), unit, code.first(left), here))
    b.ret_void()
    return function


def pack(
    code: Code, panels: Value, weights: Value, blocks_of_rows: Sequence[int], K: Value, H: Value, blocks: Span
) -> None:
    """Some `blocks` of panels ``[blocks, K, slots, V]`` of ``weights [rows * H, K]``; slot g takes block of
    rows g."""
    b, V, slots = code.b, code.width, len(blocks_of_rows)
    square = _square_function(code)
    with code.loop(*blocks, i64(1)) as block:
        unit = b.mul(block, i64(V))
        panel = code.at(panels, b.mul(unit, b.mul(K, i64(slots))))
        for g, rows in enumerate(blocks_of_rows):
            row = code.at(weights, b.mul(K, b.add(b.mul(H, i64(rows)), unit)))
            with code.loop(i64(0), K, i64(V)) as k:
                to = code.at(panel, b.add(b.mul(k, i64(slots * V)), i64(g * V)))
                b.call(square, [to, i64(slots * V), code.at(row, k), K, b.sub(H, unit), b.sub(K, k)])


def _square_function(code: Code) -> Value:
    """``square(to, to_stride, rows, row_stride, units, ks)``: V rows of V numbers, transposed.

    Rows from `units` on are zeros; numbers from `ks` on are neither read nor written.
    """
    module = code.function.module
    known = module.globals.get("square")
    if known:
        return known
    function = ir.Function(module, ir.FunctionType(VOID, [POINTER, I64, POINTER, I64, I64, I64]), "square")
    function.linkage = "internal"
    function.attributes.add("noinline")
    to, to_stride, rows, row_stride, units, ks = function.args
    code = Code(function, code.number, code.width)
    b, mask, numbers = code.b, code.first(ks), []
    for n in range(code.width):
        there = b.icmp_signed("<", i64(n), units)
        row = code.at(rows, b.select(there, b.mul(row_stride, i64(n)), i64(0)))
        numbers.append(b.select(there, code.load(row, mask), code.constant(0)))
    for n, column in enumerate(_transposed(code, numbers)):
        with b.if_then(b.icmp_signed("<", i64(n), ks)):
            code.store(column, code.at(to, b.mul(to_stride, i64(n))))
    b.ret_void()
    return function


def _transposed(code: Code, rows: list[Value]) -> list[Value]:
    """A square of V vectors transposed: for each bit of the index, swap between rows and lanes."""
    V = code.width
    bit = 1
    while bit < V:
        for i in range(V):
            if not i & bit:
                a, c = rows[i], rows[i | bit]
                rows[i] = code.lanes(a, c, [V + (n ^ bit) if n & bit else n for n in range(V)])
                rows[i | bit] = code.lanes(a, c, [V + n if n & bit else n | bit for n in range(V)])
        bit *= 2
    return rows


def pack_transposed(
    code: Code, panels: Value, weights: Value, blocks_of_rows: Sequence[int], H: Value, N: Value, blocks: Span
) -> None:
    """Some `blocks` of panels ``[blocks, slots * H, V]`` over the columns of ``weights [rows * H, N]``, for
    products with what has the length of the rows; slot g takes block of rows g."""
    b, V, slots = code.b, code.width, len(blocks_of_rows)
    some = 16  # rows at a time: reads run along them, writes along the panels
    for g, rows in enumerate(blocks_of_rows):
        with (
            code.loop(i64(0), H, i64(some)) as first,
            code.loop(*blocks, i64(1)) as block,
        ):
            column = b.mul(block, i64(V))
            mask = code.first(code.smaller(b.sub(N, column), i64(V)))
            panel = code.at(panels, b.mul(column, b.mul(H, i64(slots))))
            with code.loop(first, code.smaller(H, b.add(first, i64(some))), i64(1)) as u:
                row = b.add(b.mul(H, i64(rows)), u)
                value = code.load(code.at(weights, b.add(b.mul(row, N), column)), mask)
                code.store(value, code.at(panel, b.mul(b.add(b.mul(H, i64(g)), u), i64(V))))
