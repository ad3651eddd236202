from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gatewise.tasks.series import TimeSeries, read_series
from gatewise.tasks.series.errors import SeriesError

HOURS = [f"2024-01-01 {hour:02d}:00" for hour in range(24)]


def write(folder: Path, lines: list[str], header: str = "time,y,x") -> Path:
    path = folder / "shop.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def rows(**changed: str) -> list[str]:
    """24 good rows; ``r5="..."`` replaces row 5, counted from 1."""
    lines = [f"{time},{number % 5},{number % 3}" for number, time in enumerate(HOURS)]
    for name, line in changed.items():
        lines[int(name[1:]) - 1] = line
    return lines


def test_the_only_possible_columns_need_not_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, [f"{time},{n % 5}" for n, time in enumerate(HOURS)], header="when,y")
    series = read_series(path)
    assert (series.target, len(series), series.clock.span(1)) == ("y", 24, "1 h")


def test_rows_in_any_order_with_gaps_become_a_regular_series(tmp_path: Path) -> None:
    lines = rows()
    series = read_series(write(tmp_path, [lines[20], *lines[:9], *lines[12:20]]), target="y")
    assert len(series) == 21
    assert np.isnan(series.values[[9, 10, 11]]).all()
    assert series.values[20] == 0.0
    assert (np.diff(series.times) == np.timedelta64(1, "h")).all()


def test_columns_of_words_and_empty_and_nameless_ones_are_omitted_with_a_note(tmp_path: Path) -> None:
    lines = [f"{n},{time},{n % 5},shop,,{n % 3}" for n, time in enumerate(HOURS)]
    series = read_series(write(tmp_path, lines, header=",time,y,kind,notes,x"), target="y")
    assert list(series.frame.columns) == ["y", "x"]
    assert series.left_out == ("(no name, column 1)", "kind", "notes")


def test_a_time_close_to_its_step_is_moved_to_it(tmp_path: Path) -> None:
    series = read_series(write(tmp_path, rows(r7="2024-01-01 06:04,2,1")), target="y")
    assert series.times[6] == pd.Timestamp("2024-01-01 06:00")


def test_years_are_read_when_named(tmp_path: Path) -> None:
    path = write(tmp_path, [f"{1900 + n},{n % 5}" for n in range(20)], header="year,flow")
    series = read_series(path, time="year")
    assert (series.target, series.clock.span(1)) == ("flow", "1 year")


@pytest.mark.parametrize(
    ("target", "unit"), [("load (kW)", "kW"), ("load [kW]", "kW"), ("load", ""), ("load (mean) x", "")]
)
def test_the_unit_is_the_text_in_brackets(target: str, unit: str) -> None:
    days = pd.date_range("2024-01-01", periods=9, freq="D")
    series = TimeSeries.from_frame(pd.DataFrame({target: np.arange(9.0)}, index=days), target)
    assert series.unit == unit


def test_future_times_continue_the_steps_also_by_months() -> None:
    months = pd.date_range("2023-01-31", periods=13, freq="ME")
    series = TimeSeries.from_frame(pd.DataFrame({"y": np.arange(13.0)}, index=months), "y")
    assert list(series.future(2)) == [pd.Timestamp("2024-02-29"), pd.Timestamp("2024-03-31")]


def test_a_frame_without_times_is_refused() -> None:
    with pytest.raises(TypeError, match="frame must be an index of times"):
        TimeSeries.from_frame(pd.DataFrame({"y": [1.0, 2.0]}), "y")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (rows(r5="soon,1,1"), "column 'time', row 5: 'soon' is not a time that can be read"),
        (rows(r1="soon,1,1"), "column 'time', row 1: 'soon' is not a time that can be read"),
        (rows(r5=",1,1"), "column 'time', row 5: the time is missing"),
        (rows(r5=f"{HOURS[2]},1,1"), "column 'time', row 5: the time .* 02:00:00 is already in row 3"),
        (rows(r5="2024-01-01 04:30,1,1"), "column 'time', row 5: .* is off the regular step of 1 h"),
        (rows(r24="2424-01-01 00:00,1,1"), "column 'time': .* leave too many gaps"),
        (rows(r5=f"{HOURS[4]},many,1"), "column 'y', row 5: 'many' is not a number"),
        (rows(r5=f"{HOURS[4]},1,many"), "column 'x', row 5: 'many' is not a number"),
        ([f"{time},,1" for time in HOURS], "column 'y': all 24 values are missing"),
        (rows()[:2], "column 'time': the times have no regular step"),
    ],
)  # fmt: skip
def test_bad_rows_are_named_with_file_column_and_row(tmp_path: Path, lines: list[str], message: str) -> None:
    path = write(tmp_path, lines)
    with pytest.raises(SeriesError, match=message) as caught:
        read_series(path, target="y", time="time")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "time", "message"),
    [
        (None, None, "name the target column with --target; columns that could be it: 'y', 'x'"),
        ("z", None, "there is no column 'z'; the columns are 'time', 'y', 'x'"),
        ("y", "when", "there is no column 'when'; the columns are 'time', 'y', 'x'"),
        ("time", "time", "the target and the time must be two different columns"),
    ],
)
def test_a_wrong_choice_of_columns_is_explained(
    tmp_path: Path, target: str | None, time: str | None, message: str
) -> None:
    with pytest.raises(SeriesError, match=message):
        read_series(write(tmp_path, rows()), target=target, time=time)


def test_two_columns_of_times_must_be_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path, [f"{time},{time},{n % 5}" for n, time in enumerate(HOURS)], header="from,to,y")
    with pytest.raises(
        SeriesError, match="name the time column with --time; columns that could be it: 'from', 'to'"
    ):
        read_series(path)
