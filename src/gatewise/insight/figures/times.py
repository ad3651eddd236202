"""Axes of times (dates or numbers), and the wide sheet for figures over time."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import dates as untyped_dates
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gatewise.insight.figures.arrays import Data, Numbers, as_numbers
from gatewise.insight.figures.axes import count_axis
from gatewise.insight.figures.style import SOFT

mpl_dates: Any = untyped_dates  # matplotlib ships no types for this module


def places(times: Data) -> Numbers:
    """The positions of times on an axis. Dates (pandas' index, NumPy's datetime64, datetime) become days.

    >>> import numpy as np
    >>> places(np.array(["1970-01-02", "1970-01-03"], dtype="datetime64[D]")), places(range(2))
    (array([1., 2.]), array([0, 1]))
    """
    return np.asarray(mpl_dates.date2num(np.asarray(times))) if _dated(times) else as_numbers(times)


def time_axis(axes: Axes, times: Data) -> None:
    """Label the x axis with dates if the times are dates, else with whole numbers."""
    if not _dated(times):
        count_axis(axes, "x", "step")
        return
    zone = getattr(times, "tz", None)
    locator = mpl_dates.AutoDateLocator(minticks=3, maxticks=7, tz=zone)
    axes.xaxis.set_major_locator(locator)
    form = mpl_dates.ConciseDateFormatter(locator, tz=zone)
    days = np.unique(places(times).astype(np.int64))
    day, hour, minute = 2, 3, 4  # levels of ticks
    form.zero_formats[hour] = "%d %b"
    form.offset_formats[day] = "%b %Y"
    form.offset_formats[hour] = "%Y" if len(days) > 1 else "%d %b %Y"  # at midnight a tick says the day
    form.offset_formats[minute] = "%d %b %Y"
    axes.xaxis.set_major_formatter(form)


def sheet(size: tuple[float, float], heading: str, note: str) -> Figure:
    """A wide figure with a heading and a note. Its axes are placed by hand."""
    figure = Figure(figsize=size, facecolor="white")
    height = size[1]
    figure.text(0.015, 1 - 0.2 / height, heading, fontsize=16, fontweight="bold", va="top")
    figure.text(0.015, 1 - 0.55 / height, note, fontsize=10, color=SOFT, va="top")
    return figure


def _dated(times: Data) -> bool:
    return not hasattr(times, "detach") and np.asarray(times).dtype.kind in "MO"
