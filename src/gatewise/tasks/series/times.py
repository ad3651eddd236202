"""Reads columns as times. If two formats can read a column, all of its values decide, or it is refused.

Times are returned as an index in the order of the rows, with a time zone if the column has one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any

import numpy as np
import pandas as pd

from gatewise.tasks.series.inference import breaks
from gatewise.tasks.shared.reading.errors import quoted
from gatewise.tasks.shared.reading.options import NAMED_FORMATS

Stamps = pd.Series  # a column of datetime64[us], NaT for values that are not times

DAYS = ["%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d/%m/%y", "%m/%d/%y", "%y/%m/%d"]
DAYS += ["%d/%b/%Y", "%d/%b/%y", "%d %b %Y", "%d %B %Y", "%b %d %Y", "%B %d %Y", "%Y %b %d", "%a %d %b %Y"]
DAYS += ["%b %Y", "%B %Y", "%b/%Y", "%b/%y", "%m/%Y", "%Y/%m", "%Y%m%d"]
COMPACT = {  # formats of times written as integers, by their length
    4: ["%Y"], 6: ["%Y%m", "%y%m%d"], 7: ["%Y%j"], 8: ["%Y%m%d", "%d%m%Y", "%m%d%Y"],
    10: ["%Y%m%d%H"], 12: ["%Y%m%d%H%M"], 14: ["%Y%m%d%H%M%S"],
}  # fmt: skip
YEARS = (1600, 2200)  # range of years in times written as integers
NEAR = (1, 9000)  # range of years of all times
UNIX = {"unix": 1, "unix-ms": 1000, "unix-us": 10**6, "unix-ns": 10**9}  # ticks a second
UNIX_FROM, UNIX_TO = 10**8, 92 * 10**8  # seconds that are read as a time: 1973 to 2261, as int64 holds in ns
EXCEL_FROM, EXCEL_TO = 20_000, 80_000  # days that are read as a time: 1954 to 2119
EXCEL_START = pd.Timestamp("1899-12-30")
QUARTER = r"(?:([0-9]{4})[\s-]*[QqKk]([1-4])|[QqKk]([1-4])[\s/-]*([0-9]{4}))"
WEEK = r"([0-9]{4})-?[Ww]([0-9]{2})(?:-?([1-7]))?"
CLOCK = r"([0-9]{1,2})[:.h]([0-9]{2})(?:[:.]([0-9]{2})(?:[.,]([0-9]{1,9}))?)?\s*([AaPp])?\.?(?:[Mm]\.?)?"
ZONE = r"(Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})"
PARTS = rf"^(.*?[^\s,T])(?:[T,\s]+({CLOCK}))?\s*$"
INTERVAL = r"^(.*[0-9]\S*)\s+[-\u2013]\s+\S.*[0-9].*$|^([^/]*T[^/]*)/[^/]*T[^/]*$"


@dataclass(frozen=True)
class Candidate:
    """One way to read a column: its format, the times, and whether they have different UTC offsets."""

    form: str
    times: Stamps
    mixed: bool = False

    @property
    def whole(self) -> bool:
        """Whether it reads every value."""
        return bool(self.times.notna().all())


class TimeError(ValueError):
    """Raised for a column that cannot be read as times: the problem, and the index of the value."""

    def __init__(self, problem: str, place: int | None = None) -> None:
        self.problem = problem
        self.place = place
        super().__init__(problem)


def parse_times(
    values: pd.Series[Any], form: str | None = None, of_day: pd.Series[pd.Timedelta] | None = None
) -> Candidate:
    """Read a column without missing values. Times with different UTC offsets are converted to UTC.

    `form` is the value of ``--time-format``; `of_day` is added to the times.

    Raises:
        TimeError: a value is not a time, or two formats read all values and give different times.
    """
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        text, candidates = values, [Candidate("", _near(values))]
    else:
        text = _as_text(values)
        began = _beginnings(text)
        candidates = [_given(began, form)] if form else list(_candidates(began))
    if of_day is not None:
        length = of_day.to_numpy().astype("timedelta64[us]")
        candidates = [replace(found, times=found.times + length) for found in candidates]
    return decide(text, candidates)


def readable(values: pd.Series[Any], form: str | None = None) -> bool:
    """Whether a column seems to hold times, by a few values, so that a bad value gets a clear error."""
    few = _beginnings(_as_text(values[values.notna()].iloc[:3]))
    candidates = [_given(few, form)] if form else _candidates(few)
    return any(candidate.times.notna().any() for candidate in candidates)


def parse_clock(values: pd.Series[Any]) -> pd.Series[pd.Timedelta]:
    """Read a column of times of day: 17:24, 5:24 PM, hours 0 to 24, or 0 to 2400. NaT for other values."""
    text = _as_text(values)
    if text.str.fullmatch(r"[0-9]{1,4}").all():
        number = text.astype(np.int64)
        hours, minutes = (number // 100, number % 100) if number.max() > 24 else (number, number * 0)
        length = pd.to_timedelta(hours * 3600 + minutes * 60, unit="s")
        return length.where((hours <= 24) & (minutes < 60))
    return _of_day(text.str.extract(rf"^{CLOCK}$"))


def decide(text: pd.Series[str], candidates: list[Candidate]) -> Candidate:
    """Choose the candidate that reads all values; of several, the one with regular steps.

    Raises:
        TimeError: no candidate fits, or several do.
    """
    whole: list[Candidate] = []
    for candidate in candidates:
        if candidate.whole and not any(candidate.times.equals(other.times) for other in whole):
            whole.append(candidate)
    if not whole:
        raise _unread(text, candidates)
    for wanted in (_is_regular, _is_ordered):
        suited = [candidate for candidate in whole if wanted(candidate)]
        whole = suited if len(suited) == 1 else whole
        if len(whole) == 1:
            return whole[0]
    one, two = whole[:2]
    place = int(np.argmax(np.asarray(one.times != two.times)))
    ways = " or ".join(f"{way.times.iloc[place]} (--time-format {quote(way.form)})" for way in (one, two))
    raise TimeError(f"{quoted(text.iloc[place])} can be read as {ways}; say which", place)


def _is_ordered(candidate: Candidate) -> bool:
    """Whether the distinct times are in order and follow a regular step."""
    index = pd.DatetimeIndex(candidate.times.drop_duplicates())
    ordered = index.is_monotonic_increasing or index.is_monotonic_decreasing
    return ordered and breaks(index.sort_values()) < float("inf")


def _is_regular(candidate: Candidate) -> bool:
    """Whether the distinct times are in order and without gaps."""
    return (
        _is_ordered(candidate)
        and breaks(pd.DatetimeIndex(candidate.times.drop_duplicates()).sort_values()) == 0
    )


def _unread(text: pd.Series[str], candidates: list[Candidate]) -> TimeError:
    best = max((c.times.notna() for c in candidates), key=lambda read: int(read.sum()), default=None)
    place = 0 if best is None else int(np.argmax(~np.asarray(best)))
    hint = "write it as 2020-12-31 23:00, or say how times are written with --time-format"
    return TimeError(f"{quoted(text.iloc[place])} is not a time that can be read; {hint}", place)


def _near(values: pd.Series[Any]) -> Stamps:
    """The times in microseconds, refused if they are too far from today for Python to print."""
    years = pd.DatetimeIndex(values).asi8 // _ticks(values) // 31_556_952 + 1970
    far = (years < NEAR[0]) | (years > NEAR[1])
    if far.any():
        place = int(np.argmax(far))
        raise TimeError(f"the year {years[place]} is too far from today", place)
    return pd.Series(values.dt.as_unit("us"))


def _ticks(values: pd.Series[Any]) -> int:
    """The ticks per second of a column of times."""
    return {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[pd.DatetimeIndex(values).unit]


def _as_text(values: pd.Series[Any]) -> pd.Series[str]:
    if isinstance(values.dtype, pd.PeriodDtype):
        values = values.dt.to_timestamp()
    if pd.api.types.is_float_dtype(values.dtype) and (values == values.round()).all():
        values = values.astype(np.int64)
    text = values.astype(object).map(str).astype("str").str.strip()
    if not text.str.isascii().all():
        text = text.str.replace("[\u00a0\u2009\u202f]", " ", regex=True)
    return text.str.removesuffix(".0") if text.str.fullmatch(r"[0-9]+\.0").all() else text


def _beginnings(text: pd.Series[str]) -> pd.Series[str]:
    """The beginnings of intervals such as 01.01.2020 00:00 - 01.01.2020 01:00."""
    text = text.where(text.str.contains("[0-9]", regex=True), "?")  # pandas reads "now" and "today" as times
    if not text.iloc[:3].str.match(INTERVAL).any():
        return text
    began = text.str.extract(INTERVAL)
    return began[0].fillna(began[1]).fillna(text)


def _candidates(text: pd.Series[str]) -> Iterator[Candidate]:
    if text.str.fullmatch(r"[0-9]+").all():
        yield from _from_digits(text)
    elif text.str.fullmatch(r"[0-9]+[.,][0-9]+|[0-9]{5,}").all():
        yield from _from_fractions(text)
    else:
        iso = _by_pattern(text, "ISO8601")
        yield iso
        if not iso.whole:
            yield from _from_parts(text)


def _given(text: pd.Series[str], form: str) -> Candidate:
    if form in NAMED_FORMATS:
        numbers = pd.to_numeric(text.str.replace(",", ".", regex=False), errors="coerce")
        return Candidate(form, _excel(numbers) if form == "excel" else _unix(numbers, UNIX[form]))
    return _by_pattern(text, form)


def _by_pattern(text: pd.Series[str], pattern: str) -> Candidate:
    try:
        times, mixed = pd.to_datetime(text, format=pattern, errors="coerce"), False
    except ValueError:  # different UTC offsets, as before and after a change of clocks
        times, mixed = pd.to_datetime(text, format=pattern, errors="coerce", utc=True), True
    return Candidate(pattern, times.dt.as_unit("us"), mixed)


def _from_digits(text: pd.Series[str]) -> Iterator[Candidate]:
    """Years, months, days or hours written as integers; Unix times; Excel's days."""
    numbers = text.where(text.str.len() <= 19).astype("Float64").astype(np.float64)
    for unit, ticks in UNIX.items():
        if numbers.between(UNIX_FROM * ticks, UNIX_TO * ticks).all():
            yield Candidate(unit, _unix(text.astype(np.int64), ticks))
    if numbers.between(EXCEL_FROM, EXCEL_TO).all():
        yield Candidate("excel", _excel(numbers))
    length = int(text.str.len().iloc[0]) if len(text) else 0
    alike = text.where(text.str.len() == length)
    for form in COMPACT.get(length, []):
        times = pd.to_datetime(alike, format=form, errors="coerce").dt.as_unit("us")
        yield Candidate(form, times.where(times.dt.year.between(*YEARS)))


def _from_fractions(text: pd.Series[str]) -> Iterator[Candidate]:
    """Excel's days and Unix times with a fraction."""
    numbers = pd.to_numeric(text.str.replace(",", ".", regex=False), errors="coerce")
    for unit, ticks in UNIX.items():
        if numbers.between(UNIX_FROM * ticks, UNIX_TO * ticks).all():
            yield Candidate(unit, _unix(numbers, ticks))
    if numbers.between(EXCEL_FROM, EXCEL_TO).all():
        yield Candidate("excel", _excel(numbers))


def _unix(numbers: pd.Series[Any], ticks: int) -> Stamps:
    """Seconds since 1970, or fractions of them; integers without loss."""
    if pd.api.types.is_integer_dtype(numbers.dtype):
        whole = numbers * (10**6 // ticks) if ticks <= 10**6 else numbers // (ticks // 10**6)
    else:
        whole = (numbers * (10**6 / ticks)).round()
        whole = whole.where(whole.abs() < 9e18 / 1000)
    return pd.to_datetime(whole, unit="us", errors="coerce").dt.as_unit("us")


def _excel(numbers: pd.Series[float]) -> Stamps:
    """Days since 1899-12-30; fractions are precise to a millisecond."""
    known = numbers.where(numbers.between(0, 2_958_465))
    return EXCEL_START.as_unit("us") + pd.to_timedelta(
        (known * 86_400_000).round() * 1000, unit="us"
    ).dt.as_unit("us")


def _from_parts(text: pd.Series[str]) -> Iterator[Candidate]:
    """A day in one of many formats with a time of day; quarters; times that are not quite ISO 8601."""
    zone = text.str.extract(rf"[0-9]\s*{ZONE}$")[0]
    zoned = len(zone) > 0 and bool(zone.notna().all()) and bool(text.str.contains(r"[0-9][:.][0-9]").all())
    if zoned:
        text = text.str.replace(rf"\s*{ZONE}$", "", regex=True)
    parts = text.str.extract(PARTS)
    length = _of_day(parts.iloc[:, 2:].set_axis(range(5), axis="columns"))
    length = length.where(parts[1].notna(), pd.Timedelta(0))
    codes, days = pd.factorize(parts[0].fillna(""))
    for form, read in _days(pd.Series(days, dtype="str")):
        times = pd.Series(read.to_numpy()[codes], index=text.index) + length
        spelled = _spelled(form, text.iloc[0], parts.iloc[0]) + ("%z" if zoned else "")
        found = Candidate(spelled, times.dt.as_unit("us"))
        yield _in_zone(found, zone) if zoned else found


def _spelled(form: str, whole: str, parts: pd.Series[Any]) -> str:
    """The pattern of a value with a day in format `form`, with its separators as written."""
    day, clock = str(parts[0]), parts[1]
    mark = re.search(r"\w([./-])\w", day)
    form = form.replace("/", mark[1]) if mark else form
    if not isinstance(clock, str) or "%" not in form:
        return form
    numbers = iter(("%I" if isinstance(parts[6], str) else "%H", "%M", "%S", "%f"))
    spelled = re.sub(r"[0-9]+", lambda _: next(numbers), re.sub(r"[AaPp]\.?[Mm]?\.?$", "%p", clock))
    return form + whole[len(day) : whole.index(clock, len(day))] + spelled


def _days(days: pd.Series[str]) -> Iterator[tuple[str, Stamps]]:
    """All formats of a day that read at least one of some twenty sample values."""
    if days.str.fullmatch(WEEK).all():
        weeks = (
            days.str.upper().str.replace(WEEK, r"\1-W\2-\3", regex=True).str.replace("-$", "-1", regex=True)
        )
        yield "weeks", pd.to_datetime(weeks, format="%G-W%V-%u", errors="coerce")
        return
    quarters = days.str.extract(rf"^{QUARTER}$")
    if bool(quarters.notna().any(axis=1).all()):
        year, quarter = quarters[0].fillna(quarters[3]), quarters[1].fillna(quarters[2])
        month = (3 * quarter.astype(np.int64) - 2).astype(str)
        yield "quarters", pd.to_datetime(year + "-" + month, format="%Y-%m", errors="coerce")
        return
    plain = days.str.replace(r"^([0-9]{4})-?[Mm]([0-9]{2})$", r"\1/\2", regex=True).str.removesuffix(".")
    plain = plain.str.replace(r"^(\w+)[./-](\w+)(?:[./-](\w+))?$", r"\1/\2/\3", regex=True).str.rstrip("/")
    plain = plain.str.replace(r",\s*|\s+", " ", regex=True)
    some = plain.iloc[:: max(1, len(plain) // 20)]
    for form in DAYS:
        if pd.to_datetime(some, format=form, errors="coerce").notna().any():
            yield form, pd.to_datetime(plain, format=form, errors="coerce")


def _of_day(parts: pd.DataFrame) -> pd.Series[pd.Timedelta]:
    """The time of day from hours, minutes, seconds, fraction, and A or P (AM or PM); NaT if invalid."""
    hours, minutes, seconds = (parts[k].fillna("0").astype(np.int64) for k in range(3))
    fraction = parts[3].fillna("0").str.ljust(6, "0").str[:6].astype(np.int64)
    half = parts[4].str.upper()
    right = (minutes < 60) & (seconds < 60) & parts[0].notna()
    right &= (hours < 24) | ((hours == 24) & (minutes == 0) & (seconds == 0)) & half.isna()
    right &= half.isna() | hours.between(1, 12)
    hours = hours.where(half.isna(), hours % 12 + 12 * (half == "P"))
    length = ((hours * 60 + minutes) * 60 + seconds) * 10**6 + fraction
    return pd.to_timedelta(length, unit="us").where(right)


def _in_zone(found: Candidate, zone: pd.Series[str]) -> Candidate:
    """Apply the UTC offsets of times; with several different offsets the result is in UTC."""
    utc = {"Z": "+0000", "UTC": "+0000", "GMT": "+0000", "-0000": "+0000"}
    offsets = zone.str.replace(":", "", regex=False).replace(utc)
    if offsets.nunique() == 1:
        name = f"UTC{offsets.iloc[0][:3]}:{offsets.iloc[0][3:]}".replace("UTC+00:00", "UTC")
        return replace(found, times=found.times.dt.tz_localize(name))
    minutes = offsets.str[1:3].astype(np.int64) * 60 + offsets.str[3:5].astype(np.int64)
    east = minutes.where(~offsets.str.startswith("-"), -minutes)
    times = (found.times - pd.to_timedelta(east, unit="min")).dt.tz_localize("UTC")
    return replace(found, times=times, mixed=True)
