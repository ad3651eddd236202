"""Options for reading a table, for what its values do not decide. Pandas is imported for those of times."""

from __future__ import annotations

import codecs
import warnings
from dataclasses import dataclass, fields
from pathlib import Path

from gatewise.tasks.shared.reading.errors import TableError

NAMED_FORMATS = {"excel": "excel", "unix": "s", "unix-ms": "ms", "unix-us": "us", "unix-ns": "ns"}
REPEATED = ("first", "last", "mean", "sum")


@dataclass(frozen=True)
class Reading:
    """Options for what a file may leave open. None means: decided by the values of the file, or refused.

    Attributes:
        time_format: how times are written: a pattern such as `"%d.%m.%Y %H:%M"`, or `"excel"` (days since
            1899-12-30), `"unix"` (seconds since 1970), `"unix-ms"`, `"unix-us"`, `"unix-ns"`.
        zone: the time zone of the times, such as ``"Europe/Berlin"``. Times with an offset are converted to
            it.
        repeated: how to merge rows with the same time: ``"first"``, ``"last"``, ``"mean"`` or ``"sum"``.
        irregular: whether rows are steps, whatever the time between them.
        resample: a step such as ``"1h"`` or ``"15min"``. Each step becomes the mean of its rows.
        inputs: the columns that are past inputs, instead of all columns of numbers.
        known: the columns that are inputs whose future is known.
        where: `"COLUMN=VALUE"`; only rows with that value are read.
        missing: texts or numbers that mark a missing value, beside the usual ones.
        decimal: the decimal mark, `"."` or `","`.
        thousands: the mark between groups of thousands, or `""` for none.
        encoding: the text encoding, such as ``"cp1252"``.
        skip_rows: the number of lines above the header.

    Raises:
        ValueError: an option has an invalid value.
    """

    time_format: str | None = None
    zone: str | None = None
    repeated: str | None = None
    irregular: bool | None = None
    resample: str | None = None
    inputs: tuple[str, ...] | None = None
    known: tuple[str, ...] | None = None
    where: str | None = None
    missing: tuple[str, ...] | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    skip_rows: int | None = None

    def __post_init__(self) -> None:
        checks = (
            ("time_format", f"a pattern such as %d.%m.%Y, or one of {', '.join(NAMED_FORMATS)}", _is_format),
            ("zone", "the name of a time zone, such as Europe/Berlin or UTC", is_zone),
            ("repeated", f"one of {', '.join(REPEATED)}", REPEATED.__contains__),
            ("resample", "a step such as 15min, 1h, 1D or MS", _is_step),
            ("where", "COLUMN=VALUE", lambda text: "=" in text[1:]),
            ("decimal", "'.' or ','", (".", ",").__contains__),
            ("thousands", "one of . , ' or a space, or nothing", ("", ".", ",", " ", "'").__contains__),
            ("encoding", "the name of a text encoding, such as utf-16 or cp1252", _is_encoding),
            ("skip_rows", "a number of lines", lambda lines: 0 <= lines < 1_000_000),
        )
        for name, expected, holds in checks:
            value = getattr(self, name)
            if value is not None and not holds(value):
                raise ValueError(f"{name} must be {expected}. Got {value!r}")
        if self.irregular and self.resample is not None:
            raise ValueError("irregular takes rows as they are: leave resample out")
        if self.decimal is not None and self.decimal == self.thousands:
            raise ValueError(f"thousands must be another mark than the decimal one. Got {self.thousands!r}")


def refuse_all_but_encoding(file: str | Path, reading: Reading | None, content: str) -> None:
    """Refuse options that would be ignored for a file of words or of text, as `content` says.

    Raises:
        TableError: an option other than the encoding is set.
    """
    for option in fields(Reading):
        if option.name != "encoding" and getattr(reading, option.name, None) is not None:
            name = option.name.replace("_", "-")
            raise TableError(file, f"--{name} does not apply to a file of {content}")


def _is_format(text: str) -> bool:
    if text in NAMED_FORMATS:
        return True
    import pandas as pd

    try:
        pd.to_datetime(pd.Series(["x"]), format=text, errors="coerce")
    except ValueError:
        return False
    return "%" in text


def is_zone(name: str) -> bool:
    """Whether a text is the name of a time zone that this machine knows."""
    import pandas as pd

    try:
        return pd.Timestamp(0).tz_localize(name).tz is not None  # None: of an unknown zone of dateutil
    except (KeyError, IndexError, ValueError, OSError, TypeError):  # IndexError: of an empty name
        return False


def _is_step(text: str) -> bool:
    import pandas as pd

    try:
        with warnings.catch_warnings(action="error"):  # a name that pandas will drop is refused now
            return bool(pd.Timestamp(0) + pd.tseries.frequencies.to_offset(text) > pd.Timestamp(0))
    except (ValueError, TypeError, OverflowError, Warning):
        return False


def _is_encoding(name: str) -> bool:
    try:
        "".encode(name)
        return bool(codecs.lookup(name))
    except (LookupError, ValueError):
        return False
