"""Infers the clock that a column of times follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gatewise.tasks.series.clock import (
    DAY,
    HOUR,
    LAST,
    MINUTE,
    SECOND,
    Clock,
    FixedClock,
    MonthClock,
    Positions,
    WeekdayClock,
    microseconds,
    months,
)

SNAP = 0.1  # tolerance of a time, in steps
# A weekday that never occurs is not on the grid, if there are WEEKS weeks with FULL of the other days.
WEEKS, FULL = 4, 0.8


@dataclass(frozen=True)
class Fit:
    """How well a clock fits times.

    Attributes:
        clock: the clock.
        positions: the position of the step nearest to each time.
        off: true for a time that is not near a step, or shares a step with the time before.
        away: the mean distance of times from their steps, in steps.
    """

    clock: Clock
    positions: Positions
    off: np.ndarray[tuple[int], np.dtype[np.bool_]]
    away: float

    @classmethod
    def of(cls, clock: Clock, times: pd.Index) -> Fit:
        """Place sorted times on a clock."""
        exact = clock.exact(times)
        positions = np.rint(exact).astype(np.int64)
        shared = np.diff(positions, prepend=positions[0] - 1) < 1
        away = np.abs(exact - positions)
        return cls(clock, positions, (away > SNAP) | shared, float(away.mean()))

    @property
    def gaps(self) -> int:
        """The number of steps without a time."""
        return int(self.positions[-1] - self.positions[0] + 1 - len(self.positions))

    def key(self) -> tuple[int, int, float]:
        """The sort key of fits: a better fit has a smaller key."""
        return int(self.off.sum()), self.gaps, round(self.away, 9)


def infer_clock(times: pd.DatetimeIndex) -> Clock | None:
    """Infer the clock of sorted, distinct times. None if no clock fits at least half of them."""
    fit = best_fit(times)
    return fit.clock if fit else None


def best_fit(times: pd.DatetimeIndex) -> Fit | None:
    """The best fit: fewest times off the grid, then fewest gaps. None if over half of the times are off."""
    zone = None if times.tz is None else str(times.tz)
    wall = times.tz_localize(None)
    clocks: list[Clock] = [*_month_clocks(wall, zone), *_week_clocks(wall, zone)]
    clocks += _fixed_clocks(wall, zone, wall=True)
    if zone is not None:
        passed = _fixed_clocks(times.tz_convert("UTC").tz_localize(None), zone, wall=False)
        clocks += [clock for clock in passed if clock.step < DAY]
    fits = [Fit.of(clock, times) for clock in clocks]
    suited = [fit for fit in fits if 2 * fit.off.sum() <= len(times)]
    return min(suited, key=Fit.key, default=None)


def _month_clocks(times: pd.DatetimeIndex, zone: str | None) -> Iterator[MonthClock]:
    """Monthly clocks, if no month has two times: on one day, on the last day, or on a business day."""
    numbers = months(times)
    if len(times) < 2 or np.diff(numbers).min() < 1:
        return
    step = _commonest(np.diff(numbers))
    time, day = _mode(microseconds(times) % DAY), _mode(np.asarray(times.day, np.int64))
    for days, business in ((day, False), (LAST, False), (LAST, True), (1, True)):
        if step:
            yield MonthClock(step, int(numbers[0]), zone, days, time, business)


def _week_clocks(times: pd.DatetimeIndex, zone: str | None) -> Iterator[WeekdayClock]:
    """A clock of some days of the week, if other days never occur."""
    used = set(times.day_of_week)
    long = (times[-1] - times[0]).days >= 7 * WEEKS and len(times) >= 2 * WEEKS
    of_day = microseconds(times) % DAY
    if 1 < len(used) < 7 and long and bool((of_day == of_day[0]).all()):
        week = "".join(str(int(day in used)) for day in range(7))
        clock = WeekdayClock(1, 0, zone, week, int(of_day[0]))
        if len(times) >= FULL * np.ptp(clock.exact(times)):
            yield clock


def _fixed_clocks(times: pd.DatetimeIndex, zone: str | None, wall: bool) -> list[FixedClock]:
    """The clock of the most common step, and the one with the best straight-line fit to all times."""
    stamps = microseconds(times)
    if len(stamps) < 2:
        return []
    commonest = _commonest(np.diff(stamps))
    found = [FixedClock(commonest, _mode(stamps % commonest), zone, wall)] if commonest else []
    return [*found, *_drifting(stamps, zone, wall)]


def _drifting(stamps: Positions, zone: str | None, wall: bool) -> Iterator[FixedClock]:
    """Clocks for measured or rounded times: a straight-line fit, and the nearest round step."""
    middle = float(np.median(np.diff(stamps)))
    places = np.concatenate([[0.0], np.cumsum(np.maximum(np.rint(np.diff(stamps) / middle), 1))])
    since = (stamps - stamps[0]).astype(np.float64)
    spread = places - places.mean()
    step = float((spread * (since - since.mean())).sum() / np.square(spread).sum())
    for near in _round(step, places[-1]):
        offset = float(stamps[0]) + float(np.median(since - places * near))
        whole = near == int(near)
        yield FixedClock(int(near) if whole else near, round(offset) if whole else offset, zone, wall)


def _round(step: float, steps: float) -> Iterator[float]:
    """The roundest step that is indistinguishable from this one over `steps` steps, and the step itself."""
    for unit in (DAY, HOUR, MINUTE, SECOND, SECOND // 10, SECOND // 100, 1000, 1):
        near = round(step / unit) * unit
        if near > 0 and abs(near - step) * steps <= SNAP * step:
            yield float(near)
            break
    if step >= 1:
        yield step


def _mode(values: Positions) -> int:
    """The most common value."""
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])


def _commonest(steps: Positions) -> int:
    """The most common step, or 0 if less than half of the steps are equal to it."""
    best = _mode(steps)
    return best if 2 * int((steps == best).sum()) >= len(steps) else 0


def breaks(times: pd.DatetimeIndex) -> float:
    """The number of steps that differ from the regular step; infinity if there is no regular step."""
    fit = best_fit(times) if len(times) > 2 else None
    if fit is None:
        return 0.0 if len(times) <= 2 else float("inf")
    return float((np.diff(fit.positions) != 1).sum() + fit.off.sum())
