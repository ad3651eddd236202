from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gatewise.tasks.series.times import TimeError, parse_times


@pytest.mark.parametrize(
    ("texts", "first"),
    [
        (["2024-02-01 10:30", "2024-02-01 11:30"], "2024-02-01 10:30"),
        (["2024-02-01T10:30:00Z", "2024-02-01T11:30:00Z"], "2024-02-01 10:30"),
        (["2024-02-01T10:30:00+02:00", "2024-02-01T11:30:00+02:00"], "2024-02-01 10:30"),
        (["2024-03-31 01:00+01:00", "2024-03-31 03:00+02:00"], "2024-03-31 00:00"),
        (["31/01/2024", "01/02/2024"], "2024-01-31"),
        (["01/31/2024", "02/01/2024"], "2024-01-31"),
        (["31.01.2024 10:00", "31.01.2024 11:00"], "2024-01-31 10:00"),
        (["1949-01", "1949-02"], "1949-01-01"),
        (["1949", "1950"], "1949-01-01"),
        (["1949.0", "1950.0"], "1949-01-01"),
        (["194901", "194902"], "1949-01-01"),
        (["20240131", "20240201"], "2024-01-31"),
        (["1706700000", "1706703600"], "2024-01-31 11:20"),
        (["1706700000000", "1706703600000"], "2024-01-31 11:20"),
        (["Jan 2024", "Feb 2024"], "2024-01-01"),
    ],
)
def test_usual_ways_to_write_a_time_are_read(texts: list[str], first: str) -> None:
    times = parse_times(pd.Series(texts)).times
    assert times.notna().all()
    assert times.iloc[0].tz_localize(None) == pd.Timestamp(first)


def test_ambiguous_days_and_months_are_not_guessed() -> None:
    with pytest.raises(TimeError, match=r"--time-format %d/%m/%Y\) or 2024-01-02 .*%m/%d/%Y"):
        parse_times(pd.Series(["01/02/2024", "01/03/2024"]))


def test_one_day_after_the_12th_decides_the_order() -> None:
    times = parse_times(pd.Series(["01/02/2024", "13/02/2024"])).times
    assert list(times) == [pd.Timestamp("2024-02-01"), pd.Timestamp("2024-02-13")]


def test_an_unreadable_time_is_named() -> None:
    with pytest.raises(TimeError, match="'soon' is not a time") as caught:
        parse_times(pd.Series(["2024-01-01", "soon", "2024-01-03"]))
    assert caught.value.place == 1


def test_zoned_columns_keep_their_zone() -> None:
    zoned = pd.Series(pd.date_range("2024-01-01", periods=2, freq="h", tz="Europe/Paris"))
    assert list(parse_times(zoned).times) == list(zoned)


@pytest.mark.parametrize("ticks", [1, 10**3, 10**6, 10**9], ids=["s", "ms", "us", "ns"])
def test_unix_times_reach_into_the_next_century(ticks: int) -> None:
    years = pd.Series(pd.date_range("2022", "2250", freq="YS"))
    seconds = years.astype("datetime64[s]").astype(np.int64)
    assert parse_times(seconds * ticks).times.tolist() == years.tolist()
