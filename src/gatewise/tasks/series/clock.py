"""The regular clock of a series: its step, and the seasons that the step suggests.

A clock converts times to integer positions and back. There are four kinds: steps of a fixed length, steps of
whole months, some days of the week, and row numbers for series without times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatewise.tasks.shared.reading.options import is_zone

Positions = NDArray[np.int64]
Numbers = NDArray[np.float64]

SECOND, MINUTE, HOUR = 1_000_000, 60_000_000, 3_600_000_000  # microseconds
DAY, WEEK = 24 * HOUR, 7 * 24 * HOUR
UNITS = ((HOUR, "h"), (MINUTE, "min"), (SECOND, "s"), (1000, "ms"), (1, "µs"))
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
LAST = 31  # stands for the last day of the month


class Clock(ABC):
    """The base class of clocks. Positions count steps from a fixed origin.

    Attributes:
        zone: the time zone of the times; `None` if they have none.
    """

    zone: str | None = None

    @abstractmethod
    def exact(self, times: pd.Index[Any]) -> Numbers:
        """The position of every time as a real number, an integer for times on the grid."""

    @abstractmethod
    def times(self, positions: Positions) -> pd.Index[Any]:
        """The time at every position."""

    @abstractmethod
    def seasons(self) -> tuple[int, ...]:
        """The seasons, in steps, that a series with this step may have, shortest first."""

    @abstractmethod
    def span(self, steps: float) -> str:
        """The length of `steps` steps in words, such as ``"24 h"``."""

    @abstractmethod
    def label(self, time: Any) -> str:
        """A time in words, with the precision that this clock needs."""

    def grid(self) -> str:
        """The step in words, with further properties of the grid."""
        return self.span(1)


@dataclass(frozen=True)
class ZonedClock(Clock):
    """A clock whose times are dates, with or without a time zone.

    Attributes:
        step: the step, in the unit of the kind.
        offset: the time of position 0, in the unit of the kind, counted from 1970-01-01 on.
        zone: the time zone of the times; `None` if they have none.
    """

    step: float
    offset: float
    zone: str | None = None

    @property
    def local(self) -> bool:
        """Whether steps are regular in local (wall-clock) time, not in elapsed time."""
        return True

    def exact(self, times: pd.Index[Any]) -> Numbers:
        """The position of every time, as a real number."""
        dates = pd.DatetimeIndex(times)
        if dates.tz is not None:
            dates = dates.tz_convert(self.zone if self.local else "UTC").tz_localize(None)
        return self._positions(dates)

    def times(self, positions: Positions) -> pd.DatetimeIndex:
        """The time at every position, in the time zone of the clock."""
        dates = self._dates(positions)
        if self.zone is None:
            return dates
        if not self.local:
            return dates.tz_localize("UTC").tz_convert(self.zone)
        first = np.ones(len(dates), bool)  # when clocks are set back, take the first of the two hours
        return dates.tz_localize(self.zone, ambiguous=first, nonexistent="shift_forward")

    def label(self, time: Any) -> str:
        """A time as a date, with the time of day unless all times are at midnight."""
        if time == time.normalize() and self.span(1).split()[1] not in {name for _, name in UNITS}:
            return f"{time:%Y-%m-%d}"
        whole = f"{time:%Y-%m-%d %H:%M}"
        return f"{time:%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".") if time.second else whole

    @abstractmethod
    def _positions(self, dates: pd.DatetimeIndex) -> Numbers: ...

    @abstractmethod
    def _dates(self, positions: Positions) -> pd.DatetimeIndex: ...


@dataclass(frozen=True)
class FixedClock(ZonedClock):
    """Steps of `step` microseconds; position 0 is `offset` microseconds after 1970-01-01.

    `wall`: the steps are regular in local (wall-clock) time, as days are.
    """

    wall: bool = False

    @property
    def local(self) -> bool:
        """Whether steps are regular in local (wall-clock) time."""
        return self.wall

    def _positions(self, dates: pd.DatetimeIndex) -> Numbers:
        since = microseconds(dates) - self.offset
        return np.asarray(since // self.step + (since % self.step) / self.step, np.float64)

    def _dates(self, positions: Positions) -> pd.DatetimeIndex:
        since = np.rint(positions * self.step + self.offset).astype(np.int64)
        return pd.DatetimeIndex(since.astype("datetime64[us]"))

    def seasons(self) -> tuple[int, ...]:
        """A day and a week for steps below a day; a week and a year for days; a year for weeks."""
        year = 365 * DAY if self.step == DAY else 52 * WEEK
        periods = (DAY, WEEK) if self.step < DAY else (WEEK, year)
        return tuple(int(p // self.step) for p in periods if p % self.step == 0 and p > self.step)

    def span(self, steps: float) -> str:
        """The length of `steps` steps in the largest fitting unit, in hours up to three days."""
        length = steps * self.step
        if self.step % WEEK == 0:
            return count(length / WEEK, "weeks")
        if self.step % DAY == 0 or length > 72 * HOUR:
            return count(length / DAY, "days")
        unit, name = next(((u, n) for u, n in UNITS if length >= u), UNITS[-1])
        return count(length / unit, name)


@dataclass(frozen=True)
class MonthClock(ZonedClock):
    """Steps of `step` months from `offset` months after 1970-01 on.

    `day`: the day of the month (31: the last). `time`: the time of day, in microseconds. `business`: a day on
    a weekend is moved to Monday, or to Friday if it is the last day of the month.
    """

    day: int = 1
    time: int = 0
    business: bool = False

    def _positions(self, dates: pd.DatetimeIndex) -> Numbers:
        since = months(dates) - self.offset
        right = self._days(months(dates)).to_numpy().astype("datetime64[us]").astype(np.int64)
        days = (microseconds(dates) - right) / (30 * DAY)
        return np.asarray(since // self.step + (since % self.step + days) / self.step, np.float64)

    def _dates(self, positions: Positions) -> pd.DatetimeIndex:
        return self._days(np.asarray(positions * self.step + self.offset, np.int64))

    def _days(self, numbers: Positions) -> pd.DatetimeIndex:
        starts = pd.DatetimeIndex(numbers.astype("datetime64[M]").astype("datetime64[us]"))
        days = starts + pd.to_timedelta(np.minimum(self.day, starts.days_in_month) - 1, unit="D")
        if self.business:
            day = days.to_numpy().astype("datetime64[D]")
            last = self.day == LAST
            moved = np.busday_offset(day, 0, "backward") if last else np.busday_offset(day, 0, "forward")
            days = pd.DatetimeIndex(moved.astype("datetime64[us]"))
        return days + pd.Timedelta(self.time, unit="us")

    def seasons(self) -> tuple[int, ...]:
        """A year in steps; nothing for a yearly series."""
        return (int(12 // self.step),) if 12 % self.step == 0 and self.step < 12 else ()

    def span(self, steps: float) -> str:
        """The length of `steps` steps in months, or in years for a yearly series."""
        years = self.step % 12 == 0
        return count(steps * self.step / (12 if years else 1), "years" if years else "months")

    def grid(self) -> str:
        """The step, and the day of the month."""
        kind = "business day" if self.business else "day"
        day = f"the last {kind}" if self.day == LAST else f"{kind} {self.day}"
        return self.span(1) if (self.day, self.business) == (1, False) else f"{self.span(1)} ({day})"


@dataclass(frozen=True)
class WeekdayClock(ZonedClock):
    """Some days of the week: `week` has a digit for each from Monday on, 1 if it counts; `time` of day in
    us."""

    week: str = "1111100"
    time: int = 0

    def _positions(self, dates: pd.DatetimeIndex) -> Numbers:
        days = dates.to_numpy().astype("datetime64[D]")
        whole = np.busday_count(np.datetime64("1970-01-01"), days, weekmask=self.week)
        closed = np.where(np.is_busday(days, weekmask=self.week), 0.0, 0.5)
        off = (microseconds(dates) % DAY - self.time) / DAY
        return np.asarray(whole - self.offset + closed + off, np.float64)

    def _dates(self, positions: Positions) -> pd.DatetimeIndex:
        start = np.busday_offset("1970-01-01", 0, roll="forward", weekmask=self.week)
        numbers = np.asarray(positions + self.offset, np.int64)
        days = np.busday_offset(start, numbers, weekmask=self.week)
        return pd.DatetimeIndex(days.astype("datetime64[us]")) + pd.Timedelta(self.time, unit="us")

    def seasons(self) -> tuple[int, ...]:
        """A week and a year, in steps."""
        days = self.week.count("1")
        return (days, 52 * days)

    def span(self, steps: float) -> str:
        """The number of days that count."""
        return count(steps, "business days" if self.week == "1111100" else "open days")

    def grid(self) -> str:
        """The step, and the days of the week."""
        days = [name for name, digit in zip(WEEKDAYS, self.week, strict=True) if digit == "1"]
        return f"1 {'business' if self.week == '1111100' else 'open'} day ({', '.join(days)})"


@dataclass(frozen=True)
class RowClock(Clock):
    """Row numbers, from 1, instead of times."""

    def exact(self, times: pd.Index[Any]) -> Numbers:
        """The number of the row."""
        return np.asarray(times, np.float64)

    def times(self, positions: Positions) -> pd.Index[Any]:
        """The number of the row."""
        return pd.Index(positions, name="row")

    def seasons(self) -> tuple[int, ...]:
        """No seasons."""
        return ()

    def span(self, steps: float) -> str:
        """The number of rows."""
        return count(steps, "rows")

    def label(self, time: Any) -> str:
        """The row in words."""
        return f"row {time}"


KINDS: dict[str, type[FixedClock | MonthClock | WeekdayClock | RowClock]] = {
    "fixed": FixedClock, "months": MonthClock, "weekdays": WeekdayClock, "rows": RowClock,
}  # fmt: skip


def clock_to_dict(clock: Clock) -> dict[str, Any]:
    """Describe a clock as plain data, the inverse of `clock_from_dict`."""
    kind = next(name for name, kind in KINDS.items() if type(clock) is kind)
    return {"kind": kind, **asdict(cast(FixedClock, clock))}


def clock_from_dict(data: Any) -> Clock:
    """Build a clock from a result of `clock_to_dict`. Raises a ValueError for anything else."""
    kind = KINDS.get(str(data.get("kind"))) if isinstance(data, dict) else None
    if kind is None:
        raise ValueError(f"clock must be the step of a series. Got {data!r:.200}")
    values = {name: value for name, value in data.items() if name != "kind"}
    known = {field.name for field in fields(kind)}
    if not known & {"step", "offset"} <= set(values) <= known:
        raise ValueError(f"clock must be the step of a series. Got {data!r:.200}")
    for name, value in values.items():
        if not _FIELDS[name](value) or (kind is not FixedClock and isinstance(value, float)):
            raise ValueError(f"clock: {name} is out of range. Got {value!r:.60}")
    return kind(**values)


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "step": lambda value: type(value) in (int, float) and 1 <= value <= 1e15,
    "offset": lambda value: type(value) in (int, float) and abs(value) <= 1e17,
    "zone": lambda value: value is None or (isinstance(value, str) and is_zone(value)),
    "day": _whole(1, 31),
    "time": _whole(0, DAY - 1),
    "wall": lambda value: type(value) is bool,
    "business": lambda value: type(value) is bool,
    "week": lambda value: (
        isinstance(value, str) and len(value) == 7 and {*value} <= {"0", "1"} and "1" in value
    ),
}


def microseconds(times: pd.DatetimeIndex) -> Positions:
    """Times without a time zone as microseconds after 1970-01-01."""
    return np.asarray(times.to_numpy().astype("datetime64[us]").astype(np.int64))


def months(times: pd.DatetimeIndex) -> Positions:
    """The months of times without a time zone, counted from 1970-01 on."""
    return np.asarray(times.to_numpy().astype("datetime64[M]").astype(np.int64))


def count(number: float, units: str) -> str:
    """A number of units in words."""
    single = units.endswith("s") and len(units) > 2
    return f"{number:.3g} {units.removesuffix('s') if number == 1 and single else units}"
