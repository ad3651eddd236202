"""The regular clock of a series: its step, its positions, and the seasons its step suggests.

A clock turns times into whole positions and back. Two kinds exist: steps of a fixed length (seconds to
weeks) and steps of whole months (monthly, quarterly, yearly series).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Positions = NDArray[np.int64]

SECOND, MINUTE, HOUR = 1_000_000, 60_000_000, 3_600_000_000  # microseconds
DAY, WEEK = 24 * HOUR, 7 * 24 * HOUR
UNITS = ((HOUR, "h"), (MINUTE, "min"), (SECOND, "s"), (1000, "ms"))


class Clock(Protocol):
    """What both kinds of clock do. Positions count whole steps from one fixed origin."""

    def exact(self, times: pd.DatetimeIndex) -> NDArray[np.float64]:
        """Give the position of every time, as a real number: whole where the time is on the grid."""
        ...

    def times(self, positions: Positions) -> pd.DatetimeIndex:
        """Give the time at every position."""
        ...

    def seasons(self) -> tuple[int, ...]:
        """Give the seasons, in steps, that a series with this step may have, shortest first."""
        ...

    def span(self, steps: float) -> str:
        """Give the length of so many steps in words, such as ``"24 h"``."""
        ...


@dataclass(frozen=True)
class FixedClock:
    """Steps of ``step`` microseconds; position 0 is ``offset`` microseconds after 1970-01-01."""

    step: int
    offset: int

    def exact(self, times: pd.DatetimeIndex) -> NDArray[np.float64]:
        """Give the position of every time, as a real number."""
        since: Positions = _microseconds(times) - self.offset
        return since // self.step + (since % self.step) / self.step

    def times(self, positions: Positions) -> pd.DatetimeIndex:
        """Give the time at every position."""
        return pd.DatetimeIndex((positions * self.step + self.offset).astype("datetime64[us]"))

    def seasons(self) -> tuple[int, ...]:
        """A day and a week for steps below a day; a week and a year for days; a year for weeks."""
        year = 365 * DAY if self.step == DAY else 52 * WEEK
        periods = (DAY, WEEK) if self.step < DAY else (WEEK, year)
        return tuple(p // self.step for p in periods if p % self.step == 0 and p > self.step)

    def span(self, steps: float) -> str:
        """Give the length of so many steps in the largest fitting unit; hours up to three days."""
        length = steps * self.step
        if self.step % WEEK == 0:
            return _count(length / WEEK, "weeks")
        if self.step % DAY == 0 or length > 72 * HOUR:
            return _count(length / DAY, "days")
        unit, name = next(((u, n) for u, n in UNITS if length >= u), UNITS[-1])
        return _count(length / unit, name)


@dataclass(frozen=True)
class MonthClock:
    """Steps of ``step`` months on day ``day`` (31: month ends), from ``offset`` months after 1970-01 on."""

    step: int
    offset: int
    day: int

    def exact(self, times: pd.DatetimeIndex) -> NDArray[np.float64]:
        """Give the position of every time, as a real number; days off the clock's own are a fraction."""
        months = _months(times) - self.offset
        right = np.minimum(self.day, times.days_in_month)
        days: NDArray[np.float64] = (times.day.to_numpy() - np.asarray(right)) / 30.0
        return months // self.step + (months % self.step + days) / self.step

    def times(self, positions: Positions) -> pd.DatetimeIndex:
        """Give the time at every position."""
        first = (positions * self.step + self.offset).astype("datetime64[M]").astype("datetime64[us]")
        starts = pd.DatetimeIndex(first)
        return starts + pd.to_timedelta(np.minimum(self.day, starts.days_in_month) - 1, unit="D")

    def seasons(self) -> tuple[int, ...]:
        """Give the year, in steps, or nothing for a yearly series."""
        return (12 // self.step,) if 12 % self.step == 0 and self.step < 12 else ()

    def span(self, steps: float) -> str:
        """Give the length of so many steps, in months, or in years for a yearly series."""
        years = self.step % 12 == 0
        return _count(steps * self.step / (12 if years else 1), "years" if years else "months")


def infer_clock(times: pd.DatetimeIndex) -> Clock | None:
    """Infer the clock of sorted, distinct times; ``None`` if no step is common to at least half of them."""
    day = _day_of_month(times)
    if day is not None:
        months = _months(times)
        step = _commonest(np.diff(months))
        return MonthClock(step, int(months[0]), day) if step else None
    stamps = _microseconds(times)
    step = _commonest(np.diff(stamps))
    return FixedClock(step, int(stamps[0] % step)) if step else None


def clock_to_dict(clock: Clock) -> dict[str, Any]:
    """Describe a clock as plain data, the inverse of ``clock_from_dict``."""
    assert isinstance(clock, FixedClock | MonthClock)
    return {"kind": "months" if isinstance(clock, MonthClock) else "fixed", **asdict(clock)}


def clock_from_dict(data: Any) -> Clock:
    """Build a clock from what ``clock_to_dict`` gave; ``ValueError`` if it is anything else."""
    if not isinstance(data, dict):
        raise ValueError(f"clock: expected the step of a series. Got {data!r}")
    kinds: dict[Any, type[FixedClock | MonthClock]] = {"fixed": FixedClock, "months": MonthClock}
    values = {key: value for key, value in data.items() if key != "kind"}
    kind = kinds.get(data.get("kind"))
    if kind is None or set(values) != set(kind.__dataclass_fields__):
        raise ValueError(f"clock: expected the step of a series. Got {data!r}")
    if not all(type(value) is int for value in values.values()) or values["step"] < 1:
        raise ValueError(f"clock: expected whole numbers and a step of at least 1. Got {data!r}")
    return kind(**values)


def _day_of_month(times: pd.DatetimeIndex) -> int | None:
    """Give the day of month that all times share (31: month ends), or ``None`` for other series."""
    if len(times) < 2 or np.diff(_months(times)).min() < 1 or (times != times.normalize()).any():
        return None
    if (times.day == times.days_in_month).all():
        return 31
    return int(times.day[0]) if times.day.nunique() == 1 else None


def _commonest(steps: Positions) -> int:
    values, counts = np.unique(steps, return_counts=True)
    best = int(counts.argmax())
    return int(values[best]) if counts[best] * 2 >= len(steps) else 0


def _microseconds(times: pd.DatetimeIndex) -> Positions:
    return np.asarray(times.to_numpy().astype("datetime64[us]").astype(np.int64))


def _months(times: pd.DatetimeIndex) -> Positions:
    return np.asarray(times.to_numpy().astype("datetime64[M]").astype(np.int64))


def _count(number: float, unit: str) -> str:
    single = {"weeks": "week", "days": "day", "months": "month", "years": "year"}
    return f"{number:.3g} {single.get(unit, unit) if number == 1 else unit}"
