"""Products of rows with packed weights, tile by tile, each followed by an elementwise function.

Tiles (see `tiles`) go over the rows for one block of units after another; the function then reads the sums of
the tile from the first-level cache. Panels that are too deep for the second-level cache are used in parts of
k, while the sums of up to `_TILES` tiles of rows stay in a buffer. The order of additions is always the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, final

from llvmlite import ir

from gatewise.compiler.emit.arguments import Arguments, Fields
from gatewise.compiler.emit.tiles import TILE, Shape, Tiles, even_rows, shape, sums_in, tallest
from gatewise.compiler.emit.vector import I1, I64, POINTER, VOID, Address, Code, Value, i64, internal_function

_PART_BYTES = 1 << 18  # the size of a part of a deep panel: a share of the second-level cache
_TILES = 32  # the most tiles of rows whose sums are buffered while a panel is used in parts
_FAR_BYTES = 6 << 20  # if all panels are larger than this, they are prefetched from memory


@final
@dataclass(frozen=True)
class Rows:
    """Rows to multiply: for each outer of `outers`, the rows first..last at `a` with these strides."""

    a: Value
    outer_stride: Value
    row_stride: Value
    outers: Value
    first: Value
    last: Value


@final
@dataclass(frozen=True)
class Start:
    """The initial values of the sums: ``[rows, slots, units]``, with strides for rows and slots."""

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
    """The function that is called with the sums of each tile, and its context."""

    function: Elementwise
    context: Value


# The arguments of the function that does the work of `matrix_phase`; there is one for each number of slots.
# `run` and `prefetch` are the functions of `Elementwise`.
_PHASE = Arguments(
    (
        *("a", "outer_stride", "row_stride", "outers", "first", "last", "start", "start_row", "start_slot"),
        *("panels", "stride", "K", "units", "first_block", "last_block"),
        *("run", "prefetch", "context", "turn"),
    )
)


def matrix_phase(
    code: Code, tiles: Tiles, slots: int, rows: Rows, start: Start, columns: Columns, then: Then, turn: Value
) -> None:
    """Add to `start` the products of `rows` with panels, tile by tile, and hand the sums of each to `then`.

    If `turn` is odd the blocks are taken from the last to the first. `turn` is the number of the step: each
    step begins with the panels that the step before left in the cache.
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
        run=Address(then.function.run), prefetch=Address(then.function.prefetch),
        context=then.context, turn=turn,
    )  # fmt: skip
    code.b.call(multiply, [phase.array])


# multiply(phase):
#
# for n, first, last in the rows divided evenly:             n rows a tile
#     blocks(tiles of n x several blocks, the blocks that several divides)
#     blocks(tiles of n x 1 block, the rest of the blocks)
def _write_multiply(tiles: Tiles, name: str, slots: int) -> Value:
    blocks_function = _write_blocks(tiles, f"blocks_{slots}", slots)
    function = internal_function(tiles.module, name, [POINTER])
    code = tiles.code(function)
    f, b = _PHASE.read(code, function.args[0]), code.b
    weights = max(slots, 1)
    room = code.room(code.number.type, code.width * max(weights, sums_in(tiles.registers)) * _TILES)
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
    """``blocks(phase, room, tile, rows, blocks, first, last, first_block, last_block)``, of any tile."""
    function = internal_function(tiles.module, name, [POINTER, POINTER, POINTER, *[I64] * 6])
    code = tiles.code(function)
    phase, *others = function.args
    _Blocks(code, _PHASE.read(code, phase), slots, *others).write()
    code.b.ret_void()
    return function


class _Division(NamedTuple):
    """The division of rows and panels into pieces that fit into the caches."""

    stride: Value  # from one panel to the next
    line: Value  # numbers in one row of sums of a tile
    depth: Value  # steps of k in a part of a panel
    deep: Value  # whether a panel has more than one part
    far: Value  # whether panels come from memory
    tiles: Value  # in a group, for one `outer`
    rows: Value  # in a group
    outers: Value  # in a group
    pace: Value  # elements of the next panel to prefetch for each k of a tile
    backwards: Value


class _Panel(NamedTuple):
    """The panels of the blocks of a tile."""

    block: Value
    at: Value
    unit: Value  # the first unit
    left: Value  # the number of units from there on
    following: Value  # the next panels, which are prefetched meanwhile


@dataclass(frozen=True)
class _Blocks:
    """Writes the body of the function `blocks`.

    ::

        for group in the rows:                               # all of them; with deep panels, as many as fit
            for block in range(first_block, last_block):     # backwards if `turn` is odd
                for k in range(0, K, depth):                 # once, if the panel is not deep
                    for tile in group:
                        is_last = k + depth >= K
                        if is_last and the panels are far: prefetch(context, tile)
                        before = start if k == 0 else sums[tile]
                        sums[tile] = before + a[tile, k:k+depth] @ panel[block, k:k+depth]
                        if is_last: run(context, sums[tile], tile)
    """

    code: Code
    f: Fields
    slots: int
    room: Value
    tile: Value
    rows: Value  # of a tile
    blocks: Value  # of a tile
    first: Value
    last: Value
    first_block: Value
    last_block: Value

    def write(self) -> None:
        code, b, f = self.code, self.code.b, self.f
        division, functions = self._divide()
        with (
            code.loop(i64(0), f["outers"], division.outers) as outer,
            code.loop(self.first, self.last, division.rows) as row,
            code.loop(self.first_block, self.last_block, self.blocks) as done,
        ):
            panel = self._panel(division, done)
            end = code.smaller(b.add(row, division.rows), self.last)
            count = b.sdiv(b.sub(end, row), self.rows)
            with (
                code.loop(i64(0), code.larger(f["K"], i64(1)), division.depth) as k,
                code.loop(outer, code.smaller(b.add(outer, division.outers), f["outers"]), i64(1)) as o,
                code.loop(i64(0), count, i64(1)) as number,
            ):
                r = b.add(row, b.mul(number, self.rows))
                index = b.add(b.mul(b.sub(o, outer), division.tiles), number)
                self._tile(division, functions, panel, k, o, r, index)

    def _divide(self) -> tuple[_Division, list[Value]]:
        """The division, and the functions to call before and after a tile."""
        code, b, f, slots = self.code, self.code.b, self.f, self.slots
        K, units, stride, outers = f["K"], f["units"], f["stride"], f["outers"]
        functions = [Address(f.pointer(name), _VISIT) for name in ("run", "prefetch")]
        line = b.mul(self.blocks, i64(slots * code.width))
        part = b.sdiv(i64(_PART_BYTES), code.larger(b.mul(line, i64(code.number.bytes)), i64(1)))
        depth = code.larger(i64(16), b.and_(part, i64(-16)))
        deep = b.icmp_signed(">", K, depth)
        far = b.icmp_signed(">", b.mul(K, units), i64(_FAR_BYTES // max(slots * code.number.bytes, 1)))
        tiles = code.smaller(b.sdiv(b.sub(self.last, self.first), self.rows), i64(_TILES))
        rows = b.select(deep, b.mul(self.rows, i64(_TILES)), b.sub(self.last, self.first))
        outers = b.select(deep, b.sdiv(i64(_TILES), code.larger(tiles, i64(1))), outers)
        share = b.sdiv(b.add(tiles, b.sub(line, i64(1))), code.larger(tiles, i64(1)))
        pace = b.select(far, share, i64(0))
        backwards = b.trunc(f["turn"], I1)
        return _Division(stride, line, depth, deep, far, tiles, rows, outers, pace, backwards), functions

    def _panel(self, division: _Division, done: Value) -> _Panel:
        code, b, f, stride = self.code, self.code.b, self.f, division.stride
        mirrored = b.sub(b.sub(b.add(self.first_block, self.last_block), self.blocks), done)
        block = b.select(division.backwards, mirrored, done)
        at = code.at(f.pointer("panels"), b.mul(block, stride))
        size = b.mul(stride, self.blocks)
        unit = b.mul(block, i64(code.width))
        left = b.sub(f["units"], unit)
        # Without a next panel the current one is prefetched again: a bad address would cost a page walk.
        more = b.icmp_signed("<", b.add(done, self.blocks), self.last_block)
        away = b.select(division.backwards, b.neg(size), size)
        following = code.at(at, b.select(b.and_(division.far, more), away, i64(0)))
        return _Panel(block, at, unit, left, following)

    def _tile(
        self, division: _Division, functions: list[Value], panel: _Panel,
        k: Value, outer: Value, row: Value, index: Value,
    ) -> None:  # fmt: skip
        """One tile, whose sums are number `index` of those kept, and the part of its panel from k on."""
        code, b, f, V, line = self.code, self.code.b, self.f, self.code.width, division.line
        run, prefetch = functions
        extent = [f["units"], outer, row, self.rows, panel.block, self.blocks]
        stop = code.smaller(b.add(k, division.depth), f["K"])
        is_last = b.icmp_signed("==", stop, f["K"])
        with b.if_then(b.and_(division.far, is_last)):
            b.call(prefetch, [f.pointer("context"), self.room, *extent])
        at_row = b.add(b.mul(outer, f["outer_stride"]), b.mul(row, f["row_stride"]))
        a = code.at(f.pointer("a"), at_row)
        place = b.mul(b.select(division.deep, index, i64(0)), b.mul(self.rows, line))
        sums = code.at(self.room, place)
        ahead = code.at(panel.following, b.mul(b.mul(index, f["K"]), division.pace))
        is_first = b.icmp_signed("==", k, i64(0))
        begin = code.at(f.pointer("start"), b.add(b.mul(row, f["start_row"]), panel.unit))
        start = [
            b.select(is_first, begin, sums),
            b.select(is_first, f["start_row"], line),
            b.select(is_first, i64(V), i64(self.slots * V)),
            b.select(is_first, f["start_slot"], i64(V)),
            panel.left,
        ]
        weights = [panel.at, division.stride, k, stop, ahead, division.pace]
        b.call(Address(self.tile, TILE), [sums, *start, a, f["row_stride"], *weights])
        with b.if_then(is_last):
            b.call(run, [f.pointer("context"), sums, *extent])


# The arguments of an elementwise function: context, sums, units, outer, row, rows, block, blocks.
_VISIT = ir.FunctionType(VOID, [POINTER, POINTER, *[I64] * 6])


@final
@dataclass(frozen=True)
class Place:
    """The V units of one row that an elementwise function works on, and their sums.

    `mask` tells which of the V lanes exist; None: all of them.
    """

    code: Code
    context: Value
    outer: Value
    row: Value
    unit: Value  # the first one
    units: Value  # of the row
    mask: Value | None
    sums: Value

    def sum(self, slot: int) -> Value:
        """The sums of a slot."""
        return self.code.load(self.code.at(self.sums, i64(slot * self.code.width)))


class Arithmetic(Protocol):
    """What follows a product, on one vector of units at a time."""

    def write(self, place: Place) -> None:
        """Write the instructions."""

    def touched(self, place: Place) -> Iterable[Value]:
        """The addresses that these instructions read or write."""


@final
@dataclass(frozen=True)
class Elementwise:
    """The functions that a product calls for each tile: `prefetch` before the last sums, `run` after them."""

    run: Value
    prefetch: Value


def elementwise_function(tiles: Tiles, name: str, slots: int, arithmetic: Arithmetic) -> Elementwise:
    """The functions for tiles with this number of slots."""

    def run(place: Place) -> None:
        b = place.code.b
        left = b.sub(place.units, place.unit)
        with b.if_else(b.icmp_signed(">=", left, i64(place.code.width))) as (whole, ragged):
            with whole:
                arithmetic.write(place)
            with ragged:
                arithmetic.write(replace(place, mask=place.code.first(left)))

    def prefetch(place: Place) -> None:
        for address in arithmetic.touched(place):
            place.code.prefetch(address, write=True)

    return Elementwise(_walk(tiles, name, slots, run), _walk(tiles, f"{name}_send_for", slots, prefetch))


# walk(context, sums, units, outer, row, rows, block, blocks):
#
# for r in range(rows):
#     for j in range(blocks):
#         visit(row + r, units of block + j)
def _walk(tiles: Tiles, name: str, slots: int, visit: Callable[[Place], None]) -> Value:
    function = internal_function(tiles.module, name, _VISIT.args)
    context, sums, units, outer, row, rows, block, blocks = function.args
    code = tiles.code(function)
    b, V = code.b, code.width
    with code.loop(i64(0), rows, i64(1)) as r, code.loop(i64(0), blocks, i64(1)) as j:
        here = code.at(sums, b.mul(b.add(b.mul(r, blocks), j), i64(slots * V)))
        unit = b.mul(b.add(block, j), i64(V))
        visit(Place(code, context, outer, b.add(row, r), unit, units, None, here))
    b.ret_void()
    return function
