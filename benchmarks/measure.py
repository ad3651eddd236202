"""Timing of contenders in turn, so that a machine that drifts drifts for all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

_REST = 0.05  # seconds, until the waiting threads of the one before have stopped to spin

Times = dict[str, list[float]]


def interleaved(contenders: Mapping[str, Callable[[], object]], rounds: int, seconds: float) -> Times:
    """Seconds per call of each contender, one figure a round; a round gives each about `seconds`."""
    calls = {name: _calls(run, seconds) for name, run in contenders.items()}
    times: Times = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            time.sleep(_REST)
            run()
            start = time.perf_counter()
            for _ in range(calls[name]):
                run()
            times[name].append((time.perf_counter() - start) / calls[name])
    return times


def _calls(run: Callable[[], object], seconds: float) -> int:
    """How many calls fill the time, after one to warm up."""
    run()
    start = time.perf_counter()
    run()
    return max(1, int(seconds / (time.perf_counter() - start + 1e-9)))


def median(times: list[float]) -> float:
    """The middle one."""
    return statistics.median(times)


def ratio(times: Times, ours: str, peer: str) -> float:
    """How many times as fast as the peer we are: the median over rounds."""
    return statistics.median(p / o for o, p in zip(times[ours], times[peer], strict=True))
