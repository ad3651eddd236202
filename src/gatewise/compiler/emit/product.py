"""A plain product of rows with packed weights: the input product of forward, and backward's way to ``dx``."""

from __future__ import annotations

from gatewise.compiler.emit.arguments import Arguments
from gatewise.compiler.emit.matrix import (
    Columns,
    Elementwise,
    Place,
    Rows,
    Start,
    Then,
    Tiles,
    elementwise_function,
    matrix_phase,
)
from gatewise.compiler.emit.vector import POINTER, Code, Value, i64, internal_function

# out[t, b, slot * N + u] = bias[slot, u] + sum over k of a[t, b, k] * w[slot, u, k], for `steps` steps and
# rows first..last and the units of some blocks; panels as `pack` makes them, `stride` apart; rows of the bias
# `bias_stride` apart.
PRODUCT = Arguments(
    (
        *("a", "a_t", "a_b", "out", "out_t", "out_b", "steps", "first", "last"),
        *("K", "N", "first_block", "last_block", "panels", "stride", "bias", "bias_stride"),
    )
)


def product_function(tiles: Tiles, slots: int, width: int) -> Value:
    """``product(fields)`` for panels of so many slots; of the `width` slots of a row the others get their
    bias alone."""
    store = _store(tiles, f"store_{slots}", slots, width)
    function = internal_function(tiles.module, f"product_{slots}", [POINTER])
    code = Code(function, tiles.number, tiles.width)
    f = PRODUCT.read(code, function.args[0])
    b = code.b
    # Tiles take rows from the longer of the two axes: the batch, or with few rows the steps.
    count = b.sub(f["last"], f["first"])
    by_steps = b.icmp_signed("<", count, f["steps"])
    a = code.at(f.pointer("a"), b.mul(f["first"], f["a_b"]))
    out = code.at(f.pointer("out"), b.mul(f["first"], f["out_b"]))

    def pick(if_steps: Value, if_rows: Value) -> Value:
        return b.select(by_steps, if_steps, if_rows)

    rows = Rows(
        a, pick(f["a_b"], f["a_t"]), pick(f["a_t"], f["a_b"]),
        pick(count, f["steps"]), i64(0), pick(f["steps"], count),
    )  # fmt: skip
    start = Start(f.pointer("bias"), i64(0), f["bias_stride"])
    columns = Columns(f.pointer("panels"), f["stride"], f["K"], f["N"], f["first_block"], f["last_block"])
    target = _TARGET.make(code)
    target.set(
        out=out, outer=pick(f["out_b"], f["out_t"]), row=pick(f["out_t"], f["out_b"]),
        N=f["N"], bias=f.pointer("bias"), bias_stride=f["bias_stride"],
    )  # fmt: skip
    matrix_phase(code, tiles, slots, rows, start, columns, Then(store, target.array), i64(0))
    b.ret_void()
    return function


_TARGET = Arguments(("out", "outer", "row", "N", "bias", "bias_stride"))


def _store(tiles: Tiles, name: str, slots: int, width: int) -> Elementwise:
    def targets(place: Place) -> list[Value]:
        code, b = place.code, place.code.b
        f = _TARGET.read(code, place.context)
        at = b.add(b.mul(place.outer, f["outer"]), b.mul(place.row, f["row"]))
        units = (b.add(b.mul(f["N"], i64(g)), place.unit) for g in range(width))
        return [code.at(f.pointer("out"), b.add(at, unit)) for unit in units]

    def write(place: Place) -> None:
        code, b = place.code, place.code.b
        f = _TARGET.read(code, place.context)
        for g, target in enumerate(targets(place)):
            bias = code.at(f.pointer("bias"), b.add(b.mul(f["bias_stride"], i64(g)), place.unit))
            code.store(place.sum(g) if g < slots else code.load(bias), target, place.mask)

    return elementwise_function(tiles, name, slots, write, targets)
