"""Regular clocks in NumPy: times as whole numbers (positions) and back, and the seasons that a step suggests.

There are four kinds: steps of a fixed length, steps of whole months, some days of the week, and row numbers
for series without times. Times are of ``datetime64[us]``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]
Numbers = NDArray[np.float64]
Times = NDArray[np.datetime64]

SECOND, MINUTE, HOUR = 1_000_000, 60_000_000, 3_600_000_000  # microseconds
DAY, WEEK = 24 * HOUR, 7 * 24 * HOUR
UNITS = ((HOUR, "h"), (MINUTE, "min"), (SECOND, "s"), (1000, "ms"), (1, "µs"))
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
LAST = 31  # stands for the last day of the month


class Steps(ABC):
    """The base class of clocks. Positions count steps from a fixed origin.

    Attributes:
        zone: the time zone of the times; `None` if they have none.
    """

    zone: str | None = None

    @abstractmethod
    def seasons(self) -> tuple[int, ...]:
        """The seasons, in steps, that a series with this step may have, shortest first."""

    @abstractmethod
    def span(self, steps: float) -> str:
        """The length of `steps` steps in words, such as ``"24 h"``."""

    @abstractmethod
    def positions(self, times: Any) -> Numbers:
        """The position of every time as a real number, an integer for times on the grid.

        Args:
            times: ``[N]`` of ``datetime64``, in UTC if the clock has a time zone; for rows their numbers.
        """

    def grid(self) -> str:
        """The step in words, with further properties of the grid."""
        return self.span(1)


@dataclass(frozen=True)
class DatedSteps(Steps):
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

    def positions(self, times: Any) -> Numbers:
        """The position of every time, as a real number."""
        dates = np.asarray(times).astype("datetime64[us]")
        return self._positions(in_zone(dates, self.zone) if self.zone and self.local else dates)

    @abstractmethod
    def _positions(self, dates: Times) -> Numbers:
        """The positions of times, local ones if the steps are."""

    @abstractmethod
    def _dates(self, positions: Positions) -> Times:
        """The times at positions, local ones if the steps are."""


@dataclass(frozen=True)
class FixedSteps(DatedSteps):
    """Steps of `step` microseconds; position 0 is `offset` microseconds after 1970-01-01.

    `wall`: the steps are regular in local (wall-clock) time, as days are.
    """

    wall: bool = False

    @property
    def local(self) -> bool:
        """Whether steps are regular in local (wall-clock) time."""
        return self.wall

    def _positions(self, dates: Times) -> Numbers:
        since = microseconds(dates) - self.offset
        return np.asarray(since // self.step + (since % self.step) / self.step, np.float64)

    def _dates(self, positions: Positions) -> Times:
        since = np.rint(positions * self.step + self.offset).astype(np.int64)
        return np.asarray(since.astype("datetime64[us]"))

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
class IrregularSteps(FixedSteps):
    """Rows at irregular times, usually `step` microseconds apart. Positions are seconds, real numbers."""

    @property
    def gap(self) -> float:
        """The usual gap between two rows, in seconds."""
        return self.step / SECOND

    def _positions(self, dates: Times) -> Numbers:
        return np.asarray((microseconds(dates) - self.offset) / SECOND, np.float64)

    def _dates(self, positions: Positions) -> Times:
        since = np.rint(positions * SECOND + self.offset).astype(np.int64)
        return np.asarray(since.astype("datetime64[us]"))

    def seasons(self) -> tuple[int, ...]:
        """No seasons."""
        return ()

    def span(self, steps: float) -> str:
        """The number of rows."""
        return count(steps, "rows")

    def grid(self) -> str:
        """The usual gap."""
        return f"1 row (irregular, usually {FixedSteps(self.step, 0).span(1)} apart)"


@dataclass(frozen=True)
class MonthSteps(DatedSteps):
    """Steps of `step` months from `offset` months after 1970-01 on.

    `day`: the day of the month (31: the last). `time`: the time of day, in microseconds. `business`: a day on
    a weekend is moved to Monday, or to Friday if it is the last day of the month.
    """

    day: int = 1
    time: int = 0
    business: bool = False

    def _positions(self, dates: Times) -> Numbers:
        since = months(dates) - self.offset
        days = (microseconds(dates) - microseconds(self._days(months(dates)))) / (30 * DAY)
        return np.asarray(since // self.step + (since % self.step + days) / self.step, np.float64)

    def _dates(self, positions: Positions) -> Times:
        return self._days(np.asarray(positions * self.step + self.offset, np.int64))

    def _days(self, numbers: Positions) -> Times:
        month = numbers.astype("datetime64[M]")
        first, following = month.astype("datetime64[D]"), (month + 1).astype("datetime64[D]")
        days = first + (np.minimum(self.day, (following - first).astype(np.int64)) - 1)
        if self.business:
            days = np.busday_offset(days, 0, "backward" if self.day == LAST else "forward")
        return np.asarray(days.astype("datetime64[us]") + np.timedelta64(self.time, "us"), "datetime64[us]")

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
class WeekdaySteps(DatedSteps):
    """Some days of the week: `week` has a digit for each from Monday on, 1 if it counts; `time` of day in
    us."""

    week: str = "1111100"
    time: int = 0

    def _positions(self, dates: Times) -> Numbers:
        days = dates.astype("datetime64[D]")
        whole = np.busday_count(np.datetime64("1970-01-01"), days, weekmask=self.week)
        closed = np.where(np.is_busday(days, weekmask=self.week), 0.0, 0.5)
        off = (microseconds(dates) % DAY - self.time) / DAY
        return np.asarray(whole - self.offset + closed + off, np.float64)

    def _dates(self, positions: Positions) -> Times:
        start = np.busday_offset("1970-01-01", 0, roll="forward", weekmask=self.week)
        numbers = np.asarray(positions + self.offset, np.int64)
        days = np.busday_offset(start, numbers, weekmask=self.week)
        return np.asarray(days.astype("datetime64[us]") + np.timedelta64(self.time, "us"), "datetime64[us]")

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
class RowSteps(Steps):
    """Row numbers, from 1, instead of times."""

    def positions(self, times: Any) -> Numbers:
        """The number of the row."""
        return np.asarray(times, np.float64)

    def seasons(self) -> tuple[int, ...]:
        """No seasons."""
        return ()

    def span(self, steps: float) -> str:
        """The number of rows."""
        return count(steps, "rows")


KINDS: dict[str, type[Steps]] = {
    "fixed": FixedSteps, "months": MonthSteps, "weekdays": WeekdaySteps, "rows": RowSteps,
    "irregular": IrregularSteps,
}  # fmt: skip

_Clock = TypeVar("_Clock", bound=Steps)


def to_dict(clock: Steps) -> dict[str, Any]:
    """Describe a clock as plain data, the inverse of `from_dict`."""
    kind = next(name for name in reversed(KINDS) if isinstance(clock, KINDS[name]))
    return {"kind": kind, **asdict(cast(FixedSteps, clock))}


def from_dict(data: Any, kinds: Mapping[str, type[_Clock]], is_zone: Callable[[str], bool]) -> _Clock:
    """Build a clock of one of `kinds` from a result of `to_dict`. Raises a ValueError for anything else."""
    kind = kinds.get(str(data.get("kind"))) if isinstance(data, dict) else None
    if kind is None:
        raise ValueError(f"clock must be the step of a series. Got {data!r:.200}")
    values = {name: value for name, value in data.items() if name != "kind"}
    known = {field.name for field in fields(cast(type[FixedSteps], kind))}
    if not known & {"step", "offset"} <= set(values) <= known:
        raise ValueError(f"clock must be the step of a series. Got {data!r:.200}")
    for name, value in values.items():
        fits = _FIELDS[name](value) and (name != "zone" or value is None or is_zone(value))
        if not fits or (not issubclass(kind, FixedSteps) and isinstance(value, float)):
            raise ValueError(f"clock: {name} is out of range. Got {value!r:.60}")
    return kind(**values)


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "step": lambda value: type(value) in (int, float) and 1 <= value <= 1e15,
    "offset": lambda value: type(value) in (int, float) and abs(value) <= 1e17,
    "zone": lambda value: value is None or isinstance(value, str),
    "day": _whole(1, 31),
    "time": _whole(0, DAY - 1),
    "wall": lambda value: type(value) is bool,
    "business": lambda value: type(value) is bool,
    "week": lambda value: (
        isinstance(value, str) and len(value) == 7 and {*value} <= {"0", "1"} and "1" in value
    ),
}


def known_zone(name: str) -> bool:
    """Whether a text is the name of a time zone, or an offset from UTC, that this machine knows."""
    return _zone(name) is not None


def in_zone(times: Times, zone: str) -> Times:
    """Times in UTC as local times of a zone."""
    found = _zone(zone)
    if found is None:
        raise ValueError(f"the time zone {zone!r:.60} is not known on this machine.")
    try:
        moments = [moment.replace(tzinfo=UTC) for moment in times.astype(object)]
        local = [moment.astimezone(found).replace(tzinfo=None) for moment in moments]
    except (AttributeError, OverflowError, TypeError) as error:  # NaT, or a year that `datetime` lacks
        raise ValueError("times must lie in the years 1 to 9999.") from error
    return np.array(local, "datetime64[us]")


def _zone(name: str) -> ZoneInfo | timezone | None:
    if name == "UTC":
        return UTC
    if name.startswith("UTC") and name[3:4] in ("+", "-"):  # as pandas writes a fixed offset
        try:
            offset = datetime.fromisoformat(f"1970-01-01T00:00:00{name[3:]}").utcoffset()
        except ValueError:
            return None
        return timezone(offset or timedelta(0))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def microseconds(times: Times) -> Positions:
    """Times without a time zone as microseconds after 1970-01-01."""
    return np.asarray(times.astype("datetime64[us]").astype(np.int64))


def months(times: Times) -> Positions:
    """The months of times without a time zone, counted from 1970-01 on."""
    return np.asarray(times.astype("datetime64[M]").astype(np.int64))


def count(number: float, units: str) -> str:
    """A number of units in words."""
    single = units.endswith("s") and len(units) > 2
    return f"{number:.3g} {units.removesuffix('s') if number == 1 and single else units}"
