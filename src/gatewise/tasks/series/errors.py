"""The error that a bad file raises, in one form: which file, which column, which row, what is wrong."""

from __future__ import annotations

from pathlib import Path

from gatewise import files


class SeriesError(ValueError):
    """A file that holds no usable series. The message is one sentence for its owner, without a traceback.

    `row` counts the rows of data from 1, so row 1 is the one under the header. Control characters that come
    from the file are escaped.

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
        super().__init__(files.escaped(f"{', '.join(place)}: {problem}."))


def quoted(value: object, most: int = 40) -> str:
    """Give a value of a file in quotes, shortened."""
    text = str(value)
    return repr(text if len(text) <= most else text[: most - 1] + "…")


def listed(names: list[str], most: int = 12) -> str:
    """Give names in quotes, the first of them if they are many."""
    shown = ", ".join(quoted(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"
