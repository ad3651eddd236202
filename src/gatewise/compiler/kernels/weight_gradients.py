"""The kernel of weight gradients: sums over all steps and rows of outer products.

``c[n, m] += sum over t, b of a[t, b, n] * met[t, b, m]``: the N columns of a are derivatives by slots, the M
columns of met are what the weights multiplied. There are two sides, which read the same derivatives: the
input (``ih``) and the state before the step (``hh``). A side with M = 0 is left out. With ``sum``, ``sum[n]
+= sum over t, b of a[t, b, n]``: the gradients of biases.

For each element the sum over a chunk of steps and rows is one chain of `fma`, over steps and within a step
over rows, and is then added to c. Tiles, blocks of columns and threads (which divide the columns of a) change
no bit.

The kernel does not depend on the cell. Strides are in elements; the last axes are contiguous, and so are the
rows of c. If `first` is given, step 0 of met lies there: initial states are an array of their own. If ``rows
[T * B]`` is given, it has the address of each row of met.
"""

from __future__ import annotations

from typing import NamedTuple, final

from gatewise.compiler.emit import entry
from gatewise.compiler.emit.arguments import Arguments, Fields
from gatewise.compiler.emit.number import Number
from gatewise.compiler.emit.target import Target
from gatewise.compiler.emit.tiles import Shape, Tiles, even_rows, shape, tallest
from gatewise.compiler.emit.vector import I64, POINTER, Code, Value, i64, internal_function

_SIDES = ("ih", "hh")
_OF_A_SIDE = ("M", "met", "met.t", "met.b", "first", "first.b", "rows", "c")
ARGUMENTS = Arguments(
    (
        *(*entry.FIELDS, "T", "B", "N", "a", "a.t", "a.b", "chunk", "sum"),
        *(f"{name}_{side}" for side in _SIDES for name in _OF_A_SIDE),
    )
)
_ROWS = 256  # steps x rows that are summed before the next columns
_COLUMNS = 96  # of a in a block
_PACK_FROM = 512  # columns of met above which packing a block of a pays
_SIDE_BY_SIDE = 6  # vectors of columns of a that are added up at the same time


def chunk(rows: int) -> int:
    """The number of steps of this number of rows that are summed at a time."""
    return max(1, _ROWS // max(rows, 1))


@final
class WeightGradientKernel:
    """The kernel of weight gradients, the same for all cells.

    Attributes:
        arguments: the fields of a call.
        key: empty, because there is only one such kernel.
    """

    arguments = ARGUMENTS
    key = ""

    def write(self, number: Number, target: Target) -> str:
        """The module as LLVM text."""
        tiles = Tiles("outer", number, target)
        entry.write_entries(tiles, ARGUMENTS, _Body(tiles), rows="N")
        return str(tiles.module)


class _Block(NamedTuple):
    """Some steps, rows and columns of a.

    With `packs`, its columns are packed for the tiles at `packed`, ``[tile, step and row, column]``. In a,
    rows are far apart, often by a power of two, so they would compete for a few lines of the cache.
    """

    a: Value
    n: Value  # the first column
    end: Value  # the one after the last
    steps: Value
    rows: Value
    packs: Value
    packed: Value

    def own(self, code: Code, column: Value) -> Value:
        """The address of a packed column."""
        b = code.b
        return code.at(self.packed, b.mul(b.sub(column, self.n), b.mul(self.steps, self.rows)))


@final
class _Body:
    """What `entry.write_entries` asks for: there are no weights to pack, and rows are the columns of a."""

    def __init__(self, tiles: Tiles) -> None:
        self.tiles = tiles
        self.most = tallest(1, tiles.registers)  # columns of a in a tile

    def pack(self, code: Code, f: Fields, share: entry.Share) -> None:
        """Write nothing."""

    # for t in range(0, T, chunk):
    #     for row in range(0, B, _ROWS):
    #         for n in range(first, last, _COLUMNS):                   a block: steps, rows, columns of a
    #             if sum:   sum[n:] += a[t:, row:, n:] over steps and rows
    #             if packs: packed = the block
    #             for side in (ih, hh):
    #                 for m in the columns of what was met, some vectors at a time:
    #                     for column in the block, a tile at a time:
    #                         c[column:, m:] += a[:, :, column:]^T @ met[:, :, m:]
    def walk(self, code: Code, f: Fields, array: Value, work: entry.Work) -> None:
        """Some columns of a."""
        b, (first, last) = code.b, work.rows
        packed = code.room(code.number.type, _ROWS * _COLUMNS)
        packs = b.icmp_signed(">=", b.add(f["M_ih"], f["M_hh"]), i64(_PACK_FROM))
        with (
            code.loop(i64(0), f["T"], f["chunk"]) as t,
            code.loop(i64(0), f["B"], i64(_ROWS)) as row,
            code.loop(first, last, i64(_COLUMNS)) as n,
        ):
            end = code.smaller(b.add(n, i64(_COLUMNS)), last)
            steps = code.smaller(f["chunk"], b.sub(f["T"], t))
            rows = code.smaller(i64(_ROWS), b.sub(f["B"], row))
            a = code.at(f.pointer("a"), b.add(b.mul(t, f["a.t"]), b.mul(row, f["a.b"])))
            block = _Block(a, n, end, steps, rows, packs, packed)
            # This comes first, because it reads whole rows of the block into the cache, for the tiles.
            self._add_up(code, f, block)
            with b.if_then(packs):
                for height, start, stop in even_rows(code, self.most, n, end):
                    with code.loop(start, stop, i64(height)) as column:
                        _pack(code, block.own(code, column), code.at(a, column), height, block, f)
            with code.loop(i64(0), i64(len(_SIDES)), i64(1)) as side:
                self._side(code, f, block, _met(code, f, side, t, row))

    def _add_up(self, code: Code, f: Fields, block: _Block) -> None:
        """Add the columns of the block to ``sum``, if it is given."""
        b = code.b
        with b.if_then(b.icmp_signed("!=", f["sum"], i64(0))):
            add_up = self.tiles.module.globals.get("add_up") or _write_add_up(self.tiles)
            to, a = code.at(f.pointer("sum"), block.n), code.at(block.a, block.n)
            columns = b.sub(block.end, block.n)
            b.call(add_up, [to, a, columns, block.steps, block.rows, f["a.t"], f["a.b"]])

    def _side(self, code: Code, f: Fields, block: _Block, met: _Met) -> None:
        """The products of the block with all that was met on one side; its last vectors are masked."""
        b, V = code.b, code.width
        blocks = shape(1, self.tiles.registers, self.most).blocks
        whole = b.sub(met.M, b.srem(met.M, i64(V * blocks)))
        with code.loop(i64(0), whole, i64(V * blocks)) as m:
            self._tiles(code, f, block, met, m, blocks, masked=False)
        with code.loop(whole, met.M, i64(V)) as m:
            self._tiles(code, f, block, met, m, 1, masked=True)

    def _tiles(
        self, code: Code, f: Fields, block: _Block, met: _Met, m: Value, blocks: int, masked: bool
    ) -> None:
        """The products of the block with some vectors of what was met, from column m on."""
        b = code.b
        for height, start, stop in even_rows(code, self.most, block.n, block.end):
            tile = _tile(self.tiles, Shape(height, blocks), masked)
            a_b = b.select(block.packs, i64(height), f["a.b"])
            a_t = b.select(block.packs, b.mul(block.rows, i64(height)), f["a.t"])
            with code.loop(start, stop, i64(height)) as column:
                c = code.at(met.c, b.add(b.mul(column, met.M), m))
                a = b.select(block.packs, block.own(code, column), code.at(block.a, column))
                b.call(tile, [
                    c, met.M, a, met.first, met.first_b, met.steps, met.t, met.b, met.rows,
                    m, b.sub(met.M, m), block.steps, block.rows, a_t, a_b,
                ])  # fmt: skip


class _Met(NamedTuple):
    """What the weights of one side multiplied, from a step and a row on."""

    M: Value
    steps: Value
    t: Value
    b: Value
    first: Value  # its first step, which may be in another array
    first_b: Value
    rows: Value  # the table of addresses of rows, or null
    c: Value


def _met(code: Code, f: Fields, side: Value, t: Value, row: Value) -> _Met:
    b = code.b
    is_input = b.icmp_signed("==", side, i64(0))
    M, met, met_t, met_b, first, first_b, table, c = (
        b.select(is_input, *(f[f"{name}_{side}"] for side in _SIDES)) for name in _OF_A_SIDE
    )
    steps = code.at(b.inttoptr(met, POINTER), b.add(b.mul(t, met_t), b.mul(row, met_b)))
    apart = b.and_(b.icmp_signed("!=", first, i64(0)), b.icmp_signed("==", t, i64(0)))
    elsewhere = code.at(b.inttoptr(first, POINTER), b.mul(row, first_b))
    start, start_b = b.select(apart, elsewhere, steps), b.select(apart, first_b, met_b)
    place = b.mul(b.add(b.mul(t, f["B"]), row), i64(8))
    rows = b.select(b.icmp_signed("!=", table, i64(0)), b.add(table, place), i64(0))
    return _Met(M, steps, met_t, met_b, start, start_b, rows, b.inttoptr(c, POINTER))


def _pack(code: Code, to: Value, a: Value, height: int, block: _Block, f: Fields) -> None:
    """Copy `height` columns of a, all steps and rows of a block: ``to[step, row, column]``."""
    b = code.b
    with code.loop(i64(0), block.steps, i64(1)) as t, code.loop(i64(0), block.rows, i64(1)) as row:
        there = code.at(a, b.add(b.mul(t, f["a.t"]), b.mul(row, f["a.b"])))
        here = code.at(to, b.mul(b.add(b.mul(t, block.rows), row), i64(height)))
        for column in range(height):
            b.store(code.scalar(there, i64(column)), code.at(here, i64(column)), align=code.number.bytes)


def _added(code: Code, before: Value, total: Value) -> Value:
    """The sum of a vector and of one on the stack."""
    more = code.flushed(code.b.load(total, typ=code.vector))
    return code.flushed(code.b.fadd(before, more))


def _write_add_up(tiles: Tiles) -> Value:
    """``add_up(to, a, columns, steps, rows, a_t, a_b)``: ``to[n] += sum of a[t, row, n]``."""
    function = internal_function(tiles.module, "add_up", [POINTER, POINTER, *[I64] * 5])
    to, a, columns, steps, rows, a_t, a_b = function.args
    code = tiles.code(function)
    b, V = code.b, code.width
    totals = [code.room(code.vector) for _ in range(_SIDE_BY_SIDE)]  # promoted to registers
    with code.loop(i64(0), columns, i64(V * _SIDE_BY_SIDE)) as first:
        units = [b.add(first, i64(j * V)) for j in range(_SIDE_BY_SIDE)]
        masks = [code.first(b.sub(columns, unit)) for unit in units]
        for total in totals:
            b.store(code.constant(0), total)
        with code.loop(i64(0), steps, i64(1)) as t, code.loop(i64(0), rows, i64(1)) as row:
            here = code.at(a, b.add(b.mul(t, a_t), b.mul(row, a_b)))
            for unit, mask, total in zip(units, masks, totals, strict=True):
                value = code.load(code.at(here, unit), mask)
                b.store(b.fadd(b.load(total, typ=code.vector), value), total)
        for unit, mask, total in zip(units, masks, totals, strict=True):
            at = code.at(to, unit)
            code.store(_added(code, code.load(at, mask), total), at, mask)
    b.ret_void()
    return function


def _tile(tiles: Tiles, shape: Shape, masked: bool) -> Value:
    name = f"outer_{shape.rows}_{shape.blocks}{'_masked' if masked else ''}"
    known = tiles.module.globals.get(name)
    return known or _write_tile(tiles, name, shape, masked)


def _write_tile(tiles: Tiles, name: str, shape: Shape, masked: bool) -> Value:
    """``tile(c, c_n, a, first, first_b, x, x_t, x_b, table, m, left, steps, rows, a_t, a_b)``.

    ::

        prefetch c                              # where c is large, waiting for it took a sixth of the time
        total = 0
        for t in range(steps):
            for row in range(rows):
                x_here = *table++ if there is a table, else first[row] at t = 0, else x[t, row]
                total[r, j] += a[t, row, r] * x_here[m + j]         # r columns of a, j vectors, in registers
        c[r, j] += total[r, j]
    """
    arguments = [POINTER, I64, POINTER, POINTER, I64, POINTER, *[I64] * 9]
    function = internal_function(tiles.module, name, arguments)
    c, c_n, a, first, first_b, x, x_t, x_b, table, m, left, steps, rows, a_t, a_b = function.args
    code = tiles.code(function)
    b, V = code.b, code.width
    mask = code.first(left) if masked else None
    places = [(r, j) for r in range(shape.rows) for j in range(shape.blocks)]
    total = {place: code.room(code.vector) for place in places}  # promoted to registers
    at = {(r, j): code.at(c, b.add(b.mul(c_n, i64(r)), i64(j * V))) for r, j in places}
    for place in places:
        code.prefetch(at[place], write=True)
        b.store(code.constant(0), total[place])
    looks_up, nowhere = b.icmp_signed("!=", table, i64(0)), b.ptrtoint(a, I64)
    with code.loop(i64(0), steps, i64(1)) as t:
        is_first = b.icmp_signed("==", t, i64(0))
        a_row, x_row = code.at(a, b.mul(t, a_t)), b.select(is_first, first, code.at(x, b.mul(t, x_t)))
        x_stride = b.select(is_first, first_b, x_b)
        with code.loop(i64(0), rows, i64(1)) as row:
            entry = b.add(table, b.mul(b.add(b.mul(t, rows), row), i64(8)))
            by_table = b.load(b.inttoptr(b.select(looks_up, entry, nowhere), POINTER), typ=I64)
            by_stride = b.ptrtoint(code.at(x_row, b.mul(row, x_stride)), I64)
            x_here = code.at(b.inttoptr(b.select(looks_up, by_table, by_stride), POINTER), m)
            a_here = code.at(a_row, b.mul(row, a_b))
            numbers = [code.splat(code.scalar(a_here, i64(r))) for r in range(shape.rows)]
            for j in range(shape.blocks):
                values = code.load(code.at(x_here, i64(j * V)), mask)
                for r in range(shape.rows):
                    place = total[r, j]
                    b.store(code.fma(numbers[r], values, b.load(place, typ=code.vector)), place)
    for place in places:
        sum_before = code.load(at[place], mask)
        code.store(_added(code, sum_before, total[place]), at[place], mask)
    b.ret_void()
    return function
