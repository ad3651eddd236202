"""Kernels as WebAssembly modules, kept on disk like the kernels of the host."""

from __future__ import annotations

import functools
from pathlib import Path

from llvmlite import binding as llvm

from gatewise.compiler.emit import entry
from gatewise.compiler.emit.number import Number
from gatewise.compiler.emit.target import Target
from gatewise.compiler.run import cache
from gatewise.compiler.run.machine import compile_object
from gatewise.compiler.run.program import Kernel
from gatewise.compiler.wasm.linking import linked

LINKER = cache.hash_of(Path(__file__).with_name(f"{name}.py") for name in ("binary", "linking", "modules"))


def module(name: str, kernel: Kernel, number: Number, target: Target) -> bytes:
    """The module of a kernel; `name` tells its kind ("forward", "backward", "outer").

    It exports ``run(fields)``, ``prepare(fields)`` and ``part(fields, i, n)`` (see `emit.entry`), and imports
    memory, stack pointer and table (see `linking`). Addresses in fields are 64-bit integers here too.
    """
    key = f"{name} {number.name} {target.key} {kernel.key}"
    return cache.compiled(
        key,
        ("wasm", LINKER, target.key, *map(str, llvm.llvm_version_info)),
        lambda: kernel.write(number, target),
        lambda text: _assembled(text, target),
        lambda module: module,
    )


def _assembled(text: str, target: Target) -> bytes:
    _start()
    return linked(compile_object(text, target), entry.ALONE)


@functools.cache
def _start() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
