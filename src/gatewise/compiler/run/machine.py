"""LLVM text to machine code: objects are made, kept on disk, and loaded as addresses of functions."""

from __future__ import annotations

import ctypes
import functools
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, final

from llvmlite import binding as llvm

from gatewise.compiler.emit.target import Target
from gatewise.compiler.run import cache
from gatewise.compiler.run.host import host


def compile_object(text: str, target: Target | None = None) -> bytes:
    """Optimise a module and make it an object file for a target, by default for the host.

    No sum is reassociated, no product contracted.

    Each function is optimised on its own, by the passes of -O1: hot loops are already unrolled and
    vectorised. LLVM's pipeline for whole modules takes three times as long and finds nothing more.
    """
    module = llvm.parse_assembly(text)
    module.verify()
    target = target or host()
    passes, builder = _passes(target), _builder(target)
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)
    return bytes(_code_generator(target).emit_object(module))


@functools.cache
def _passes(target: Target) -> Any:
    """The passes, one set for the life of the process: llvmlite never frees a set (14 kB and more)."""
    return _builder(target).getFunctionPassManager()


def _builder(target: Target) -> Any:
    """A pass builder, which runs the passes. Each module has its own: it slows down with every function.

    llvmlite never frees the callbacks that it makes for a builder, about 3 kB.
    """
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = False
    return llvm.create_pass_builder(_code_generator(target), options)


@functools.cache
def _code_generator(target: Target) -> Any:
    """LLVM's code generator for a target, one for all modules."""
    named = {"cpu": target.cpu, "features": target.features, "opt": 3}
    if target.triple != host().triple:
        return llvm.Target.from_triple(target.triple).create_target_machine(**named, reloc="static")
    # Position-independent code under the large model reaches any address, wherever objects are placed.
    own = llvm.Target.from_default_triple()
    return own.create_target_machine(**named, reloc="pic", codemodel="jitdefault", jit=True)


_lock = threading.Lock()
if hasattr(os, "register_at_fork"):  # a child must not wait for a lock that a thread of its parent holds
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


@final
class Loaded:
    """An object in memory, for as long as this, or one of its functions, is referenced.

    Attributes:
        address: the address of each function; valid while this lives.
    """

    def __init__(self, image: bytes, functions: Iterable[str]) -> None:
        library = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
        for function in functions:
            library.export_symbol(function)
        # Its own engine: a shared one would keep some memory of every object that it ever had.
        engine = llvm.create_lljit_compiler(_code_generator(host()))
        tracker = library.link(engine, "object")
        self.address = {function: int(tracker[function]) for function in functions}
        weakref.finalize(self, _give_back, tracker, engine).atexit = False

    def function(self, name: str, *arguments: type) -> Callable[..., None]:
        """A function as a ctypes function that returns nothing; it keeps the object alive."""
        function: Any = ctypes.CFUNCTYPE(None, *arguments)(self.address[name])
        function.loaded = self
        return function  # type: ignore[no-any-return]


_loaded: weakref.WeakValueDictionary[str, Loaded] = weakref.WeakValueDictionary()
_unused: deque[tuple[Any, Any]] = deque()
_compiled = 0


def _give_back(tracker: Any, engine: Any) -> None:
    """Free an object without references: now, or if a thread is compiling, when that thread is done.

    The garbage collector may call this at any time, even while this thread holds the lock: it never waits.
    """
    _unused.append((tracker, engine))
    if _lock.acquire(blocking=False):
        try:
            _free_unused()
        finally:
            _lock.release()


def _free_unused() -> None:
    while _unused:
        for part in _unused.popleft():  # the code first, then the engine that it belongs to
            part.close()


def load(key: str, write: Callable[[], str], functions: Iterable[str]) -> Loaded:
    """The compiled module for `key`: from memory, from the disk cache, or compiled from the text of `write`.

    Safe to call from several threads. While a module is referenced, it is not made or loaded again.
    """
    with _lock:
        loaded = _loaded.get(key)
        if loaded is None:
            loaded = _loaded[key] = _load(key, write, list(functions))
        _free_unused()
        return loaded


def _load(key: str, write: Callable[[], str], functions: list[str]) -> Loaded:
    def assemble(text: str) -> bytes:
        global _compiled
        image = compile_object(text)
        _compiled += 1
        return image

    target = (host().cpu, host().features, *map(str, llvm.llvm_version_info))
    # LLVM raises RuntimeError for an object that it cannot link.
    return cache.compiled(key, target, write, assemble, lambda image: Loaded(image, functions))


def compiled_modules() -> int:
    """The number of modules that this process has compiled because they were not on disk."""
    return _compiled


def loaded_modules() -> int:
    """The number of compiled modules in memory."""
    return len(_loaded)
