"""Kernels as WebAssembly modules, kept on disk like the kernels of the host."""

from __future__ import annotations

import functools

from llvmlite import binding as llvm

from gatewise.compiler.emit import entry
from gatewise.compiler.emit.number import Number
from gatewise.compiler.emit.target import Target
from gatewise.compiler.run import cache
from gatewise.compiler.run.machine import compile_object
from gatewise.compiler.run.program import Kernel
from gatewise.compiler.wasm.linking import linked


def module(name: str, kernel: Kernel, number: Number, target: Target) -> bytes:
    """The module of a kernel; `name` tells its kind ("forward", "backward", "outer").

    It exports ``run(fields)``, ``prepare(fields)`` and ``part(fields, i, n)`` (see `emit.entry`), and imports
    memory, stack pointer and table (see `linking`). Addresses in fields are 64-bit integers here too.
    """
    versions = map(str, llvm.llvm_version_info)
    key = cache.digest(
        "wasm", cache.WRITER, cache.ASSEMBLER, name, number.name, target.key, kernel.key, *versions
    )
    kept = cache.get(key)
    if kept is None:
        _start()
        kept = linked(compile_object(kernel.write(number, target), target), entry.ALONE)
        cache.put(key, kept)
    return kept


@functools.cache
def _start() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
