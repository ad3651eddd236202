"""Whether other programs keep the threads of a team from running, so that one thread alone is faster.

A team is as slow as its slowest thread. On cores that are busy with other work, a thread waits for its turn
for milliseconds, and the other threads wait for it. One can see this in the processor time: the team gets
less of it than its threads could use. Then calls run on one thread for a moment, before the team is tried
again. Results have the same bits on any number of threads.
"""

from __future__ import annotations

from time import perf_counter, process_time
from typing import final

_TRIED = 0.02  # seconds of calls after which a team is judged
_ALONE = 0.25  # seconds on one thread, before the team is tried again
_LEAST = 0.7  # share of its threads' time that a team must get


@final
class Crowding:
    """Whether the cores of this process are crowded. All threads share it; a race loses one measurement."""

    def __init__(self) -> None:
        self._until = 0.0  # on one thread until then
        self._passed = self._wanted = self._used = 0.0

    def __bool__(self) -> bool:
        """Whether a call should run on one thread."""
        return perf_counter() < self._until

    def start(self) -> tuple[float, float]:
        """The clocks before a call."""
        return perf_counter(), process_time()

    def end(self, threads: int, clocks: tuple[float, float]) -> None:
        """Record a call on this number of threads, which began at `clocks`."""
        now, used = perf_counter(), process_time() - clocks[1]
        passed = now - clocks[0]
        self._passed += passed
        self._wanted += passed * threads
        self._used += used
        if self._passed >= _TRIED:
            if self._used < _LEAST * self._wanted:
                self._until = now + _ALONE
            self._passed = self._wanted = self._used = 0.0


crowding = Crowding()
