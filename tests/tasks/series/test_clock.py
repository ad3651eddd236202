from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatewise.tasks.series.clock import Clock, clock_from_dict, clock_to_dict
from gatewise.tasks.series.inference import infer_clock


def clock_of(start: str, freq: str, periods: int = 40) -> Clock:
    clock = infer_clock(pd.date_range(start, periods=periods, freq=freq))
    assert clock is not None
    return clock


@pytest.mark.parametrize(
    ("freq", "step", "seasons"),
    [
        ("s", "1 s", (86400, 604800)),
        ("30min", "30 min", (48, 336)),
        ("h", "1 h", (24, 168)),
        ("3h", "3 h", (8, 56)),
        ("D", "1 day", (7, 365)),
        ("7D", "1 week", (52,)),
        ("MS", "1 month", (12,)),
        ("ME", "1 month", (12,)),
        ("QS", "3 months", (4,)),
        ("YS", "1 year", ()),
        ("5h", "5 h", ()),
    ],
)
def test_step_and_seasons_follow_from_the_times(freq: str, step: str, seasons: tuple[int, ...]) -> None:
    clock = clock_of("2021-01-31" if freq == "ME" else "2021-01-01", freq)
    assert clock.span(1) == step
    assert clock.seasons() == tuple(season for season in seasons)


@pytest.mark.parametrize("freq", ["17s", "30min", "h", "D", "7D", "MS", "ME", "QE", "YS"])
def test_positions_give_the_times_again(freq: str) -> None:
    times = pd.date_range("2019-05-31 00:00", periods=50, freq=freq)
    clock = infer_clock(times)
    assert clock is not None
    exact = clock.exact(times)
    assert np.array_equal(exact, np.rint(exact))
    assert np.array_equal(np.diff(exact), np.ones(49))
    assert (clock.times(exact.astype(np.int64)) == times).all()


def test_times_before_1970_and_off_the_hour_are_on_their_own_grid() -> None:
    times = pd.date_range("1912-01-01 00:51", periods=30, freq="h")
    clock = infer_clock(times)
    assert clock is not None
    assert (clock.times(np.rint(clock.exact(times)).astype(np.int64)) == times).all()


def test_the_30th_of_every_month_is_not_the_end_of_the_month() -> None:
    clock = clock_of("2021-01-01", "MS")
    shifted = pd.DatetimeIndex(["2021-01-02", "2021-02-01"])
    assert clock.exact(shifted)[0] != round(clock.exact(shifted)[0])


def test_irregular_times_have_no_clock() -> None:
    stamps = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.cumsum([1, 2, 3, 5, 7, 11, 13]), unit="min")
    assert infer_clock(pd.DatetimeIndex(stamps)) is None


@pytest.mark.parametrize(
    ("freq", "steps", "words"),
    [
        ("h", 24, "24 h"),
        ("h", 72, "72 h"),
        ("h", 168, "7 days"),
        ("30min", 1, "30 min"),
        ("30min", 3, "1.5 h"),
        ("30min", 0.7, "21 min"),
        ("D", 30, "30 days"),
        ("MS", 12, "12 months"),
        ("YS", 2, "2 years"),
    ],
)
def test_spans_are_printed_in_words(freq: str, steps: float, words: str) -> None:
    assert clock_of("2021-01-01", freq).span(steps) == words


@pytest.mark.parametrize("freq", ["h", "MS"])
def test_a_clock_is_restored_from_plain_data(freq: str) -> None:
    clock = clock_of("2021-01-01", freq)
    assert clock_from_dict(clock_to_dict(clock)) == clock


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"kind": "fixed", "step": 0, "offset": 0},
        {"kind": "fixed", "step": "1", "offset": 0},
        {"kind": "fixed", "step": 1, "offset": 0, "day": 1},
        {"kind": ["fixed"], "step": 1, "offset": 0},
    ],
)
def test_other_data_are_refused(data: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        clock_from_dict(data)
