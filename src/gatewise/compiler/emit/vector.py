"""LLVM instructions on vectors of one element type and one width.

`Code` has loads and stores (whole, or of the lanes of a mask), arithmetic with an explicit `fma`, and loops.
LLVM splits vectors that are wider than the machine's registers, so every width runs on every machine. The
operations in a lane are the same at each width: the width never changes a result.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import numpy as np
from llvmlite import ir

from gatewise.compiler.emit.number import Number
from gatewise.compiler.emit.target import Flush, Fma, Target

I1, I8, I32, I64, POINTER, VOID = (
    ir.IntType(1),
    ir.IntType(8),
    ir.IntType(32),
    ir.IntType(64),
    ir.PointerType(),
    ir.VoidType(),
)

Value = Any  # llvmlite does not type the values that its builder returns


def i64(value: int) -> Any:
    """An integer constant."""
    return ir.Constant(I64, value)


@final
class Literal:
    """A vector constant in LLVM's short form; llvmlite would write out every lane."""

    def __init__(self, vector: Any, text: str) -> None:
        self.type = vector
        self._text = text

    def get_reference(self) -> str:
        """The text that stands for it in an instruction."""
        return self._text


@final
class Address:
    """An LLVM value as an untyped pointer, or as a function of type `function_type` if one is given.

    llvmlite still gives stack slots and functions typed pointers, which LLVM no longer has.
    """

    def __init__(self, value: Value, function_type: Any = None) -> None:
        self.type = POINTER
        self.function_type = function_type
        self._value = value

    def get_reference(self) -> str:
        """The text that stands for it in an instruction."""
        return str(self._value.get_reference())


def internal_function(module: Any, name: str, arguments: list[Any]) -> Any:
    """A function that is internal to its module, is never inlined, and returns nothing."""
    function = ir.Function(module, ir.FunctionType(VOID, arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    return function


@final
class Code:
    """A writer for one function: an LLVM builder with an element type and a target."""

    def __init__(self, function: ir.Function, number: Number, target: Target) -> None:
        self.function = function
        self.number = number
        self.target = target
        self.width = width = target.width(number)
        self.b = ir.IRBuilder(function.append_basic_block("entry"))
        self.vector = ir.VectorType(number.type, width)
        self.integers = ir.VectorType(number.integer, width)
        self.mask = ir.VectorType(I1, width)

    # Constants and lanes

    def constant(self, value: float) -> Value:
        """`value` in every lane, rounded to the element type."""
        with np.errstate(over="ignore"):  # beyond the largest number there is infinity
            rounded = float(self.number.dtype.type(value))
        return Literal(self.vector, f"splat ({ir.Constant(self.number.type, rounded)})")

    def integer(self, value: int) -> Value:
        """The integer `value` in every lane."""
        return Literal(self.integers, f"splat ({ir.Constant(self.number.integer, value)})")

    def splat(self, scalar: Value) -> Value:
        """A scalar in every lane."""
        return self._broadcast(scalar, self.vector)

    def splat_integer(self, scalar: Value) -> Value:
        """A 32-bit integer in every lane."""
        return self._broadcast(scalar, ir.VectorType(I32, self.width))

    def _broadcast(self, scalar: Value, vector: Any) -> Value:
        nothing, first = Literal(vector, "poison"), ir.Constant(I32, 0)
        one = self.b.insert_element(nothing, scalar, first)
        return self.b.shuffle_vector(
            one, nothing, ir.Constant(ir.VectorType(I32, self.width), [0] * self.width)
        )

    def lanes(self, x: Value, y: Value, order: list[int]) -> Value:
        """A vector of lanes of x (0 to V-1) and y (V to 2V-1), in the given order."""
        return self.b.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, self.width), order))

    def first(self, count: Value) -> Value:
        """The mask of the first `count` lanes, or of all lanes if there are fewer."""
        lanes = ir.VectorType(I32, self.width)
        bound = self.splat_integer(self.b.trunc(count, I32))
        return self.b.icmp_signed("<", ir.Constant(lanes, list(range(self.width))), bound)

    # Memory

    def room(self, element: Any, count: int = 1, align: int = 64) -> Value:
        """Space on the stack for `count` elements, allocated once, in the entry block."""
        with self.b.goto_entry_block():
            slot = self.b.alloca(ir.ArrayType(element, count))
        slot.align = align
        return Address(slot)

    def at(self, pointer: Value, index: Value) -> Value:
        """The address of element `index`."""
        return self.b.gep(pointer, [index], source_etype=self.number.type)

    def scalar(self, pointer: Value, index: Value) -> Value:
        """Element `index`."""
        return self.b.load(self.at(pointer, index), align=self.number.bytes, typ=self.number.type)

    def load(self, pointer: Value, mask: Value | None = None) -> Value:
        """A vector from memory; lanes outside `mask` are 0 and their memory is not read."""
        align = self.number.bytes
        if mask is None:
            return self.b.load(pointer, align=align, typ=self.vector)
        name = f"llvm.masked.load.{self._suffix}.p0"
        masked = self.declare(name, self.vector, [POINTER, I32, self.mask, self.vector])
        return self.b.call(masked, [pointer, ir.Constant(I32, align), mask, self.constant(0)])

    def store(self, value: Value, pointer: Value, mask: Value | None = None) -> None:
        """Store a vector; lanes outside `mask` are not written."""
        align = self.number.bytes
        if mask is None:
            self.b.store(value, pointer, align=align)
            return
        name = f"llvm.masked.store.{self._suffix}.p0"
        masked = self.declare(name, VOID, [self.vector, POINTER, I32, self.mask])
        self.b.call(masked, [value, pointer, ir.Constant(I32, align), mask])

    def prefetch(self, pointer: Value, write: bool = False) -> None:
        """Prefetch the cache line of an address, to be read or written; the address need not be valid."""
        if not self.target.prefetches:
            return
        kind, near, data = (ir.Constant(I32, n) for n in (int(write), 3, 1))
        fetch = self.declare("llvm.prefetch.p0", VOID, [POINTER, I32, I32, I32])
        self.b.call(fetch, [pointer, kind, near, data])

    # Arithmetic

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """``a * b + c``, rounded once; where the target cannot, twice (see `Fma`)."""
        if self.target.fma is Fma.APART:
            return self.b.fadd(self.b.fmul(a, b), c)
        return self.intrinsic("fma" if self.target.fma is Fma.FUSED else "wasm.relaxed.madd", a, b, c)

    def chosen(self, mask: Value, x: Value, y: Value) -> Value:
        """`x` in the lanes of `mask`, `y` in the others.

        For relaxed SIMD, LLVM turns a comparison and a selection between what it compared into a relaxed
        minimum or maximum, which may lose NaN. An intrinsic for the selection prevents that.
        """
        if self.target.fma is not Fma.RELAXED:
            return self.b.select(mask, x, y)
        b, integers = self.b, self.integers
        name = f"llvm.wasm.relaxed.laneselect.v{self.width}i{self.number.bits}"
        select = self.declare(name, integers, [integers] * 3)
        parts = [b.bitcast(x, integers), b.bitcast(y, integers), b.sext(mask, integers)]
        return b.bitcast(b.call(select, parts), self.vector)

    def flushed(self, x: Value) -> Value:
        """`x`, a vector or a number, with zeros of its signs for subnormal numbers, if the target needs that.

        Where the processor has a mode for it, `x` has no subnormal numbers.
        """
        if self.target.flush is not Flush.INSTRUCTIONS:
            return x
        b, number = self.b, self.number
        is_vector = isinstance(x.type, ir.VectorType)
        integers = self.integers if is_vector else number.integer

        def constant(value: int) -> Value:
            return self.integer(value) if is_vector else ir.Constant(integers, value)

        bits, magnitude = b.bitcast(x, integers), constant((1 << (number.bits - 1)) - 1)
        small = b.icmp_signed("<", b.and_(bits, magnitude), constant(1 << number.fraction))
        kept = b.not_(b.and_(b.sext(small, integers), magnitude))
        return b.bitcast(b.and_(bits, kept), x.type)

    def horner(self, x: Value, coefficients: list[float]) -> Value:
        """The polynomial with `coefficients`, lowest first."""
        result = self.constant(coefficients[-1])
        for c in reversed(coefficients[:-1]):
            result = self.fma(result, x, self.constant(c))
        return result

    def intrinsic(self, name: str, *args: Value) -> Value:
        """LLVM's elementwise intrinsic `name`."""
        function = self.declare(f"llvm.{name}.{self._suffix}", self.vector, [self.vector] * len(args))
        return self.b.call(function, args)

    @property
    def _suffix(self) -> str:
        return f"v{self.width}f{self.number.bits}"

    def declare(self, name: str, result: Any, args: list[Any]) -> Value:
        """The function `name` of this module, declared once."""
        known = self.function.module.globals.get(name)
        return known or ir.Function(self.function.module, ir.FunctionType(result, args), name)

    # Control

    @contextmanager
    def loop(self, start: Value, stop: Value, step: Value) -> Iterator[Value]:
        """``for (i = start; i < stop; i += step)``, around the code written inside the `with`."""
        b = self.b
        before, head, body, after = b.block, *(b.append_basic_block(n) for n in ("head", "body", "after"))
        b.branch(head)
        b.position_at_end(head)
        i = b.phi(I64)
        i.add_incoming(start, before)
        b.cbranch(b.icmp_signed("<", i, stop), body, after)
        b.position_at_end(body)
        yield i
        i.add_incoming(b.add(i, step), b.block)
        b.branch(head)
        b.position_at_end(after)

    def smaller(self, a: Value, b: Value) -> Value:
        """The smaller of two integers."""
        return self.b.select(self.b.icmp_signed("<", a, b), a, b)

    def larger(self, a: Value, b: Value) -> Value:
        """The larger of two integers."""
        return self.b.select(self.b.icmp_signed(">", a, b), a, b)
