"""LLVM text to machine code: objects made, kept on disk, and loaded as addresses of functions."""

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

from gatewise.compiler.run import cache
from gatewise.compiler.run.host import host


def compile_object(text: str) -> bytes:
    """Optimise a module and make it an object file. Nothing is reassociated or contracted.

    Each function by itself, with the passes of -O1: what is hot comes unrolled and in vectors, and LLVM's own
    choice for whole modules takes three times as long to find nothing more.
    """
    module = llvm.parse_assembly(text)
    module.verify()
    passes, builder = _passes(), _builder()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)
    return bytes(host().target_machine.emit_object(module))


@functools.cache
def _passes() -> Any:
    """The passes, one set for the life of the process: llvmlite never frees one, 14 kB and more."""
    return _builder().getFunctionPassManager()


def _builder() -> Any:
    """What runs the passes: one for each module, as it slows down with each function it has ever had.

    3 kB of it are never freed: the callbacks that llvmlite makes for it, and adds to with each function.
    """
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = False
    return llvm.create_pass_builder(host().target_machine, options)


_lock = threading.Lock()
if hasattr(os, "register_at_fork"):  # a child must not wait for a thread that only its parent has
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


@final
class Loaded:
    """An object in memory, until nobody holds this or one of its functions.

    Attributes:
        address: where each function is; good for as long as this lives.
    """

    def __init__(self, image: bytes, functions: Iterable[str]) -> None:
        library = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
        for function in functions:
            library.export_symbol(function)
        # An engine of its own: one that is shared keeps something of every object it has ever had.
        engine = llvm.create_lljit_compiler(host().target_machine)
        tracker = library.link(engine, "object")
        self.address = {function: int(tracker[function]) for function in functions}
        weakref.finalize(self, _give_back, tracker, engine).atexit = False

    def function(self, name: str, *arguments: type) -> Callable[..., None]:
        """A function that returns nothing, to be called with ctypes; it holds the object."""
        function: Any = ctypes.CFUNCTYPE(None, *arguments)(self.address[name])
        function.loaded = self
        return function  # type: ignore[no-any-return]


_loaded: weakref.WeakValueDictionary[str, Loaded] = weakref.WeakValueDictionary()
_unused: deque[tuple[Any, Any]] = deque()
_compiled = 0


def _give_back(tracker: Any, engine: Any) -> None:
    """Free an object that nobody holds: now, or if a thread is compiling, when it has done.

    May be called at any time, by the garbage collector and while this thread holds the lock: it never waits.
    """
    _unused.append((tracker, engine))
    if _lock.acquire(blocking=False):
        try:
            _free_unused()
        finally:
            _lock.release()


def _free_unused() -> None:
    while _unused:
        for part in _unused.popleft():  # code first, then the engine that it belongs to
            part.close()


def load(key: str, write: Callable[[], str], functions: Iterable[str]) -> Loaded:
    """The compiled module for `key`: from memory, from the disk cache, or made from the text `write` gives.

    Safe from several threads. While somebody holds the module, it is not made or loaded again.
    """
    with _lock:
        loaded = _loaded.get(key)
        if loaded is None:
            loaded = _loaded[key] = _load(key, write, list(functions))
        _free_unused()
        return loaded


def _load(key: str, write: Callable[[], str], functions: list[str]) -> Loaded:
    """On disk an object has the name of its LLVM text, and that name is found by the key.

    So a change of the compiler that leaves the text of a kernel alone costs the writing and no compilation.
    """
    global _compiled
    target = (host().cpu, host().features, *map(str, llvm.llvm_version_info))
    by_key = cache.digest(cache.WRITER, key, *target)
    known = cache.get(by_key)
    loaded = _from_disk(known.hex(), functions) if known else None
    if loaded is None:
        text = write()
        name = cache.digest(cache.ASSEMBLER, text, *target)
        loaded = _from_disk(name, functions)
        if loaded is None:
            image = compile_object(text)
            loaded = Loaded(image, functions)
            _compiled += 1
            cache.put(name, image)
        cache.put(by_key, bytes.fromhex(name))
    return loaded


def _from_disk(name: str, functions: list[str]) -> Loaded | None:
    image = cache.get(name)
    try:
        return Loaded(image, functions) if image else None
    except RuntimeError:  # LLVM cannot link it
        return None


def compiled_modules() -> int:
    """How many modules this process has compiled, as they were not on disk."""
    return _compiled


def loaded_modules() -> int:
    """How many compiled modules are in memory."""
    return len(_loaded)
