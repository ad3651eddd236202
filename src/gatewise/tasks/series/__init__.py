"""What a file or a frame holds, on a regular clock. Every reading is decided by all values, or refused.

`content` (bytes) < `delimited` (fields) < `table` (columns) < `columns`, `stamps`, `grid` < `series`.
"""

from gatewise.tasks.series.errors import SeriesError
from gatewise.tasks.series.reading import Reading
from gatewise.tasks.series.series import TimeSeries, read_series

__all__ = ["Reading", "SeriesError", "TimeSeries", "read_series"]
