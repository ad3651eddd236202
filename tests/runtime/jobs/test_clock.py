"""Clocks in NumPy give the positions that those of pandas give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatewise.runtime.jobs import clock
from gatewise.tasks.series.clock import Clock, clock_from_dict, clock_to_dict

HOUR, DAY = clock.HOUR, clock.DAY
CLOCKS: dict[str, dict[str, Any]] = {
    "hours": {"kind": "fixed", "step": HOUR, "offset": 1800_000_000},
    "hours of a zone": {"kind": "fixed", "step": HOUR, "offset": 0, "zone": "Europe/Berlin"},
    "days of a zone": {"kind": "fixed", "step": DAY, "offset": 0, "zone": "America/New_York", "wall": True},
    "days of an offset": {"kind": "fixed", "step": DAY, "offset": 0, "zone": "UTC+05:30", "wall": True},
    "months": {"kind": "months", "step": 3, "offset": 1, "day": 31},
    "business months": {"kind": "months", "step": 1, "offset": 0, "day": 31, "business": True, "zone": "UTC"},
    "weekdays": {"kind": "weekdays", "step": 1, "offset": 4, "time": HOUR, "zone": "Asia/Tokyo"},
}


def both(data: dict[str, Any]) -> tuple[Clock, clock.Steps]:
    return clock_from_dict(data), clock.from_dict(data, clock.KINDS, clock.known_zone)


@pytest.mark.parametrize("name", CLOCKS)
def test_positions_are_those_of_pandas(name: str) -> None:
    theirs, ours = both(CLOCKS[name])
    times = pd.DatetimeIndex(theirs.times(np.arange(200, 260)))
    plain = (times.tz_convert("UTC").tz_localize(None) if times.tz else times).to_numpy()
    assert ours.positions(plain).tolist() == theirs.exact(times).tolist()
    assert np.rint(ours.positions(plain)).tolist() == list(range(200, 260))
    assert clock.to_dict(ours) == clock_to_dict(theirs)


def test_rows_are_their_own_positions() -> None:
    _, ours = both({"kind": "rows"})
    assert ours.positions(np.array([3, 4])).tolist() == [3, 4]
    assert (ours.seasons(), ours.span(2)) == ((), "2 rows")


@pytest.mark.parametrize("zone", ["", "Nowhere/Here", "UTC+x", "../../etc/passwd", "/etc/passwd", "a\0b"])
def test_unknown_zones_are_refused(zone: str) -> None:
    assert not clock.known_zone(zone)
    with pytest.raises(ValueError, match="zone is out of range"):
        clock.from_dict(CLOCKS["hours"] | {"zone": zone}, clock.KINDS, clock.known_zone)


@pytest.mark.parametrize("time", ["NaT", "-0001-01-01", "12000-01-01"])
def test_times_that_no_zone_has_are_refused(time: str) -> None:
    _, ours = both(CLOCKS["days of a zone"])
    with pytest.raises(ValueError, match="years 1 to 9999"):
        ours.positions(np.array([time], "datetime64[us]"))
