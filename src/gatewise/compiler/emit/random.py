"""Random masks of `dropout` and `zoneout`: a hash of (seed, draw, step, row, unit).

The hash is Ettinger's ``triple32`` (https://github.com/skeeto/hash-prospector), a bijection of 32 bits. It
has no state and needs no memory, so backward computes the same mask again, and so do all widths, tiles and
threads.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from gatewise.compiler.emit.vector import I32, Code, Literal, Value
from gatewise.language.graph import Node

ROUNDS, LAST = ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB)), 14  # shifts and factors
_ALL = 1 << 32


def threshold(rate: float) -> int:
    """A random number of 32 bits is below this with probability `rate`."""
    return int(rate * _ALL)


# key = hash(seed's low half + draw); key = hash(key ^ seed's high half)
# key = hash(key + step)                 no step, where a mask serves the whole sequence
# key = hash(key + row)
# mask[unit] = hash(key + unit) < threshold(rate)
def mask(code: Code, node: Node, seed: Value, step: Value, row: Value, unit: Value) -> Value:
    """The mask of V units from `unit` on; `step` is the number of the step in the sequence."""
    b = code.b
    low, high = b.trunc(seed, I32), b.trunc(b.lshr(seed, ir.Constant(seed.type, 32)), I32)
    key = _hash(code, b.add(low, ir.Constant(I32, int(node.name))))
    key = _hash(code, b.xor(key, high))
    key = _hash(code, b.add(key, b.trunc(step, I32)) if node.part == "step" else key)
    key = _hash(code, b.add(key, b.trunc(row, I32)))
    lanes = ir.VectorType(I32, code.width)
    first = code.splat_integer(b.add(key, b.trunc(unit, I32)))
    numbers = _hash(code, b.add(first, ir.Constant(lanes, list(range(code.width)))))
    return b.icmp_unsigned("<", numbers, _constant(lanes, threshold(node.value)))


def _hash(code: Code, x: Value) -> Value:
    b = code.b
    for shift, factor in ROUNDS:
        x = b.mul(b.xor(x, b.lshr(x, _constant(x.type, shift))), _constant(x.type, factor))
    return b.xor(x, b.lshr(x, _constant(x.type, LAST)))


def _constant(kind: Any, value: int) -> Value:
    """An integer, in every lane if `kind` is a vector."""
    value = value - _ALL if value >= _ALL // 2 else value  # LLVM writes integers with a sign
    if isinstance(kind, ir.VectorType):
        return Literal(kind, f"splat ({I32} {value})")
    return ir.Constant(kind, value)
