"""The regular clock of a series: its step, and the seasons that the step suggests.

A clock converts the index of a frame to integer positions and back; `gatewise.runtime.jobs.clock` computes.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from gatewise.runtime.jobs import clock
from gatewise.runtime.jobs.clock import (
    DAY,
    HOUR,
    LAST,
    MINUTE,
    SECOND,
    UNITS,
    WEEK,
    DatedSteps,
    FixedSteps,
    IrregularSteps,
    MonthSteps,
    Numbers,
    Positions,
    RowSteps,
    Steps,
    WeekdaySteps,
    count,
)
from gatewise.tasks.shared.reading.options import is_zone

__all__ = [
    "DAY", "HOUR", "LAST", "MINUTE", "SECOND", "WEEK", "Clock", "FixedClock", "IrregularClock", "MonthClock",
    "Positions", "RowClock", "WeekdayClock",
    "clock_from_dict", "clock_to_dict", "count", "microseconds", "months",
]  # fmt: skip


class Clock(Steps):
    """The base class of clocks of frames."""

    @abstractmethod
    def exact(self, times: pd.Index[Any]) -> Numbers:
        """The position of every time as a real number, an integer for times on the grid."""

    @abstractmethod
    def times(self, positions: Positions) -> pd.Index[Any]:
        """The time at every position."""

    @abstractmethod
    def label(self, time: Any) -> str:
        """A time in words, with the precision that this clock needs."""

    def in_days(self, times: pd.Index[Any]) -> bool:
        """Whether the dates of some times say all: no step is shorter than a day, and all are at midnight."""
        return False


class DatedClock(Clock, DatedSteps):
    """A clock whose times are dates, with or without a time zone."""

    def exact(self, times: pd.Index[Any]) -> Numbers:
        """The position of every time, as a real number."""
        dates = pd.DatetimeIndex(times)
        if dates.tz is not None:
            dates = dates.tz_convert(self.zone if self.local else "UTC").tz_localize(None)
        return self._positions(dates.to_numpy().astype("datetime64[us]"))

    def times(self, positions: Positions) -> pd.DatetimeIndex:
        """The time at every position, in the time zone of the clock."""
        dates = pd.DatetimeIndex(self._dates(positions))
        if self.zone is None:
            return dates
        if not self.local:
            return dates.tz_localize("UTC").tz_convert(self.zone)
        first = np.ones(len(dates), bool)  # when clocks are set back, take the first of the two hours
        return dates.tz_localize(self.zone, ambiguous=first, nonexistent="shift_forward")

    def in_days(self, times: pd.Index[Any]) -> bool:
        """Whether no step is shorter than a day, and all times are at midnight."""
        dates = pd.DatetimeIndex(times)
        return self.span(1).split()[1] not in {name for _, name in UNITS} and bool(
            (dates == dates.normalize()).all()
        )

    def label(self, time: Any) -> str:
        """A time as a date, with the time of day unless all times are at midnight."""
        if self.in_days(pd.DatetimeIndex([time])):
            return f"{time:%Y-%m-%d}"
        whole = f"{time:%Y-%m-%d %H:%M}"
        return f"{time:%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".") if time.second else whole


class FixedClock(DatedClock, FixedSteps):
    """Steps of a fixed length."""


class IrregularClock(FixedClock, IrregularSteps):
    """Rows at irregular times."""


class MonthClock(DatedClock, MonthSteps):
    """Steps of whole months."""


class WeekdayClock(DatedClock, WeekdaySteps):
    """Some days of the week."""


class RowClock(Clock, RowSteps):
    """Row numbers, from 1, instead of times."""

    def exact(self, times: pd.Index[Any]) -> Numbers:
        """The number of the row."""
        return np.asarray(times, np.float64)

    def times(self, positions: Positions) -> pd.Index[Any]:
        """The number of the row."""
        return pd.Index(positions, name="row")

    def label(self, time: Any) -> str:
        """The row in words."""
        return f"row {time}"


Kind: TypeAlias = type[FixedClock] | type[MonthClock] | type[WeekdayClock] | type[RowClock]
KINDS: dict[str, Kind] = {
    "fixed": FixedClock, "months": MonthClock, "weekdays": WeekdayClock, "rows": RowClock,
    "irregular": IrregularClock,
}  # fmt: skip


def clock_to_dict(some: Clock) -> dict[str, Any]:
    """Describe a clock as plain data, the inverse of `clock_from_dict`."""
    return clock.to_dict(some)


def clock_from_dict(data: Any) -> Clock:
    """Build a clock from a result of `clock_to_dict`. Raises a ValueError for anything else."""
    return clock.from_dict(data, KINDS, is_zone)


def microseconds(times: pd.DatetimeIndex) -> Positions:
    """Times without a time zone as microseconds after 1970-01-01."""
    return clock.microseconds(times.to_numpy())


def months(times: pd.DatetimeIndex) -> Positions:
    """The months of times without a time zone, counted from 1970-01 on."""
    return clock.months(times.to_numpy())
