"""The error for files without a usable series."""

from gatewise.tasks.shared.reading.errors import TableError

SeriesError = TableError  # one class for all files that cannot be used; the name of `read_series`
