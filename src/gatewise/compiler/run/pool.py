"""A pool of threads for processes without OpenMP, and how the parts of a kernel are divided among them.

Arrays belong to the caller, whose Python code may be interrupted (Ctrl-C) at any place; then they are freed.
So helper threads use arrays only while the caller is inside one foreign call, `lead`. It opens the work,
takes parts like the helpers, and returns when all parts are done. Helpers that come before it wait; helpers
that come after it find no parts left and return. The work gets done even if no helper comes.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import final

from gatewise.compiler.run import machine

# The fields of a team: its state, the numbers of parts taken, done, and in all; the addresses of the kernel's
# `part`, of its array, and of the function that offers the core to other threads.
_FIELDS = 7
_PREPARED, _OPEN, _CLOSED = 0, 1, 2

_TEXT = """
define internal void @take(ptr %team) {
  %taken = getelementptr i64, ptr %team, i64 1
  %done = getelementptr i64, ptr %team, i64 2
  %count.at = getelementptr i64, ptr %team, i64 3
  %count = load i64, ptr %count.at
  %part.at = getelementptr i64, ptr %team, i64 4
  %part = load ptr, ptr %part.at
  %array.at = getelementptr i64, ptr %team, i64 5
  %array = load ptr, ptr %array.at
  br label %next
next:
  %i = atomicrmw add ptr %taken, i64 1 acq_rel
  %left = icmp slt i64 %i, %count
  br i1 %left, label %compute, label %end
compute:
  call void %part(ptr %array, i64 %i, i64 %count)
  %before = atomicrmw add ptr %done, i64 1 acq_rel
  br label %next
end:
  ret void
}

define void @help(ptr %team) {
  %pause.at = getelementptr i64, ptr %team, i64 6
  %pause = load ptr, ptr %pause.at
  br label %look
look:
  %state = load atomic i64, ptr %team acquire, align 8
  switch i64 %state, label %end [ i64 0, label %wait  i64 1, label %open ]
wait:
  %offered = call i32 %pause()
  br label %look
open:
  call void @take(ptr %team)
  br label %end
end:
  ret void
}

define void @lead(ptr %team) {
  %done.at = getelementptr i64, ptr %team, i64 2
  %count.at = getelementptr i64, ptr %team, i64 3
  %count = load i64, ptr %count.at
  %pause.at = getelementptr i64, ptr %team, i64 6
  %pause = load ptr, ptr %pause.at
  store atomic i64 1, ptr %team release, align 8
  call void @take(ptr %team)
  br label %look
look:
  %done = load atomic i64, ptr %done.at acquire, align 8
  %all = icmp sge i64 %done, %count
  br i1 %all, label %end, label %wait
wait:
  %offered = call i32 %pause()
  br label %look
end:
  ret void
}
"""


@functools.cache
def pool() -> ThreadPoolExecutor:
    """A thread for each core."""
    return ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="gatewise")


def run_parts(part: int, array: int, count: int) -> None:
    """Call ``part(array, i, count)``, an address, for each i below `count`, on this thread and others."""
    functions = _functions()
    team = (ctypes.c_int64 * _FIELDS)(_PREPARED, 0, 0, count, part, array, functions.pause)
    try:
        with suppress(RuntimeError):  # at the end of the interpreter no thread starts any more
            for _ in range(count - 1):
                pool().submit(functions.help, team)
        functions.lead(team)
    finally:
        team[0] = _CLOSED


@final
class _Functions:
    """The functions above, compiled, and the address of the function that offers the core to others."""

    def __init__(self) -> None:
        loaded = machine.load("pool", lambda: _TEXT, ("help", "lead"))
        self.help = loaded.function("help", ctypes.c_void_p)
        self.lead = loaded.function("lead", ctypes.c_void_p)
        if sys.platform == "win32":
            pause = ctypes.WinDLL("kernel32").SwitchToThread
        else:
            pause = ctypes.CDLL(None).sched_yield
        self.pause = int(ctypes.cast(pause, ctypes.c_void_p).value or 0)


_functions = functools.cache(_Functions)
