"""The error for bad files. Its message names the file, the column, the row and the problem."""

from __future__ import annotations

from pathlib import Path

from gatewise import files


class TableError(ValueError):
    """Raised for a file without a usable series. The message is one sentence for the owner of the file.

    `row` counts the rows of data from 1: row 1 is below the header. Control characters are escaped.

    >>> print(TableError("shop.csv", "'many' is not a number", column="sold", row=7))
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
    """A value of a file in quotes, shortened."""
    text = str(value)
    return repr(text if len(text) <= most else text[: most - 1] + "…")


def listed(names: list[str], most: int = 12) -> str:
    """Names in quotes; of many names only the first."""
    shown = ", ".join(quoted(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"
