"""Files of real users: read correctly, or refused by an error that names the option for it."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatewise.tasks import Reading, SeriesError, TimeSeries, read_series
from gatewise.tasks.series.clock import WeekdayClock

N = 60
VALUES = [round(20 + 10 * np.sin(k / 4) + k % 3, 2) for k in range(N)]
HOURS = pd.date_range("2023-01-01", periods=N, freq="h")
DAYS = pd.date_range("2022-01-01", periods=N, freq="D")


def write(folder: Path, lines: Sequence[str], name: str = "a.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return path


def rows(
    times: Iterable[Any], values: Sequence[Any] = VALUES, mark: str = ",", header: str = "t,y"
) -> list[str]:
    return [header, *(f"{time}{mark}{value}" for time, value in zip(times, values, strict=False))]


def refused(path: Path, sentence: str, *arguments: Any) -> None:
    with pytest.raises(SeriesError) as caught:
        read_series(path, *arguments)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def holds(series: TimeSeries, times: pd.DatetimeIndex, values: Sequence[float] = VALUES) -> None:
    assert list(series.times) == list(times)
    assert series.values.tolist() == list(values)


def text(times: pd.DatetimeIndex, form: str) -> list[str]:
    return list(times.strftime(form))


def comma(values: Sequence[float] = VALUES) -> list[str]:
    return [str(value).replace(".", ",") for value in values]


# How numbers are written


def test_a_point_in_some_numbers_separates_thousands(tmp_path: Path) -> None:
    values = [950 + 10 * k for k in range(N)]
    german = [f"{value:,}".replace(",", ".") for value in values]
    series = read_series(write(tmp_path, rows(text(DAYS, "%d.%m.%Y"), german, ";", "Datum;Umsatz")))
    holds(series, DAYS, values)
    assert "numbers with decimal comma, thousands point" in series.notes


@pytest.mark.parametrize(("decimal", "thousands", "value"), [(".", "", 1.234), (",", ".", 1234)])
def test_ambiguous_numbers_are_refused(tmp_path: Path, decimal: str, thousands: str, value: float) -> None:
    numbers = [f"1.{234 + k}" for k in range(N)]
    path = write(tmp_path, rows(text(DAYS, "%Y-%m-%d"), numbers, ";", "t;y"))
    refused(path, f"--decimal {decimal} --thousands {thousands or repr('')}")
    reading = Reading(decimal=decimal, thousands=thousands)
    assert read_series(path, reading=reading).values[0] == value


def test_years_and_shop_numbers_do_not_decide_about_thousands(tmp_path: Path) -> None:
    lines = [f"{day};{950 + k};20{k + 10}" for k, day in enumerate(text(DAYS, "%Y-%m-%d"))]
    lines = [line.replace(";1", ";1.") for line in lines]
    assert read_series(write(tmp_path, ["t;y;shop", *lines]), "y").values[55] == 1005


def test_another_column_decides_the_number_format(tmp_path: Path) -> None:
    lines = [f"{day};1.{234 + k};0.{k + 10}" for k, day in enumerate(text(DAYS, "%Y-%m-%d"))]
    assert read_series(write(tmp_path, ["t;y;x", *lines]), "y").values[0] == 1.234


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("100.38%", 100.38),
        ("1 234,5", 1234.5),
        ("1'234.5", 1234.5),
        ("1,234,567.5", 1234567.5),
        ("1.234.567", 1234567),
        ("\u22125", -5),
        ("1e-3", 0.001),
        ("€ 3.50", 3.5),
    ],
)
def test_ways_to_write_a_number(tmp_path: Path, written: str, value: float) -> None:
    numbers = [written, *(re.sub("[0-9]", str(k % 9 + 1), written, count=1) for k in range(1, N))]
    path = write(tmp_path, rows(text(DAYS, "%Y-%m-%d"), numbers, "\t", "t\ty"))
    assert read_series(path).values[0] == value


def test_decimal_commas_between_tabs_and_semicolons_and_commas_in_names(tmp_path: Path) -> None:
    for mark in "\t;":
        header = mark.join(["t", '"load, total, net"'])
        series = read_series(write(tmp_path, rows(HOURS, comma(), mark, header)))
        holds(series, HOURS)
        assert series.target == "load, total, net"


@pytest.mark.parametrize("mark", ["?", "-", "--", "NA", "", "null"])
def test_usual_marks_of_missing_values(tmp_path: Path, mark: str) -> None:
    values = [*VALUES[:5], mark, *VALUES[6:]]
    series = read_series(write(tmp_path, rows(HOURS, values)), "y")
    assert np.isnan(series.values[5])
    assert np.isfinite(np.delete(series.values, 5)).all()


def test_a_number_that_marks_missing_values_is_not_read_as_a_value(tmp_path: Path) -> None:
    values = [-200 if k in (3, 4, 30) else value for k, value in enumerate(VALUES)]
    lines = [f"{time};{value};;" for time, value in zip(HOURS, comma(values), strict=True)]
    path = write(tmp_path, ["time;CO(GT);;", *lines, ";;;", ";;;"])
    refused(path, "column 'CO(GT)', row 4: -200 stands in 3 rows, far from all other values")
    refused(path, "--missing=-200")
    missing = read_series(path, reading=Reading(missing=("-200",))).values
    assert np.flatnonzero(np.isnan(missing)).tolist() == [3, 4, 30]
    assert read_series(path, reading=Reading(missing=("none",))).values[3] == -200


def test_the_error_for_a_word_that_marks_missing_values_names_an_option(tmp_path: Path) -> None:
    path = write(tmp_path, rows(HOURS, [*VALUES[:5], "n.v.", *VALUES[6:]]))
    refused(path, "row 6: 'n.v.' is not a number; if it marks a missing value: --missing n.v.")
    assert np.isnan(read_series(path, reading=Reading(missing=("n.v.",))).values[5])


@pytest.mark.parametrize("value", ["1e308", "-1e300", "1e101"])
def test_numbers_that_are_too_large_are_refused(tmp_path: Path, value: str) -> None:
    path = write(tmp_path, rows(HOURS, [*VALUES[:5], value, *VALUES[6:]]))
    refused(path, f"row 6: '{value}' is beyond 1e+100")


# How times are written


@pytest.mark.parametrize(
    ("form", "step"),
    [
        ("%Y-%m-%d %H:%M:%S", "h"),
        ("%Y-%m-%dT%H:%M", "h"),
        ("%d.%m.%Y %H:%M", "h"),
        ("%d.%m.%Y, %H:%M", "h"),
        ("%m/%d/%Y %I:%M %p", "h"),
        ("%d-%b-%Y %H:%M", "h"),
        ("%Y%m%d %H:%M", "h"),
        ("%Y%m%d%H", "h"),
        ("%Y%m%d%H%M", "h"),
        ("%d.%m.%y", "D"),
        ("%d%m%Y", "D"),
        ("%Y%j", "D"),
        ("%b %d, %Y", "D"),
        ("%B %Y", "MS"),
        ("%Y-%m", "MS"),
        ("%YM%m", "MS"),
        ("%m/%Y", "MS"),
        ("%Y%m", "MS"),
        ("%G-W%V", "7D"),
        ("%Y", "YS"),
    ],
)
def test_forms_of_times(tmp_path: Path, form: str, step: str) -> None:
    times = pd.date_range("2018-01-01", periods=N, freq=step)
    holds(read_series(write(tmp_path, rows([f'"{t}"' for t in text(times, form)]))), times)


def test_quarters(tmp_path: Path) -> None:
    times = pd.date_range("1985-01-01", periods=N, freq="QS")
    for form in ("{0.year}Q{0.quarter}", "{0.year}-Q{0.quarter}", "Q{0.quarter} {0.year}"):
        series = read_series(write(tmp_path, rows([form.format(time) for time in times])))
        holds(series, times)
        assert series.clock.span(1) == "3 months"


def test_hour_24_is_midnight(tmp_path: Path) -> None:
    times = [f"{(time - pd.Timedelta('1h')):%d.%m.%Y} {(time.hour or 24):02d}:00" for time in HOURS]
    holds(read_series(write(tmp_path, rows(times))), HOURS)


def test_an_interval_is_read_as_its_beginning(tmp_path: Path) -> None:
    ends = HOURS + pd.Timedelta("1h")
    for between, form in ((" - ", "%d.%m.%Y %H:%M"), ("/", "%Y-%m-%dT%H:%M")):
        pairs = [a + between + b for a, b in zip(text(HOURS, form), text(ends, form), strict=True)]
        holds(read_series(write(tmp_path, rows(pairs))), HOURS)


@pytest.mark.parametrize("ticks", [1, 1000, 10**6, 10**9])
@pytest.mark.parametrize("start", ["1999-01-01", "2001-09-08", "2024-02-28"])
def test_unix_times(tmp_path: Path, ticks: int, start: str) -> None:
    times = pd.date_range(start, periods=N, freq="h")
    seconds = ((times - pd.Timestamp(0)) // pd.Timedelta("1s")).to_numpy()
    holds(read_series(write(tmp_path, rows(seconds * ticks))), times)


def test_days_of_excel(tmp_path: Path) -> None:
    holds(read_series(write(tmp_path, rows(range(44562, 44562 + N)))), DAYS)
    hours = [f"{44927 + k / 24:.10f}".replace(".", ",") for k in range(N)]
    holds(read_series(write(tmp_path, rows(hours, comma(), ";", "t;y")), time="t"), HOURS)


def test_numbers_that_are_hours_or_unix_seconds_are_decided_by_their_step(tmp_path: Path) -> None:
    series = read_series(write(tmp_path, rows(text(HOURS, "%Y%m%d%H"))))
    holds(series, HOURS)
    assert series.notes == ("times in 't' as %Y%m%d%H ('2023010100' is 2023-01-01 00:00:00)",)
    short = write(tmp_path, rows(text(HOURS[:20], "%Y%m%d%H")))
    refused(short, "--time-format unix) or 2023-01-01 00:00:00 (--time-format %Y%m%d%H)", "y", "t")
    assert read_series(short, "y", "t", Reading(time_format="%Y%m%d%H")).times[0] == HOURS[0]


def test_day_or_month_first_is_decided_by_the_step(tmp_path: Path) -> None:
    times = pd.date_range("2020-01-01", periods=N, freq="MS")
    holds(read_series(write(tmp_path, rows(text(times, "%d/%m/%Y")))), times)
    few = write(tmp_path, rows(text(times[:12], "%d/%m/%Y")))
    refused(few, "(--time-format %d/%m/%Y) or 2020-01-02 00:00:00 (--time-format %m/%d/%Y); say which")
    holds(read_series(few, reading=Reading(time_format="%d/%m/%Y")), times[:12], VALUES[:12])


def test_the_error_for_an_unknown_time_format_names_an_option(tmp_path: Path) -> None:
    path = write(tmp_path, rows(text(HOURS, "%Hh of %d %m %Y")))
    refused(path, "name their form with --time-format")
    holds(read_series(path, reading=Reading(time_format="%Hh of %d %m %Y")), HOURS)


def test_a_day_and_a_time_of_day_in_two_columns(tmp_path: Path) -> None:
    lines = [f"{time:%d/%m/%Y};{time:%H:%M:%S};{value}" for time, value in zip(HOURS, VALUES, strict=True)]
    holds(read_series(write(tmp_path, ["Date;Time;y", *lines])), HOURS)


def test_the_error_for_an_hour_in_its_own_column_names_an_option(tmp_path: Path) -> None:
    lines = [f"{time:%Y-%m-%d},{time.hour},{value}" for time, value in zip(HOURS, VALUES, strict=True)]
    path = write(tmp_path, ["day,hr,y", *lines])
    refused(path, "row 2: the time 2023-01-01 00:00:00 is already in row 1; if 'hr' is the time of day", "y")
    refused(path, "--time day --time hr", "y")
    holds(read_series(path, "y", ("day", "hr")), HOURS)


def test_year_month_day_and_hour_in_columns(tmp_path: Path) -> None:
    lines = [f"{t.year},{t.month},{t.day},{t.hour},{v}" for t, v in zip(HOURS, VALUES, strict=True)]
    path = write(tmp_path, ["year,month,day,hour,y", *lines])
    holds(read_series(path, "y", ("year", "month", "day", "hour")), HOURS)


# Zones


def test_times_keep_their_offset(tmp_path: Path) -> None:
    series = read_series(write(tmp_path, rows([f"{time:%Y-%m-%d %H:%M:%S}+03:00" for time in HOURS])))
    assert str(series.times[0]) == "2023-01-01 00:00:00+03:00"
    assert str(series.future(1)[0]) == "2023-01-03 12:00:00+03:00"


@pytest.mark.parametrize("freq", ["h", "D", "MS", "12h", "B"])
def test_a_time_zone_is_kept_and_steps_are_regular_in_local_time(freq: str) -> None:
    times = pd.date_range("2022-01-01", periods=400, freq=freq, tz="Europe/Berlin")
    values = np.arange(400.0) % 11
    series = TimeSeries.from_frame(pd.DataFrame({"y": values}, index=times), "y")
    holds(series, times, values.tolist())
    coming = pd.date_range("2022-01-01", periods=402, freq=freq, tz="Europe/Berlin")[-2:]
    assert list(series.future(2)) == list(coming)


@pytest.mark.parametrize("freq", ["1h", "2h", "3h", "4h", "6h", "30min"])
@pytest.mark.parametrize("hour", [0, 1, 2, 3])
@pytest.mark.parametrize("falling", [False, True])
def test_an_hour_that_occurs_twice_is_the_one_that_fits_the_step(
    tmp_path: Path, freq: str, hour: int, falling: bool
) -> None:
    """Steps of constant length over the end of summer time, in local time."""
    start = pd.Timestamp(f"2021-10-28 {hour:02d}:00", tz="Europe/Berlin").tz_convert("UTC")
    times = pd.date_range(start, periods=300, freq=freq).tz_convert("Europe/Berlin")
    if falling:
        times = times[::-1]
    lines = [f"{time:%Y-%m-%d %H:%M},{row % 7}" for row, time in enumerate(times)]
    (tmp_path / "a.csv").write_text("\n".join(["time,y", *lines]) + "\n")
    series = read_series(tmp_path / "a.csv", target="y", reading=Reading(zone="Europe/Berlin"))
    assert series.times.equals(times.sort_values())


def test_a_zone_survives_parquet(tmp_path: Path) -> None:
    days = pd.date_range("2022-01-01", periods=200, tz="Europe/Berlin")
    pd.DataFrame({"day": days, "sold": np.arange(200.0) % 7}).to_parquet(tmp_path / "a.parquet")
    series = read_series(tmp_path / "a.parquet")
    assert series.times[0] == days[0]
    assert str(series.times.tz) == "Europe/Berlin"  # type: ignore[attr-defined]
    assert len(series) == 200


def test_the_error_for_several_offsets_names_the_zone_option(tmp_path: Path) -> None:
    times = pd.date_range("2023-03-25 12:00", periods=N, freq="h", tz="Europe/Berlin")
    path = write(tmp_path, rows([time.isoformat() for time in times]))
    refused(path, "the times have several offsets from UTC; say where, as --zone Europe/Berlin")
    holds(read_series(path, reading=Reading(zone="Europe/Berlin")), times)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("freq", ["h", "15min"])
def test_the_error_for_an_hour_that_occurs_twice_names_the_zone_option(
    tmp_path: Path, freq: str, descending: bool
) -> None:
    times = pd.date_range("2021-10-30 20:00", periods=N, freq=freq, tz="Europe/Berlin")
    lines = rows(text(times, "%Y-%m-%d %H:%M"))
    path = write(tmp_path, [lines[0], *(lines[:0:-1] if descending else lines[1:])])
    refused(path, "if a clock was set back there, name its place, as --zone Europe/Berlin")
    holds(read_series(path, reading=Reading(zone="Europe/Berlin")), times)


def test_a_time_that_the_clocks_skip_is_refused(tmp_path: Path) -> None:
    times = pd.date_range("2023-03-25 12:00", periods=N, freq="h")
    path = write(tmp_path, rows(text(times, "%Y-%m-%d %H:%M")))
    with pytest.raises(SeriesError, match=r"row 15: '2023-03-26 02:00' is a time that the clocks in .* skip"):
        read_series(path, reading=Reading(zone="Europe/Berlin"))


# Steps


def test_business_days_never_give_a_saturday(tmp_path: Path) -> None:
    days = pd.bdate_range("2021-01-04", periods=N)
    kept = days.delete([20, 41])  # holidays
    series = read_series(write(tmp_path, rows(text(kept, "%Y-%m-%d"))))
    assert series.clock.grid() == "1 business day (Mon, Tue, Wed, Thu, Fri)"
    assert list(series.times) == list(days)
    assert np.flatnonzero(np.isnan(series.values)).tolist() == [20, 41]
    assert list(series.future(3)) == list(pd.bdate_range("2021-01-04", periods=N + 3)[-3:])
    assert series.clock.seasons() == (5, 260)


def test_other_working_weeks_are_recognised() -> None:
    days = pd.bdate_range("2021-01-03", periods=200, freq="C", weekmask="Sun Mon Tue Wed Thu")
    series = TimeSeries.from_frame(pd.DataFrame({"y": np.arange(200.0) % 9}, index=days), "y")
    assert isinstance(series.clock, WeekdayClock)
    assert series.future(5).day_of_week.tolist() == [6, 0, 1, 2, 3] or 4 not in series.future(5).day_of_week  # type: ignore[attr-defined]


@pytest.mark.parametrize("freq", ["BME", "ME", "BMS", "MS", "QE", "BQE", "YE"])
def test_months_by_their_ends_and_business_days(freq: str) -> None:
    times = pd.date_range("2005-01-31", periods=N, freq=freq)
    series = TimeSeries.from_frame(pd.DataFrame({"y": VALUES}, index=times), "y")
    holds(series, times)
    assert list(series.future(9)) == list(pd.date_range("2005-01-31", periods=N + 9, freq=freq)[-9:])


def test_months_at_noon(tmp_path: Path) -> None:
    times = pd.date_range("2005-01-01 12:00", periods=N, freq="MS")
    holds(read_series(write(tmp_path, rows(text(times, "%Y-%m-%d %H:%M")))), times)


@pytest.mark.parametrize("step", [15.625, 1000 / 60, 0.25, 40, 1000 / 3])
def test_steps_of_any_length(tmp_path: Path, step: float) -> None:
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(N) * step * 1000 // 1, unit="us")
    series = read_series(write(tmp_path, rows(times)))
    assert len(series) == N
    assert abs((series.times - times).total_seconds()).max() < 0.1 * step / 1000
    assert abs((series.future(1)[0] - times[-1]).total_seconds() * 1000 - step) < 0.1 * step


def test_a_step_with_jitter_and_one_that_needs_resampling(tmp_path: Path) -> None:
    jitter = np.random.default_rng(0).uniform(-1, 1, N)
    for share, name in ((0.09, "small.csv"), (0.4, "large.csv")):
        times = pd.date_range("2024-01-01", periods=N, freq="s") + pd.to_timedelta(
            0.5 + share * jitter, unit="s"
        )
        path = write(tmp_path, rows(times.round("ms")), name)
        if share < 0.1:
            series = read_series(path)
            assert series.clock.span(1) == "1 s"
        else:
            refused(path, "--resample")
            series = read_series(path, reading=Reading(resample="1s"))
        assert series.values.tolist() == VALUES


def test_the_odd_row_is_named_even_if_it_is_the_first(tmp_path: Path) -> None:
    for place in (0, 7):
        times = text(HOURS, "%Y-%m-%d %H:%M")
        times[place] = times[place].replace(":00", ":17")
        sentence = f"column 't', row {place + 1}: 2023-01-01 {place:02d}:17:00 is off the regular step of 1 h"
        refused(write(tmp_path, rows(times)), sentence)


def test_rows_without_times_are_numbered(tmp_path: Path) -> None:
    series = read_series(write(tmp_path, ["y", *map(str, VALUES)]))
    assert series.times.tolist() == list(range(1, N + 1))
    assert series.future(2).tolist() == [N + 1, N + 2]
    assert series.notes == ("rows numbered, in the place of times",)
    assert len(read_series(write(tmp_path, rows(HOURS)), time="none")) == N


# Rows


def test_equal_rows_are_read_as_one(tmp_path: Path) -> None:
    lines = rows(HOURS)
    series = read_series(write(tmp_path, [*lines[:9], lines[8], *lines[9:]]))
    holds(series, HOURS)
    assert series.notes == ("1 row that repeats another one left out",)


@pytest.mark.parametrize(("how", "value"), [("first", 1.0), ("last", 3.0), ("mean", 2.0), ("sum", 4.0)])
def test_rows_with_one_time(tmp_path: Path, how: str, value: float) -> None:
    times = [*HOURS[:30], HOURS[29], *HOURS[30:]]
    values = [*VALUES[:29], 1, 3, *VALUES[30:]]
    path = write(tmp_path, rows(times, values))
    refused(path, "row 31: the time 2023-01-02 05:00:00 is already in row 30; ")
    assert read_series(path, reading=Reading(repeated=how)).values[29] == value


def test_several_series_in_one_file_are_recognised(tmp_path: Path) -> None:
    lines = [
        f"{store},{day:%Y-%m-%d},{value}" for store in "AB" for day, value in zip(DAYS, VALUES, strict=True)
    ]
    path = write(tmp_path, ["store,date,sold", *lines])
    refused(
        path, "these are several series, told apart by 'store' ('A', 'B'); --where store=A reads one of them"
    )
    series = read_series(path, reading=Reading(where="store=B"))
    holds(series, DAYS)
    assert series.rows.tolist() == list(range(N + 1, 2 * N + 1))


def test_several_series_one_below_another_are_recognised(tmp_path: Path) -> None:
    header = ",".join(["id", *(f"V{k}" for k in range(1, 60))])
    lines = [",".join([f"H{k}", *map(str, VALUES[:59])]) for k in range(5)]
    refused(write(tmp_path, [header, *lines]), "5 series, one in each row of 59 columns; turn the table")


def test_the_file_row_of_every_step_is_known(tmp_path: Path) -> None:
    lines = rows(text(DAYS, "%Y-%m-%d"))
    series = read_series(write(tmp_path, [lines[0], *lines[30:], *lines[1:10], *lines[20:30]]))
    assert series.rows.tolist()[:3] == [32, 33, 34]
    assert series.rows.tolist()[9:19] == [0] * 10


# Files


def test_packed_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress("\n".join(rows(HOURS)).encode()))
    holds(read_series(tmp_path / "a.csv.gz"), HOURS)


def test_utf16_and_other_encodings(tmp_path: Path) -> None:
    lines = rows(text(DAYS, "%d.%m.%Y"), comma(), ";", "Datum;Verbrauch (m³)")
    holds(read_series(write(tmp_path, lines, encoding="utf-16")), DAYS)
    latin = write(tmp_path, lines, encoding="cp1252")
    refused(latin, "not UTF-8 text (byte 18); --encoding names another, for example cp1252")
    assert read_series(latin, reading=Reading(encoding="cp1252")).unit == "m³"
    refused(write(tmp_path, rows(HOURS), encoding="utf-16-le"), "--encoding utf-16-le reads")
    holds(read_series(tmp_path / "a.csv", reading=Reading(encoding="utf-16-le")), HOURS)


def test_lines_above_the_header(tmp_path: Path) -> None:
    holds(read_series(write(tmp_path, ["# station 7", "# source: invented", *rows(HOURS)])), HOURS)
    holds(read_series(write(tmp_path, ["# t,y", *rows(HOURS)[1:]])), HOURS)
    holds(read_series(write(tmp_path, ["sep=;", *rows(HOURS, comma(), ";", "t;y")])), HOURS)
    path = write(tmp_path, ["Station 7", "of ours", *rows(HOURS)])
    refused(path, "--skip-rows 2 passes over them")
    holds(read_series(path, reading=Reading(skip_rows=2)), HOURS)


def test_a_file_without_names_is_refused(tmp_path: Path) -> None:
    refused(write(tmp_path, rows(HOURS)[1:]), "the first line holds values, not names")


def test_the_inputs_can_be_named(tmp_path: Path) -> None:
    lines = [f"{time},{value},1,2" for time, value in zip(HOURS, VALUES, strict=True)]
    path = write(tmp_path, ["t,y,a,b", *lines])
    for inputs, found in ((("b",), ["b"]), (("none",), []), (None, ["a", "b"])):
        series = read_series(path, "y", reading=Reading(inputs=inputs))
        assert list(series.frame.columns[1:]) == found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"zone": "Europe/Atlantis"}, "zone must be the name of a time zone"),
        ({"zone": "../../etc/passwd"}, "zone must be the name of a time zone"),
        ({"repeated": "median"}, "repeated must be one of first, last, mean, sum. Got 'median'"),
        ({"resample": "often"}, "resample must be a step"),
        ({"resample": "-1h"}, "resample must be a step"),
        ({"time_format": "day"}, "time_format must be a pattern"),
        ({"time_format": "%Q"}, "time_format must be a pattern"),
        ({"where": "store"}, "where must be COLUMN=VALUE"),
        ({"decimal": ";"}, "decimal must be '.' or ','"),
        ({"decimal": ",", "thousands": ","}, "thousands must be another mark"),
        ({"encoding": "klingon"}, "encoding must be the name of a text encoding"),
        ({"encoding": "zlib"}, "encoding must be the name of a text encoding"),
        ({"skip_rows": -1}, "skip_rows must be a number of lines"),
    ],
)
def test_contradictory_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Reading(**options)


# Frames


def test_frames_are_checked_like_files() -> None:
    numbered = pd.DataFrame({0: VALUES, 1: VALUES}, index=DAYS)
    series = TimeSeries.from_frame(numbered, 0)  # type: ignore[arg-type]
    assert (series.target, list(series.frame.columns)) == ("0", ["0", "1"])
    named = pd.DataFrame({"time": VALUES, "y": VALUES}, index=DAYS.rename("time"))
    assert list(TimeSeries.from_frame(named, "y").frame.columns) == ["y", "time"]
    twice = pd.DataFrame(np.ones((N, 2)), index=DAYS, columns=["y", "y"])
    with pytest.raises(SeriesError, match="the frame, column 'y': the header has this name more than once"):
        TimeSeries.from_frame(twice, "y")
    with pytest.raises(SeriesError, match=r"row 2: the time .* is already in row 1"):
        TimeSeries.from_frame(pd.DataFrame({"y": VALUES}, index=[DAYS[0], *DAYS[:-1]]), "y")
    months = pd.period_range("2020-01", periods=N, freq="M")
    series = TimeSeries.from_frame(pd.DataFrame({"y": VALUES}, index=months), "y")
    assert series.clock.span(1) == "1 month"
