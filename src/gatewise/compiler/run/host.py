"""The machine that we run on, as a target of the compiler, and the vector width that a user forces."""

from __future__ import annotations

import functools
import os

from llvmlite import binding as llvm

from gatewise.compiler.emit.target import Flush, Target

WIDTHS = (1, 4, 8, 16)


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


def host(lanes: int | None = None) -> Target:
    """The machine that we run on, with vectors of `lanes`, by default of the width that is `forced`."""
    return _host(forced() or 0 if lanes is None else lanes)


@functools.cache
def _host(lanes: int) -> Target:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        vector_bits, registers = 512, 32
    elif features.get("avx2"):
        vector_bits, registers = 256, 16
    else:  # SSE2, NEON
        vector_bits, registers = 128, 32 if features.get("neon") else 16
    triple = llvm.get_default_triple()
    return Target(
        triple, llvm.get_host_cpu_name(), features.flatten(), vector_bits, registers,
        flush=_flush(triple), lanes=lanes,
    )  # fmt: skip


def _flush(triple: str) -> Flush:
    if triple.startswith("x86_64"):
        return Flush.MXCSR
    return Flush.FPCR if triple.startswith(("aarch64", "arm64")) else Flush.NEVER
