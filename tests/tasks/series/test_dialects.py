"""Random series in random formats are read correctly, or refused with the option that reads them."""

from __future__ import annotations

import csv
import io
import re
import shlex
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewise.tasks import Reading, SeriesError, TimeSeries, read_series

STEPS = ("15min", "30min", "h", "3h", "D", "7D", "MS", "ME", "QS", "YS", "B", "BME")
FORMS = {
    "iso": "%Y-%m-%d %H:%M", "t": "%Y-%m-%dT%H:%M:%S", "german": "%d.%m.%Y %H:%M", "named": "%d %b %Y %H:%M",
    "british": "%d/%m/%Y %H:%M", "american": "%m/%d/%Y %I:%M %p", "two": "%d.%m.%y %H:%M",
    "compact": "%Y%m%d%H%M",
    "hours": "%Y%m%d%H", "day": "%d/%m/%Y", "month": "%Y-%m", "unix": "", "unix-ms": "", "excel": "",
}  # fmt: skip
MARKS = ["", "NA", "?", "-", "n.v."]
ZONES = [None, None, "Europe/Berlin", "America/New_York", "Asia/Kolkata"]


@dataclass(frozen=True)
class Dialect:
    """How a series is written."""

    form: str
    separator: str
    decimal: str
    thousands: str
    decimals: int
    mark: str
    encoding: str
    zone: str | None
    offsets: bool


@st.composite
def series(draw: st.DrawFn) -> tuple[pd.DatetimeIndex, np.ndarray[Any, Any], Dialect]:
    """A random series, with times that fit the format, gaps, and a format."""
    form = draw(st.sampled_from(sorted(FORMS)))
    zone = draw(st.sampled_from(ZONES)) if form in ("iso", "t", "german") else None
    steps = {"month": ("MS", "QS", "YS"), "day": ("D", "7D", "MS", "ME", "QS", "YS", "B", "BME")}
    coarse = {"hours": ("h", "3h", *steps["day"]), "two": STEPS[:6]}.get(form, STEPS)
    freq = draw(st.sampled_from(steps.get(form, coarse)))
    start = pd.Timestamp(
        draw(st.sampled_from(["1999-12-27", "2021-03-27", "2021-10-30", "2023-11-04", "2010-01-01"]))
    )
    count = draw(st.integers(40, 90))
    times = pd.date_range(start, periods=count, freq=freq, tz=zone)
    decimals, level = draw(st.integers(0, 4)), draw(st.sampled_from([1.0, 30.0, 990.0, 2e4, 3e8]))
    seed = draw(st.integers(0, 99))
    values = np.round(level * (1 + 0.3 * np.random.default_rng(seed).normal(size=count)), decimals)
    values[draw(st.lists(st.integers(5, count - 5), max_size=4))] = np.nan
    decimal = draw(st.sampled_from(".,"))
    thousands, separator = draw(st.sampled_from(["", "", ".", ",", " ", "'"])), draw(st.sampled_from(",;\t|"))
    odd = thousands == decimal or (separator, thousands) in ((",", "."), (";", ","))  # not used by anybody
    dialect = Dialect(
        form,
        separator,
        decimal,
        "" if odd else thousands,
        decimals,
        draw(st.sampled_from(MARKS)),
        draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"])),
        zone,
        zone is not None and draw(st.booleans()),
    )
    return times, values, dialect


def written(times: pd.DatetimeIndex, values: np.ndarray[Any, Any], dialect: Dialect) -> bytes:
    """Write a file with its rows in this order."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=dialect.separator, lineterminator="\n")
    writer.writerow(["Zeit", "Größe, y"])
    for time, value in zip(times, values, strict=True):
        number = dialect.mark if np.isnan(value) else _number(value, dialect)
        writer.writerow([_time(time, dialect), number])
    return out.getvalue().encode(dialect.encoding)


def _number(value: float, dialect: Dialect) -> str:
    plain = f"{value:,.{dialect.decimals}f}"
    return plain.replace(",", "_").replace(".", dialect.decimal).replace("_", dialect.thousands)


def _time(time: pd.Timestamp, dialect: Dialect) -> str:
    if dialect.form == "excel":
        days = f"{(time - pd.Timestamp('1899-12-30')) / pd.Timedelta('1D'):.6f}".rstrip("0").rstrip(".")
        return days.replace(".", dialect.decimal)
    if dialect.form in ("unix", "unix-ms"):
        return str(int((time - pd.Timestamp(0)).total_seconds()) * (1 if dialect.form == "unix" else 1000))
    return f"{time:{FORMS[dialect.form]}}" + (f"{time:%z}" if dialect.offsets else "")


ANSWERS = re.compile(r"--(time-format|decimal|thousands|zone|encoding|missing)[ =]('[^']*'|\S+)")


def answered(sentence: str, reading: Reading, dialect: Dialect) -> Reading:
    """Answer an error as the user would; the error must name the option."""
    names = {name.replace("-", "_") for name, _ in ANSWERS.findall(sentence)}
    assert names, sentence
    assert "\n" not in sentence
    form = FORMS[dialect.form] or dialect.form
    right: dict[str, Any] = {
        "time_format": form + ("%z" if dialect.offsets else ""),
        "decimal": dialect.decimal,
        "thousands": dialect.thousands,
        "zone": dialect.zone,
        "encoding": dialect.encoding,
        "missing": (dialect.mark,),
    }
    for name in sorted(names):
        if getattr(reading, name) is None and right[name] is not None:
            return replace(reading, **{name: right[name]})
    raise AssertionError(f"the options that are named do not read it: {sentence}")


def read(path: Path, dialect: Dialect) -> TimeSeries:
    """Read a file, and answer errors until it is read."""
    reading = Reading(zone=None if dialect.offsets else dialect.zone)  # local time does not tell the zone
    for _ in range(6):
        try:
            return read_series(path, "Größe, y", "Zeit", reading)
        except SeriesError as error:
            reading = answered(str(error), reading, dialect)
    raise AssertionError(reading)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(series())
def test_a_series_is_read_as_it_was_written(
    drawn: tuple[pd.DatetimeIndex, np.ndarray[Any, Any], Dialect],
) -> None:
    times, values, dialect = drawn
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(written(times, values, dialect))
        found = read(path, dialect)
    naive = times.tz_localize(None)
    wall = pd.DatetimeIndex(found.times).tz_localize(None)
    assert list(wall) == list(naive), shlex.quote(str(dialect))
    assert np.array_equal(found.values, values, equal_nan=True), dialect


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(series(), st.data())
def test_rows_in_any_order_with_gaps_and_repeats(
    drawn: tuple[pd.DatetimeIndex, np.ndarray[Any, Any], Dialect], data: st.DataObject
) -> None:
    times, values, dialect = drawn
    values = np.where(np.isnan(values), 1.0, values)
    dropped = data.draw(st.sets(st.integers(10, len(times) - 3), max_size=3))
    kept = [place for place in range(len(times)) if place not in dropped]
    order = data.draw(st.permutations(kept)) if dialect.zone is None else kept
    order = [*order, order[0]]  # one row occurs twice
    plain = replace(
        dialect, form="iso", encoding="utf-8", decimal=".", thousands="", separator=",", offsets=False
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(written(times[order], values[order], plain))
        found = read_series(path, "Größe, y", reading=Reading(zone=dialect.zone))
    assert list(found.times) == list(times)
    values[sorted(dropped)] = np.nan
    assert np.array_equal(found.values, values, equal_nan=True)
    assert found.rows[found.rows > 0].size == len(kept)
