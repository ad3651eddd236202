"""The kernel of weight gradients: sums over all steps and rows of outer products.

``c[n, m] += sum over t, b of a[t, b, n] * met[t, b, m]``, for ``N`` columns of a (the derivatives) and ``M``
of what they met, on two sides at once, since both read the same derivatives: the input (``ih``) and the state
that entered the step (``hh``). A side without columns is left out. For each element the sum of a chunk of
steps and rows is one chain of `fma`, over steps and within a step over rows, and is then added to c: neither
the tiles, nor the blocks of columns, nor the threads, which share out the columns of a, change a bit of it.
With ``sum`` the columns of a are added up in the same way, ``sum[n] += sum over t, b of a[t, b, n]``: the
gradients of biases.

It does not depend on the cell. Strides are in elements; the last axes are contiguous, the rows of c too. What
was met at step 0 is at `first`, if that is given: states enter it from elsewhere. Or ``rows [T * B]`` are the
addresses of what was met, row by row.
"""

from __future__ import annotations

from typing import NamedTuple

from gatewise.compiler.emit import entry
from gatewise.compiler.emit.arguments import Arguments, Fields
from gatewise.compiler.emit.matrix import Shape, Tiles, even_rows, shape, tallest
from gatewise.compiler.emit.vector import I64, POINTER, Code, Number, Value, i64, internal_function

_SIDES = ("ih", "hh")
_OF_A_SIDE = ("M", "met", "met.t", "met.b", "first", "first.b", "rows", "c")
ARGUMENTS = Arguments(
    (
        *(*entry.FIELDS, "T", "B", "N", "a", "a.t", "a.b", "chunk", "sum"),
        *(f"{name}_{side}" for side in _SIDES for name in _OF_A_SIDE),
    )
)
_ROWS = 256  # steps x rows whose products are summed before the next columns
_COLUMNS = 96  # of a that go with them
_PACK_FROM = 512  # columns of x from which it pays to lay those of a out anew
_SIDE_BY_SIDE = 6  # vectors of columns of a that are added up at a time


def chunk(rows: int) -> int:
    """How many steps of so many rows are summed at a time: what the kernel has room for."""
    return max(1, _ROWS // max(rows, 1))


def write(number: Number, width: int, registers: int) -> str:
    """The module as LLVM text."""
    tiles = Tiles("outer", number, width, registers)

    def columns(code: Code, f: Fields, _: Value, work: entry.Work) -> None:
        _columns(tiles, code, f, *work.rows)

    entry.write_entries(tiles, ARGUMENTS, lambda code, f, share: None, columns, split="N")
    return str(tiles.module)


def _columns(tiles: Tiles, code: Code, f: Fields, first: Value, last: Value) -> None:
    """Columns first..last of a, in chunks of steps and rows, blocks of columns of a and of x, and tiles.

    Where the block of a is used often it is packed first, ``[tile, step and row, column]``: rows of a are far
    apart, by a power of two as a rule, and would share few places in the cache.
    """
    b, most = code.b, tallest(1, tiles.registers)
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

        # First, as it reads whole rows of the block: tiles, which read pieces of them, then find them near.
        with b.if_then(b.icmp_signed("!=", f["sum"], i64(0))):
            add_up = tiles.module.globals.get("add_up") or _write_add_up(tiles)
            to = code.at(f.pointer("sum"), n)
            b.call(add_up, [to, code.at(a, n), b.sub(end, n), steps, rows, f["a.t"], f["a.b"]])

        def own(column: Value, n: Value = n, steps: Value = steps, rows: Value = rows) -> Value:
            return code.at(packed, b.mul(b.sub(column, n), b.mul(steps, rows)))

        with b.if_then(packs):
            for height, start, stop in even_rows(code, most, n, end):
                with code.loop(start, stop, i64(height)) as column:
                    _pack(code, own(column), code.at(a, column), height, steps, rows, f)
        with code.loop(i64(0), i64(len(_SIDES)), i64(1)) as side:
            met = _met(code, f, side, t, row)

            def tiles_over(m: Value, blocks: int, masked: bool) -> None:
                for height, start, stop in even_rows(code, most, n, end):
                    tile = _tile(tiles, Shape(height, blocks), masked)
                    a_b = b.select(packs, i64(height), f["a.b"])
                    a_t = b.select(packs, b.mul(rows, i64(height)), f["a.t"])
                    with code.loop(start, stop, i64(height)) as column:
                        c = code.at(met.c, b.add(b.mul(column, met.M), m))
                        b.call(tile, [
                            c, met.M, b.select(packs, own(column), code.at(a, column)),
                            met.first, met.first_b, met.steps, met.t, met.b, met.rows,
                            m, b.sub(met.M, m), steps, rows, a_t, a_b,
                        ])  # fmt: skip

            blocks = shape(1, tiles.registers, most).blocks
            whole = b.sub(met.M, b.srem(met.M, i64(code.width * blocks)))
            with code.loop(i64(0), whole, i64(code.width * blocks)) as m:
                tiles_over(m, blocks, masked=False)
            with code.loop(whole, met.M, i64(code.width)) as m:
                tiles_over(m, 1, masked=True)


class _Met(NamedTuple):
    """What the derivatives met on one side, from some step and row on."""

    M: Value
    steps: Value
    t: Value
    b: Value
    first: Value  # the first of these steps
    first_b: Value
    rows: Value  # the table of their addresses, or null
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


def _pack(code: Code, to: Value, a: Value, height: int, steps: Value, rows: Value, f: Fields) -> None:
    b = code.b
    with code.loop(i64(0), steps, i64(1)) as t, code.loop(i64(0), rows, i64(1)) as row:
        there = code.at(a, b.add(b.mul(t, f["a.t"]), b.mul(row, f["a.b"])))
        here = code.at(to, b.mul(b.add(b.mul(t, rows), row), i64(height)))
        for column in range(height):
            b.store(code.scalar(there, i64(column)), code.at(here, i64(column)), align=code.number.bytes)


def _write_add_up(tiles: Tiles) -> Value:
    """``add_up(to, a, columns, steps, rows, a_t, a_b)``."""
    function = internal_function(tiles.module, "add_up", [POINTER, POINTER, *[I64] * 5])
    to, a, columns, steps, rows, a_t, a_b = function.args
    code = Code(function, tiles.number, tiles.width)
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
            code.store(b.fadd(code.load(at, mask), b.load(total, typ=code.vector)), at, mask)
    b.ret_void()
    return function


def _tile(tiles: Tiles, shape: Shape, masked: bool) -> Value:
    name = f"outer_{shape.rows}_{shape.blocks}{'_masked' if masked else ''}"
    known = tiles.module.globals.get(name)
    return known or _write_tile(tiles, name, shape, masked)


def _write_tile(tiles: Tiles, name: str, shape: Shape, masked: bool) -> Value:
    """``tile(c, c_n, a, first, first_b, x, x_t, x_b, table, m, left, steps, rows, a_t, a_b)``: c is read once
    and written once; of x the columns from m on; its first step lies apart, or all rows where `table` says.

    It is sent for at the start, to be there at the end: where c is large, waiting for it took a sixth of the
    time.
    """
    arguments = [POINTER, I64, POINTER, POINTER, I64, POINTER, *[I64] * 9]
    function = internal_function(tiles.module, name, arguments)
    c, c_n, a, first, first_b, x, x_t, x_b, table, m, left, steps, rows, a_t, a_b = function.args
    code = Code(function, tiles.number, tiles.width)
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
        code.store(b.fadd(sum_before, b.load(total[place], typ=code.vector)), at[place], mask)
    b.ret_void()
    return function
