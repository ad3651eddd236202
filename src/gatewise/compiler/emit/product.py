"""A product of a sequence with packed weights: the input product of forward, and ``dx`` of backward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from gatewise.compiler.emit.arguments import Arguments
from gatewise.compiler.emit.matrix import (
    Columns,
    Place,
    Rows,
    Start,
    Then,
    elementwise_function,
    matrix_phase,
)
from gatewise.compiler.emit.tiles import Tiles
from gatewise.compiler.emit.vector import POINTER, Value, i64, internal_function

# out[t, b, slot * N + u] = bias[slot, u] + sum over k of a[t, b, k] * w[slot, u, k], for the first `steps`
# steps, the rows first..last and the units of the blocks first_block..last_block. Panels are those of `pack`,
# `stride` apart; the rows of the bias are `bias_stride` apart.
PRODUCT = Arguments(
    (
        *("a", "a_t", "a_b", "out", "out_t", "out_b", "steps", "first", "last"),
        *("K", "N", "first_block", "last_block", "panels", "stride", "bias", "bias_stride"),
    )
)


# product(fields):
#
# if there are fewer rows than steps:  rows of tiles are steps, once for each row
# else:                                rows of tiles are rows of the batch, once for each step
# out = bias + a @ panels
def product_function(tiles: Tiles, slots: int, width: int) -> Value:
    """``product(fields)`` for panels with this number of slots.

    A row of `out` has `width` slots. Slots without panels get only their bias.
    """
    store = elementwise_function(tiles, f"store_{slots}", slots, _Store(slots, width))
    function = internal_function(tiles.module, f"product_{slots}", [POINTER])
    code = tiles.code(function)
    f = PRODUCT.read(code, function.args[0])
    b = code.b
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


# The context of the elementwise function; `outer` and `row` are strides of `out`.
_TARGET = Arguments(("out", "outer", "row", "N", "bias", "bias_stride"))


@final
@dataclass(frozen=True)
class _Store:
    """Stores the sums: ``out[outer, row, slot * N + unit]``."""

    slots: int
    width: int

    def touched(self, place: Place) -> list[Value]:
        code, b = place.code, place.code.b
        f = _TARGET.read(code, place.context)
        at = b.add(b.mul(place.outer, f["outer"]), b.mul(place.row, f["row"]))
        units = (b.add(b.mul(f["N"], i64(g)), place.unit) for g in range(self.width))
        return [code.at(f.pointer("out"), b.add(at, unit)) for unit in units]

    def write(self, place: Place) -> None:
        code, b = place.code, place.code.b
        f = _TARGET.read(code, place.context)
        for g, target in enumerate(self.touched(place)):
            bias = code.at(f.pointer("bias"), b.add(b.mul(f["bias_stride"], i64(g)), place.unit))
            code.store(place.sum(g) if g < self.slots else code.load(bias), target, place.mask)
