"""The threads that kernels run on.

If an OpenMP library with GNU's interface is loaded (torch brings one), kernels run on its threads: a pool of
our own would compete for the cores with its spinning workers. Otherwise a small pool is used (see `pool`). A
forked child has no OpenMP threads, and the library would wait for them: it computes on one thread.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from pathlib import Path
from typing import NamedTuple, final

_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@final
class OpenMP(NamedTuple):
    """Addresses of the functions that kernels call."""

    parallel: int
    thread_num: int
    num_threads: int
    give_way: int


def available(threads: int) -> int:
    """The number of threads that this process may use, of those wanted."""
    return 1 if _forked else threads


def openmp() -> OpenMP | None:
    """The OpenMP library of this process; None if there is none."""
    # Until torch is imported, which brings one, each call looks again.
    return _find(torch_loaded="torch" in sys.modules)


@functools.cache
def _find(torch_loaded: bool) -> OpenMP | None:
    for path in sorted(_loaded_libraries(), key=lambda path: "torch" not in path):
        try:
            library = ctypes.CDLL(path)
            functions = (
                *(library.GOMP_parallel, library.omp_get_thread_num, library.omp_get_num_threads),
                ctypes.CDLL(None).sched_yield,
            )
        except (OSError, AttributeError):
            continue
        return OpenMP(*(int(ctypes.cast(f, ctypes.c_void_p).value or 0) for f in functions))
    return None


def _loaded_libraries() -> set[str]:
    """Paths of loaded shared libraries with "omp" in their name, on Linux."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return set()
    paths = (line.split(maxsplit=5)[-1].strip() for line in maps.read_text().splitlines() if "/" in line)
    return {path for path in paths if "omp" in os.path.basename(path) and ".so" in path}
