"""Reads a file or a frame as a series on a regular clock.

How numbers and times are to be read is decided by all values of a column. If several ways are possible, the
file is refused with a message that names the option to set.

`gatewise.tasks.shared.reading` reads the files. Modules from low to high: `columns`, `stamps` and `grid`,
`series`, `panel`.
"""

from gatewise.tasks.series.errors import SeriesError
from gatewise.tasks.series.panel import Panel, as_panel, read_panel, read_wide
from gatewise.tasks.series.series import TimeSeries, read_series
from gatewise.tasks.shared.reading.options import Reading

__all__ = [
    "Panel", "Reading", "SeriesError", "TimeSeries", "as_panel", "read_panel", "read_series", "read_wide",
]  # fmt: skip
