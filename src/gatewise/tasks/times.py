"""Columns of text or whole numbers read as times."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pandas.tseries.api import guess_datetime_format

DIGIT_FORMATS = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d"}  # times written as whole numbers, by their length
EPOCH_UNITS: dict[int, Any] = {10: "s", 13: "ms"}


def parse_times(values: pd.Series[Any]) -> pd.Series[pd.Timestamp] | None:
    """Read times: ISO 8601, any one form that pandas can guess, whole years, months or days, or Unix times.

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
    orders = [_guess(text, dayfirst=dayfirst) for dayfirst in (False, True)]
    whole = [order for order in orders if order.notna().all()]
    if len(whole) == 2 and not whole[0].equals(whole[1]):
        return None
    return _without_zone(max(orders, key=lambda order: int(order.notna().sum())))


def _guess(text: pd.Series[str], *, dayfirst: bool) -> pd.Series[pd.Timestamp]:
    """Read times in the form of the first one."""
    form = guess_datetime_format(str(text.iloc[0]), dayfirst=dayfirst)
    if form is None:
        return pd.Series(pd.NaT, index=text.index, dtype="datetime64[us]")
    return pd.to_datetime(text, format=form, errors="coerce", utc=True)


def _from_digits(text: pd.Series[str]) -> pd.Series[pd.Timestamp]:
    """Read years, months, days or Unix times that are written as whole numbers."""
    length = int(text.str.len().iloc[0])
    alike = text.where(text.str.len() == length)
    if length in EPOCH_UNITS:
        return pd.to_datetime(pd.to_numeric(alike), unit=EPOCH_UNITS[length], errors="coerce")
    return pd.to_datetime(alike, format=DIGIT_FORMATS.get(length, "%Y"), errors="coerce")


def _without_zone(times: pd.Series[pd.Timestamp]) -> pd.Series[pd.Timestamp]:
    return times if times.dt.tz is None else times.dt.tz_convert("UTC").dt.tz_localize(None)
