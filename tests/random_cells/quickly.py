"""Compiles kernels without optimisation and for few registers, in a quarter of the time.

The source of these kernels is that of users' kernels, with fewer shapes of tiles. Only the work of LLVM is
left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

from llvmlite import binding as llvm

from gatewise.compiler.emit.target import Target
from gatewise.compiler.run import cache, program
from gatewise.compiler.run.host import host
from gatewise.compiler.run.machine import compile_object


@contextmanager
def compiling_quickly(kept: bool = True) -> Iterator[None]:
    """Compile kernels in this way while the context is open.

    With `kept` they are stored on disk, in a folder of their own inside the folder of ordinary kernels.
    """
    here = host()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=here.cpu, features=here.features, opt=0, reloc="pic", codemodel="jitdefault", jit=True
    )

    def made(text: str, target: Target | None = None) -> bytes:
        if target is not None:  # a kernel for browsers
            return compile_object(text, target)
        return bytes(machine.emit_object(llvm.parse_assembly(text)))

    others = cache.folder()
    folder = others / "quickly" if others and kept else None
    few = replace(here, vector_bits=128, registers=4)
    with (
        mock.patch("gatewise.compiler.run.program.host", lambda lanes=0: replace(few, lanes=lanes)),
        mock.patch("gatewise.compiler.run.machine.compile_object", made),
        mock.patch("gatewise.compiler.run.cache.ASSEMBLER", f"quickly {cache.ASSEMBLER}"),
        mock.patch("gatewise.compiler.run.cache.WRITER", f"quickly {cache.WRITER}"),
        mock.patch("gatewise.compiler.run.cache.folder", return_value=folder),
    ):
        program._compiled.cache_clear()
        yield
    program._compiled.cache_clear()
