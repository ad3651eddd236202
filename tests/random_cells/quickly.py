"""Compiles kernels without optimisation and for few registers, in a quarter of the time.

The source of these kernels is that of users' kernels, with fewer shapes of tiles. Only the work of LLVM is
left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

from llvmlite import binding as llvm

from gatewise.compiler.run import cache, program
from gatewise.compiler.run.host import host
from gatewise.compiler.run.machine import Loaded


@contextmanager
def compiling_quickly(kept: bool = False) -> Iterator[None]:
    """Compile kernels in this way while the context is open.

    With `kept` they are stored on disk, apart from ordinary kernels.
    """
    here = host()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=here.cpu, features=here.features, opt=0, reloc="pic", codemodel="jitdefault", jit=True
    )

    def made(key: str, write: Callable[[], str], functions: list[str]) -> Loaded:
        name = cache.digest("quickly", cache.WRITER, key, here.cpu, here.features)
        image = cache.get(name) if kept else None
        if image is None:
            image = bytes(machine.emit_object(llvm.parse_assembly(write())))
            if kept:
                cache.put(name, image)
        return Loaded(image, functions)

    few = replace(here, vector_bits=128, registers=4)
    with (
        mock.patch("gatewise.compiler.run.program.host", lambda lanes=0: replace(few, lanes=lanes)),
        mock.patch("gatewise.compiler.run.machine._load", made),
    ):
        program._compiled.cache_clear()
        yield
    program._compiled.cache_clear()
