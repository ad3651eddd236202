"""LLVM text to machine code: objects made, kept on disk, and loaded as addresses of functions."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, final

from llvmlite import binding as llvm

from gatewise.compiler import cache
from gatewise.compiler.host import host


def compile_object(text: str) -> bytes:
    """Optimise a module and make it an object file. Nothing is reassociated or contracted."""
    machine = host().target_machine()
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = False  # the vectors are written out already
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))


@final
class Loaded:
    """An object in memory; the addresses stay good for as long as it lives."""

    def __init__(self, image: bytes, name: str, functions: Iterable[str]) -> None:
        library = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
        for function in functions:
            library.export_symbol(function)
        self._tracker = library.link(_jit(), name)
        self.address = {function: int(self._tracker[function]) for function in functions}


_lock = threading.Lock()
if hasattr(os, "register_at_fork"):  # a child must not wait for a thread that only its parent has
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_engine: list[Any] = []
_loaded: dict[str, Loaded] = {}


def _jit() -> Any:
    if not _engine:
        _engine.append(llvm.create_lljit_compiler(host().target_machine()))
    return _engine[0]


def load(key: str, write: Callable[[], str], functions: Iterable[str]) -> Loaded:
    """The compiled module for `key`: from memory, from the disk cache, or made from the text `write` gives.

    Safe from several threads; each key is compiled once in a process.
    """
    with _lock:
        if key not in _loaded:
            machine_key = cache.digest(key, host().cpu, host().features, *map(str, llvm.llvm_version_info))
            image = cache.get(machine_key)
            if image is None:
                image = compile_object(write())
                cache.put(machine_key, image)
            _loaded[key] = Loaded(image, machine_key, list(functions))
        return _loaded[key]
