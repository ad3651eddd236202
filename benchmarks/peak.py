"""The peak of one core: chains of fused multiply-adds in registers, without memory accesses."""

from __future__ import annotations

import ctypes

import numpy as np
from llvmlite import ir

from gatewise.compiler.emit.number import FLOAT32
from gatewise.compiler.emit.vector import I64, POINTER, VOID, Code, i64
from gatewise.compiler.run import machine
from gatewise.compiler.run.host import host

_PASSES = 20_000  # over all chains in a call: under 0.2 ms


class Peak:
    """float32, in the widest vectors of this machine.

    Attributes:
        operations: floating-point operations of a call of `run`.
    """

    def __init__(self) -> None:
        width = host().vector_bits // FLOAT32.bits
        chains = host().registers * 3 // 4  # hide the latency, and leave room for the factors
        text = _module(width, chains)
        self.operations = 2.0 * _PASSES * chains * width
        self._memory = np.full(2 * width, 0.5, np.float32)  # sums near 1, whatever the number of passes
        self._loaded = machine.load(text, lambda: text, ["run"])  # the code is freed with its last reference
        self._function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(self._loaded.address["run"])

    def run(self) -> None:
        """Keep the multipliers of one core busy."""
        self._function(self._memory.ctypes.data, _PASSES)


def _module(width: int, chains: int) -> str:
    """``run(memory [2, width], passes)``: ``sum = sum * memory[0] + memory[1]`` in every chain."""
    module = ir.Module("peak")
    function = ir.Function(module, ir.FunctionType(VOID, [POINTER, I64]), "run")
    memory, passes = function.args
    code = Code(function, FLOAT32, host(width))
    a, b = code.load(memory), code.load(code.at(memory, i64(width)))
    sums = [code.room(code.vector) for _ in range(chains)]  # registers, once LLVM has seen them
    for k, place in enumerate(sums):
        code.b.store(code.constant(k / chains), place)
    with code.loop(i64(0), passes, i64(1)):
        for place in sums:
            code.b.store(code.fma(a, code.b.load(place, typ=code.vector), b), place)
    total = code.constant(0)
    for place in sums:  # unused results would be optimised away
        total = code.b.fadd(total, code.b.load(place, typ=code.vector))
    code.store(code.b.fmul(total, code.constant(0.5 / chains)), memory)
    code.b.ret_void()
    return str(module)
