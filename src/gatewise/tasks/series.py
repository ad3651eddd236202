"""A series on a regular clock, ready to be learnt from, and the reader that makes one of a file."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatewise.tasks.clock import Clock
from gatewise.tasks.columns import target_column, time_column, usable
from gatewise.tasks.grid import regular
from gatewise.tasks.table import Table, read_table


@dataclass(frozen=True)
class TimeSeries:
    """Columns of numbers on a regular clock; one column is the target.

    Attributes:
        name: where the series comes from, for messages.
        frame: float64 ``[N steps, columns]`` with regular times as index; missing values are NaN.
        target: the column to forecast. The others are past inputs.
        clock: the step of the index.
        left_out: columns of the file that are not used (words, no values).

    Example:
        >>> import numpy as np, pandas as pd
        >>> days = pd.date_range("2024-01-01", periods=60, freq="D")
        >>> series = TimeSeries.from_frame(pd.DataFrame({"sold": np.arange(60.0) % 7}, index=days), "sold")
        >>> len(series), series.clock.span(1), series.clock.seasons()
        (60, '1 day', (7, 365))
    """

    name: str
    frame: pd.DataFrame
    target: str
    clock: Clock
    left_out: tuple[str, ...] = ()

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, target: str, name: str = "the frame") -> TimeSeries:
        """Make a series of a frame whose index holds times; its columns must be numbers.

        Raises ``SeriesError`` as ``read_series`` does.
        """
        if not isinstance(frame.index, pd.DatetimeIndex):
            raise TypeError(
                f"frame: expected an index of times (DatetimeIndex). Got {type(frame.index).__name__}"
            )
        flat = frame.rename_axis("time").reset_index()
        return _series(Table(name, flat.set_axis(range(1, len(flat) + 1))), target, "time")

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def values(self) -> NDArray[np.float64]:
        """The target, float64 ``[N]``, missing values as NaN."""
        return self.frame[self.target].to_numpy(np.float64)

    @property
    def times(self) -> pd.DatetimeIndex:
        """The time of every step."""
        return pd.DatetimeIndex(self.frame.index)

    @property
    def unit(self) -> str:
        """The unit that the target's name gives in brackets, as in ``"temperature (°C)"``; else empty."""
        found = re.search(r"[(\[]([^()\[\]]+)[)\]]\s*$", self.target)
        return found.group(1) if found else ""

    def head(self, steps: int) -> TimeSeries:
        """Give the first ``steps`` steps as a series."""
        return replace(self, frame=self.frame.iloc[:steps])

    def future(self, steps: int) -> pd.DatetimeIndex:
        """Give the times of the ``steps`` steps after the last one."""
        last = int(np.rint(self.clock.exact(self.times[-1:]))[0])
        return self.clock.times(np.arange(last + 1, last + 1 + steps))


def read_series(path: str | Path, target: str | None = None, time: str | None = None) -> TimeSeries:
    """Read a series from a CSV or Parquet file.

    Without ``time`` the one column of times is used, without ``target`` the one column of numbers; more than
    one is an error that lists them. Rows may come in any order and leave gaps. Raises ``SeriesError``: one
    sentence that names the file, the column and the row.
    """
    table = read_table(path)
    time = time_column(table) if time is None else time
    target = target_column(table, time) if target is None else target
    return _series(table, target, time)


def _series(table: Table, target: str, time: str) -> TimeSeries:
    times = table.times(time)
    if target == time:
        raise table.error("the target and the time must be two different columns", target)
    wanted = table.numbers(target)
    if np.isnan(wanted).all():
        raise table.error(f"all {len(wanted)} values are missing", target)
    if np.nanmin(wanted) == np.nanmax(wanted):
        raise table.error(f"every value is {np.nanmin(wanted):g}, and a constant needs no forecast", target)
    columns = {target: wanted}
    others = [name for name in table.frame.columns if name not in (target, time)]
    for name in others:
        if usable(table, name):
            columns[name] = table.numbers(name)
    frame, clock = regular(table, pd.DataFrame(columns, index=times), time)
    left_out = tuple(name for name in others if name not in columns)
    return TimeSeries(table.file, frame, target, clock, left_out)
