"""The target of code: a processor, its vector registers, and how it does what processors do differently."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import final

from gatewise.compiler.emit.number import Number


@final
class Fma(Enum):
    """How ``a * b + c`` is computed."""

    FUSED = "rounded once, by LLVM's `fma`"
    RELAXED = "WebAssembly's relaxed multiply-add: rounded once on most machines, which a program can test"
    APART = "a product and a sum, each rounded"


@final
class Flush(Enum):
    """How subnormal numbers become zero."""

    MXCSR = "a mode of the processor, on x86"
    FPCR = "a mode of the processor, on ARM"
    INSTRUCTIONS = "instructions after each result, except within the sums of products"
    NEVER = "subnormal numbers are computed with"


@final
@dataclass(frozen=True)
class Target:
    """A target of the compiler.

    Attributes:
        triple: processor and system, as LLVM names them.
        cpu, features: the model of the processor and its features, as LLVM names them.
        vector_bits, registers: size and number of the registers of the widest vector unit.
        fma, flush: how ``a * b + c`` is computed, and how subnormal numbers become zero.
        threads: whether threads can share the work of a call.
        prefetches: whether there are instructions to prefetch.
        lanes: the number of lanes of every vector; if 0, as many as a register holds.
    """

    triple: str
    cpu: str
    features: str
    vector_bits: int
    registers: int
    fma: Fma = Fma.FUSED
    flush: Flush = Flush.NEVER
    threads: bool = True
    prefetches: bool = True
    lanes: int = 0

    def width(self, number: Number) -> int:
        """The number of lanes of a vector of `number`."""
        return self.lanes or self.vector_bits // number.bits

    @property
    def key(self) -> str:
        """The text that tells this target from others."""
        return " ".join((
            self.triple, self.cpu, self.features,
            *map(str, (self.vector_bits, self.registers, self.threads, self.prefetches, self.lanes)),
            self.fma.name, self.flush.name,
        ))  # fmt: skip
