"""Copies before products: weights are packed into panels (see `tiles`), and rows are copied side by side."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from gatewise.compiler.emit.matrix import Rows
from gatewise.compiler.emit.tiles import Span
from gatewise.compiler.emit.vector import I64, POINTER, Code, Value, i64, internal_function

NOWHERE = ir.Constant(POINTER, None)


def pack(
    code: Code,
    panels: Value,
    stride: Value,
    weights: Value,
    blocks_of_rows: Sequence[int],
    K: Value,
    H: Value,
    blocks: Span,
) -> None:
    """Write panels ``[K, slots, V]``, `stride` apart, for some blocks of units of ``weights [rows * H, K]``.

    Slot g gets the rows ``blocks_of_rows[g] * H`` on. ::

        for block in blocks:
            for g, rows in enumerate(blocks_of_rows):
                for k in range(0, K, V):
                    # a square of V x V numbers
                    panels[block][k:k+V, g, :] = weights[rows * H + block * V:, k:k+V]^T
    """
    b, V, slots = code.b, code.width, len(blocks_of_rows)
    square = _square_function(code)
    with code.loop(*blocks, i64(1)) as block:
        unit = b.mul(block, i64(V))
        panel = code.at(panels, b.mul(block, stride))
        for g, rows in enumerate(blocks_of_rows):
            row = code.at(weights, b.mul(K, b.add(b.mul(H, i64(rows)), unit)))
            with code.loop(i64(0), K, i64(V)) as k:
                to = code.at(panel, b.add(b.mul(k, i64(slots * V)), i64(g * V)))
                b.call(square, [to, i64(slots * V), code.at(row, k), K, b.sub(H, unit), b.sub(K, k)])


def _square_function(code: Code) -> Value:
    """``square(to, to_stride, rows, row_stride, units, ks)``: transpose V rows of V numbers.

    Rows from `units` on count as zeros; columns from `ks` on are neither read nor written.
    """
    module = code.function.module
    known = module.globals.get("square")
    if known:
        return known
    function = internal_function(module, "square", [POINTER, I64, POINTER, I64, I64, I64])
    to, to_stride, rows, row_stride, units, ks = function.args
    code = Code(function, code.number, code.target)
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
    """The transpose of V vectors: for each bit of the index, rows and lanes are swapped."""
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
    """Write panels ``[blocks, slots * H, V]`` over some blocks of columns of ``weights [rows * H, N]``.

    They are panels of the transposed matrix, for products with vectors of ``slots * H`` numbers. Slot g gets
    the rows ``blocks_of_rows[g] * H`` on. ::

        for g, rows in enumerate(blocks_of_rows):
            for u in range(H):
                for block in blocks:
                    panels[block][g * H + u, :] = weights[rows * H + u, block * V : block * V + V]
    """
    b, V, slots = code.b, code.width, len(blocks_of_rows)
    some = 16  # rows at a time: reads are contiguous along a row, writes along a panel
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


def copy_rows(
    code: Code, to: Value, to_stride: Value, rows: Rows, numbers: Value,
    to_by: Value = NOWHERE, rows_by: Value = NOWHERE,
) -> None:  # fmt: skip
    """Copy the first `numbers` numbers of each row to rows that are `to_stride` apart.

    Row r is read from row ``rows_by[r]`` and written to row ``to_by[r]``, if these tables (int64) are given.
    ::

        for r in range(first, last):  to[to_by[r], :numbers] = rows[rows_by[r], :numbers]
    """
    module = code.function.module
    copy = module.globals.get("copy_rows") or _write_copy_rows(code)
    code.b.call(
        copy, [to, to_stride, to_by, rows.a, rows.row_stride, rows_by, numbers, rows.first, rows.last]
    )


def _write_copy_rows(code: Code) -> Value:
    kinds = [POINTER, I64, POINTER, POINTER, I64, POINTER, *[I64] * 3]
    function = internal_function(code.function.module, "copy_rows", kinds)
    to, to_stride, to_by, rows, stride, rows_by, numbers, first, last = function.args
    code = Code(function, code.number, code.target)
    b, V = code.b, code.width
    whole = b.and_(numbers, i64(-V))
    rest = code.first(b.sub(numbers, whole))

    def looked_up(table: Value, row: Value) -> Value:
        there = b.icmp_unsigned("!=", b.ptrtoint(table, I64), i64(0))
        with b.if_else(there) as (by_table, plain):
            with by_table:
                found = b.load(b.gep(table, [row], source_etype=I64), typ=I64)
                end = b.block
            with plain:
                other = b.block
        result = b.phi(I64)
        result.add_incoming(found, end)
        result.add_incoming(row, other)
        return result

    with code.loop(first, last, i64(1)) as row:
        source = code.at(rows, b.mul(looked_up(rows_by, row), stride))
        target = code.at(to, b.mul(looked_up(to_by, row), to_stride))
        with code.loop(i64(0), whole, i64(V)) as n:
            code.store(code.load(code.at(source, n)), code.at(target, n))
        code.store(code.load(code.at(source, whole), rest), code.at(target, whole), rest)
    b.ret_void()
    return function
