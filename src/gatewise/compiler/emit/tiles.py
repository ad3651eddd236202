"""Register tiles: the innermost loop of every product with weights.

Weights are packed in *panels*: for each block of V units, for each k, the weights of all slots of these units
side by side, ``[blocks, K, slots, V]``, padded with zeros. A *tile* multiplies a few rows by a few blocks.
Its sums stay in registers while k runs, and end in a small buffer ``[rows, blocks, slots, V]`` in the first
cache.

Every sum is one chain of `fma` over k, from first to last, whatever the shape of the tile: the bits of a row
depend neither on the rows beside it nor on V.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from llvmlite import ir

from gatewise.compiler.emit.number import Number
from gatewise.compiler.emit.target import Target
from gatewise.compiler.emit.vector import I64, POINTER, VOID, Code, Value, i64, internal_function


@final
@dataclass(frozen=True)
class Shape:
    """The shape of a register tile: rows x blocks of V units."""

    rows: int
    blocks: int


def tallest(slots: int, registers: int) -> int:
    """The most rows that a tile has."""
    return max(1, sums_in(registers) // (slots * -(-4 // slots)))


def shape(slots: int, registers: int, rows: int) -> Shape:
    """The tile for this number of rows. Few rows take more blocks: enough independent sums are in flight."""
    return Shape(rows, max(1, min(4, sums_in(registers) // (slots * rows))))


def sums_in(registers: int) -> int:
    """The number of vectors of sums: three quarters of the registers; the rest holds weights and inputs."""
    return registers * 3 // 4


def even_rows(code: Code, most: int, first: Value, last: Value) -> Iterator[tuple[int, Value, Value]]:
    """Divide the rows first..last among as few tiles as possible, as evenly as possible.

    Yields ``(rows, start, stop)`` for every height from `most` down to 1: the caller writes the loop over the
    tiles of that height, from start to stop. At run time at most two of the loops have any work.

    ::

        count  = ceil((last - first) / most)              # tiles
        small  = (last - first) / count                   # rows of each; some have one more
        taller = (last - first) % count                   # the number of these
    """
    b = code.b
    n = b.sub(last, first)
    count = b.sdiv(b.add(n, i64(most - 1)), i64(most))
    small = b.sdiv(n, b.select(b.icmp_signed("==", count, i64(0)), i64(1), count))
    taller = b.sub(n, b.mul(small, count))
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
    """The number of vectors that hold this number of units."""
    return code.b.sdiv(code.b.add(units, i64(code.width - 1)), i64(code.width))


def padded(code: Code, units: Value) -> Value:
    """A number of units rounded up to whole vectors."""
    return code.b.and_(code.b.add(units, i64(code.width - 1)), i64(-code.width))


# The arguments of a tile function (see `Tiles.function`).
TILE = ir.FunctionType(
    VOID, [POINTER, POINTER, *[I64] * 4, POINTER, I64, POINTER, I64, I64, I64, POINTER, I64]
)


@final
class Tiles:
    """The module that is written, with one tile function for each shape, written when first asked for."""

    def __init__(self, name: str, number: Number, target: Target) -> None:
        self.module = ir.Module(name)
        self.module.triple = target.triple
        self.number = number
        self.target = target
        self.width = target.width(number)
        self.registers = target.registers

    def code(self, function: ir.Function) -> Code:
        """A writer for the body of a function of this module."""
        return Code(function, self.number, self.target)

    def function(self, slots: int, shape: Shape) -> Value:
        """The function for tiles of a shape: ``sums = start + a[:, k:K] @ panels[k:K]``.

        ``tile(sums, start, by_row, by_block, by_slot, units, a, a_stride, panel, panel_stride, k, K, ahead,
        pace)``. `start` has a stride for each axis; of each slot its first `units` exist. `a` is ``[rows,
        K]`` with the given stride. The panels of the blocks lie `panel_stride` apart. For each k, `pace`
        elements from `ahead` on are prefetched.
        """
        name = f"tile_{slots}_{shape.rows}_{shape.blocks}"
        known = self.module.globals.get(name)
        return known or self._write(name, slots, shape)

    # for r, j, g:  total[r, j, g] = start[r, j, g]           r rows, j blocks, g slots: all in registers
    # for k in range(first, K):                               unrolled twice
    #     prefetch ahead[k * pace]
    #     for j, g:
    #         weights = panels[j][k, g]                        one vector
    #         for r:  total[r, j, g] += a[r, k] * weights
    # sums[:] = flushed(total)
    def _write(self, name: str, slots: int, shape: Shape) -> Value:
        function = internal_function(self.module, name, TILE.args)
        sums, start, by_row, by_block, by_slot, units, a, stride, panel, panel_stride, *others = function.args
        first, K, ahead, pace = others
        code = self.code(function)
        b, V = code.b, self.width
        places = [(r, j, g) for r in range(shape.rows) for j in range(shape.blocks) for g in range(slots)]
        total = {place: code.room(code.vector) for place in places}  # LLVM promotes them to registers
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
            code.store(code.flushed(b.load(total[place], typ=code.vector)), code.at(sums, i64(n * V)))
        b.ret_void()
        return function
