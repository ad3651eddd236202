"""The error that a bad file raises, in one form: which file, which column, which row, what is wrong."""

from __future__ import annotations

from pathlib import Path


class SeriesError(ValueError):
    """A file that holds no usable series. The message is one sentence for its owner, without a traceback.

    ``row`` counts the rows of data from 1, so row 1 is the one under the header.

    >>> print(SeriesError("shop.csv", "'many' is not a number", column="sold", row=7))
    shop.csv, column 'sold', row 7: 'many' is not a number.
    """

    def __init__(
        self, file: str | Path, problem: str, *, column: str | None = None, row: int | None = None
    ) -> None:
        place = [str(file)]
        if column is not None:
            place.append(f"column {column!r}")
        if row is not None:
            place.append(f"row {row}")
        super().__init__(f"{', '.join(place)}: {problem}.")
