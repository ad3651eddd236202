"""Rows at whatever times a file has them, put on a regular grid."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatewise.tasks.clock import Clock, infer_clock
from gatewise.tasks.table import Table

SNAP = 0.1  # a time may lie this fraction of a step off its grid
MOST_GAPS = 10  # a grid may have this many times as many steps as there are rows


def regular(table: Table, frame: pd.DataFrame, time: str) -> tuple[pd.DataFrame, Clock]:
    """Put rows in order of time on a grid without gaps; the steps that were missing become rows of NaN."""
    rows = table.frame.index.to_numpy()[np.argsort(frame.index, kind="stable")]
    frame = frame.sort_index(kind="stable")
    times = pd.DatetimeIndex(frame.index)
    _refuse_repeats(table, times, rows, time)
    clock = infer_clock(times) if len(times) > 2 else None
    if clock is None:
        raise table.error("the times have no regular step; at least half of the rows must follow one", time)
    positions = _positions(table, clock, times, rows, time)
    grid = np.arange(positions[0], positions[-1] + 1)
    if len(grid) > MOST_GAPS * len(frame):
        span = f"{len(grid)} steps of {clock.span(1)} for {len(frame)} rows"
        raise table.error(f"the times from {times[0]} to {times[-1]} leave too many gaps ({span})", time)
    regular = frame.set_axis(positions).reindex(grid).set_axis(clock.times(grid))
    return regular, clock


def _positions(
    table: Table, clock: Clock, times: pd.DatetimeIndex, rows: NDArray[np.int64], time: str
) -> NDArray[np.int64]:
    exact = clock.exact(times)
    positions = np.rint(exact).astype(np.int64)
    off = (np.abs(exact - positions) > SNAP) | (np.diff(positions, prepend=positions[0] - 1) == 0)
    if off.any():
        first = int(off.argmax())
        problem = f"{times[first]} is off the regular step of {clock.span(1)} that the other rows follow"
        raise table.error(problem, time, int(rows[first]))
    return positions


def _refuse_repeats(table: Table, times: pd.DatetimeIndex, rows: NDArray[np.int64], time: str) -> None:
    repeated = times.duplicated()
    if repeated.any():
        second = int(repeated.argmax())
        problem = f"the time {times[second]} is already in row {rows[second - 1]}"
        raise table.error(problem, time, int(rows[second]))
