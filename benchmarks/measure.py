"""Times contenders in turn, so that changes of the machine's speed affect all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Run = Callable[[], object]
Times = dict[str, list[float]]

_REST = 0.05  # seconds, until the threads of the contender before have stopped spinning


def interleaved(
    contenders: Mapping[str, Run], rounds: int, seconds: float, before: Run | None = None
) -> Times:
    """Seconds per call of each contender, one figure a round; a round gives each about `seconds`.

    `before` is run ahead of every call, and its time is not counted.
    """
    calls = {name: _calls(run, seconds) for name, run in contenders.items()}
    times: Times = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            time.sleep(_REST)
            run()
            times[name].append(_seconds(run, calls[name], before))
    return times


def _calls(run: Run, seconds: float) -> int:
    """The number of calls that fill the time, after one for warming up."""
    run()
    start = time.perf_counter()
    run()
    return max(1, int(seconds / (time.perf_counter() - start + 1e-9)))


def _seconds(run: Run, calls: int, before: Run | None) -> float:
    """The mean over the calls."""
    if before is not None:
        return statistics.fmean(_after(before, run) for _ in range(calls))
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def _after(before: Run, run: Run) -> float:
    before()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def medians(times: Times) -> dict[str, float]:
    """The median of each contender."""
    return {name: statistics.median(rounds) for name, rounds in times.items()}


def ratio(times: Times, ours: str, peer: str) -> float:
    """How many times as fast as the peer gatewise is: the median over rounds."""
    return statistics.median(p / o for o, p in zip(times[ours], times[peer], strict=True))
