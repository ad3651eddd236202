"""The machine that we run on: its name and features for LLVM, its vector width, its registers."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import Any, final

from llvmlite import binding as llvm

from gatewise.compiler.emit.vector import Number

WIDTHS = (1, 4, 8, 16)


@final
@dataclass(frozen=True)
class Host:
    """The target of the code; `vector_bits` and `registers` are those of the widest vector unit."""

    cpu: str
    features: str
    vector_bits: int
    registers: int

    def width(self, number: Number) -> int:
        """Lanes of a vector of `number`, unless another width is `forced`."""
        return forced() or self.vector_bits // number.bits

    @functools.cached_property
    def target_machine(self) -> Any:
        """LLVM's code generator for this machine, one for all modules."""
        target = llvm.Target.from_default_triple()
        # Position-independent code under the large model reaches any address, wherever objects are placed.
        return target.create_target_machine(
            cpu=self.cpu, features=self.features, opt=3, reloc="pic", codemodel="jitdefault", jit=True
        )


@functools.cache  # asked at each call
def forced() -> int | None:
    """The width that ``GATEWISE_WIDTH`` (1, 4, 8 or 16) forces; it is read once.

    Raises:
        ValueError: another number, or none.
    """
    width = os.environ.get("GATEWISE_WIDTH")
    if width is not None and width not in map(str, WIDTHS):
        raise ValueError(f"GATEWISE_WIDTH must be one of {WIDTHS}. Got {width!r}.")
    return None if width is None else int(width)


@functools.cache
def host() -> Host:
    """The machine that we run on."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        vector_bits, registers = 512, 32
    elif features.get("avx2"):
        vector_bits, registers = 256, 16
    else:  # SSE2, NEON
        vector_bits, registers = 128, 32 if features.get("neon") else 16
    return Host(llvm.get_host_cpu_name(), features.flatten(), vector_bits, registers)
