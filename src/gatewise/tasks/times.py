"""Columns of text or whole numbers read as times."""

from __future__ import annotations

from typing import Any

import pandas as pd

DATES: tuple[str, ...] = ("%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d/%m/%y", "%m/%d/%y")
DATES += ("%d/%b/%Y", "%d/%b/%y", "%d %b %Y", "%b %d, %Y", "%b %Y")
HOURS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
SEPARATED = r"^(\d+)[./-](\w+)[./-](\d+)"  # a date that is written with dots, slashes or dashes
DIGIT_FORMATS = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d"}  # times written as whole numbers, by their length
EPOCH_UNITS: dict[int, Any] = {10: "s", 13: "ms"}


def parse_times(values: pd.Series[Any]) -> pd.Series[pd.Timestamp] | None:
    """Read times: ISO 8601, usual forms such as 31.12.2020 23:00, whole years, months or days, Unix times.

    Unreadable times come back as NaT, times with a zone in UTC. ``None`` says that every date could be day
    first as well as month first, with different results.
    """
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return _without_zone(values)
    text = values.astype("string").str.strip().str.removesuffix(".0")
    if text.str.fullmatch(r"\d+").all():
        return _from_digits(text)
    iso = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
    if iso.notna().mean() > 0.5:
        return _without_zone(iso)
    return _in_one_form(text.str.replace(SEPARATED, r"\1/\2/\3", regex=True))


def _in_one_form(text: pd.Series[str]) -> pd.Series[pd.Timestamp] | None:
    """Read times in the one form that suits all; ``None`` if two forms do and differ."""
    forms = [date + hour for date in DATES for hour in HOURS]
    suited = [
        form for form in forms if pd.to_datetime(text.iloc[:1], format=form, errors="coerce").notna().all()
    ]
    read = [pd.to_datetime(text, format=form, errors="coerce") for form in suited]
    whole = [times for times in read if times.notna().all()]
    if any(not whole[0].equals(times) for times in whole[1:]):
        return None
    unread = pd.Series(pd.NaT, index=text.index, dtype="datetime64[us]")
    return max(read, key=lambda times: int(times.notna().sum()), default=unread)


def _from_digits(text: pd.Series[str]) -> pd.Series[pd.Timestamp]:
    """Read years, months, days or Unix times that are written as whole numbers."""
    length = int(text.str.len().iloc[0])
    alike = text.where(text.str.len() == length)
    if length in EPOCH_UNITS:
        return pd.to_datetime(pd.to_numeric(alike), unit=EPOCH_UNITS[length], errors="coerce")
    return pd.to_datetime(alike, format=DIGIT_FORMATS.get(length, "%Y"), errors="coerce")


def _without_zone(times: pd.Series[pd.Timestamp]) -> pd.Series[pd.Timestamp]:
    return times if times.dt.tz is None else times.dt.tz_convert("UTC").dt.tz_localize(None)
