"""The series that ships with the package: a year of hourly weather at Newark, New Jersey."""

from __future__ import annotations

from pathlib import Path

import gatewise
from gatewise.tasks.series.series import TimeSeries, read_series

FILE = Path(gatewise.__file__).parent / "data" / "newark_weather_2013.csv"
TARGET = "temperature (°C)"
HORIZON = 24


def weather(target: str = TARGET) -> TimeSeries:
    """Read 8,730 hours of 2013, with real gaps. Source and licence: ``gatewise/data/README.md``.

    >>> len(weather())
    8730
    """
    return read_series(FILE, target=target)
