"""Panels, compared with what pandas alone makes of each series."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from gatewise.tasks.series import Panel, Reading, SeriesError, TimeSeries, read_panel, read_series, read_wide
from gatewise.tasks.shared.reading.table import table_of
from tests.tasks.panels import Example, examples

DAYS = pd.date_range("2024-01-01", periods=30, freq="D", name="day")


def two(**columns: Any) -> pd.DataFrame:
    """Two shops of 30 days each."""
    parts = [pd.DataFrame({"shop": shop, "day": DAYS, "sold": np.arange(30.0) % 7}) for shop in "BA"]
    return pd.concat(parts, ignore_index=True).assign(**columns)


@given(examples())
@settings(max_examples=60, deadline=None)
def test_every_series_is_that_of_pandas_whatever_the_order_of_rows(example: Example) -> None:
    panel = Panel.from_frame(example.table, "sold", "shop", known=[], past=["price"])
    assert {*panel.ids} == {*example.series}
    for name, one in zip(panel.ids, panel, strict=True):
        wanted = example.series[name][["sold", "price"]]
        assert one.times.equals(wanted.index)
        assert np.array_equal(one.frame.to_numpy(), wanted.to_numpy(), equal_nan=True)
        rows = example.table.iloc[one.rows[one.rows > 0] - 1]
        assert (rows["shop"] == name).all()
        assert rows["time"].tolist() == wanted.index[one.rows > 0].tolist()


@given(examples())
@settings(max_examples=30, deadline=None)
def test_the_order_of_rows_does_not_matter(example: Example) -> None:
    one = Panel.from_frame(example.table, "sold", "shop")
    other = Panel.from_frame(example.table.iloc[::-1], "sold", "shop")
    assert one.ids == other.ids
    for a, b in zip(one, other, strict=True):
        pd.testing.assert_frame_equal(a.frame, b.frame, check_freq=False)


@given(examples())
@settings(max_examples=30, deadline=None)
def test_a_column_for_each_series_is_the_same_panel(example: Example) -> None:
    long = example.table.assign(shop=example.table["shop"].map(str)).drop(columns="price")
    known = long.dropna(subset="sold")
    wide = known.pivot(index="time", columns="shop", values="sold")
    found = Panel.from_wide(wide)
    wanted = Panel.from_frame(known, "sold", "shop")
    assert found.ids == wanted.ids
    assert found.wide
    for a, b in zip(found, wanted, strict=True):
        assert a.times.equals(b.times)
        assert np.array_equal(a.values, b.values, equal_nan=True)


def test_a_series_alone_is_a_panel_of_one() -> None:
    frame = two()
    alone = TimeSeries.from_frame(frame[frame["shop"] == "A"].set_index("day")[["sold"]], "sold")
    (one,) = Panel.from_frame(frame[frame["shop"] == "A"], "sold", "shop")
    pd.testing.assert_frame_equal(one.frame, alone.frame, check_freq=False, check_names=False)
    assert one.clock == alone.clock


def test_ids_and_times_may_be_in_the_index() -> None:
    panel = Panel.from_frame(two().set_index(["shop", "day"]), "sold", "shop")
    assert panel.ids == ("A", "B")
    assert panel.rows.tolist() == [30, 30]


def test_ids_of_a_file_are_its_texts(tmp_path: Path) -> None:
    two(shop=["007"] * 30 + ["7"] * 30).to_csv(tmp_path / "a.csv", index=False)
    assert read_panel(tmp_path / "a.csv", "sold", "shop").ids == ("007", "7")


def test_rows_after_the_last_target_are_the_known_future() -> None:
    frame = two(price=np.arange(60.0))
    frame.loc[frame["day"] > "2024-01-25", "sold"] = np.nan
    panel = Panel.from_frame(frame, "sold", "shop", known=["price"])
    for one, first in zip(panel, (30, 0), strict=True):
        assert len(one) == 25
        assert one.known == ("price",)
        assert one.ahead["price"].tolist() == list(range(first + 25, first + 30))
        one.require_ahead(5)
        with pytest.raises(SeriesError, match=r"shop '.', column 'price': .* no value at 2024-01-31"):
            one.require_ahead(6)
    head = panel.head([20, 10])
    assert [len(one.ahead) for one in head] == [10, 20]
    assert head.series[0].ahead.index[0] == DAYS[20]


def test_without_known_inputs_rows_without_a_target_at_the_end_stay() -> None:
    frame = two(price=1.0)
    frame.loc[frame["day"] > "2024-01-25", "sold"] = np.nan
    assert Panel.from_frame(frame, "sold", "shop").rows.tolist() == [30, 30]


def test_attributes_are_one_value_for_each_series() -> None:
    frame = two(region=["south"] * 30 + ["north"] * 30, size=[2.0] * 30 + [np.nan] * 30)
    panel = Panel.from_frame(frame, "sold", "shop", static=["region", "size"])
    assert panel.static["region"].tolist() == ["north", "south"]
    assert np.array_equal(panel.static["size"], [np.nan, 2.0], equal_nan=True)
    assert panel.attributes(1) == {"region": "south", "size": 2.0}
    assert panel.part([1]).static["region"].tolist() == ["south"]
    frame.loc[3, "region"] = "north"
    with pytest.raises(SeriesError, match=r"column 'region', row 4: 'north' differs from 'south'"):
        Panel.from_frame(frame, "sold", "shop", static=["region"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shop": ["B"] * 59 + [None]}, r"column 'shop', row 60: the id is missing"),
        ({"shop": ["1"] * 30 + [1] * 30}, r"column 'shop': two ids are written alike"),
        (
            {"shop": "A", "sold": range(60)},
            r"column 'day', row 31: the time 2024-01-01 00:00:00 is already in row 1",
        ),
        ({"sold": np.nan}, r"there is no series with a value of the target|values are missing"),
        ({"sold": "many"}, r"column 'sold'"),
    ],
)
def test_a_table_that_is_no_panel_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SeriesError, match=message):
        Panel.from_frame(two(**change), "sold", "shop")


def test_a_row_off_the_step_of_the_others_is_refused() -> None:
    frame = two()
    frame.loc[40, "day"] = pd.Timestamp("2024-01-11 07:00")
    with pytest.raises(SeriesError, match=r"row 41: 2024-01-11 07:00:00 is off the regular step of 1 day"):
        Panel.from_frame(frame, "sold", "shop")


def test_weekly_series_of_one_weekday_have_steps_of_a_week() -> None:
    weeks = pd.date_range("2024-01-01", periods=30, freq="7D")
    parts = [
        pd.DataFrame({"shop": shop, "day": weeks[start:], "sold": np.arange(30.0 - start) % 5})
        for start, shop in enumerate("AB")
    ]
    panel = Panel.from_frame(pd.concat(parts), "sold", "shop")
    assert panel.clock.span(1) == "1 week"
    assert panel.rows.tolist() == [30, 29]


def test_a_series_without_values_is_left_out_and_said_so() -> None:
    frame = two()
    frame.loc[:29, "sold"] = np.nan
    panel = Panel.from_frame(frame, "sold", "shop")
    assert panel.ids == ("A",)
    assert panel.notes == ("without 1 series that have no value of the target",)


def test_series_of_a_wide_table_begin_and_end_with_their_values(tmp_path: Path) -> None:
    wide = pd.DataFrame({"b": np.arange(30.0), "a": 1.0 + np.arange(30.0), "empty": np.nan}, index=DAYS)
    wide.iloc[:5, 0] = np.nan
    wide.iloc[[10, 28, 29], 1] = np.nan
    wide.to_csv(tmp_path / "wide.csv")
    for panel in (Panel.from_wide(wide), read_wide(tmp_path / "wide.csv")):
        assert panel.ids == ("a", "b")
        assert panel.rows.tolist() == [28, 25]
        assert np.isnan(panel.series[0].values[10])
        assert panel.series[1].times[0] == DAYS[5]
    assert Panel.from_wide(wide, ["a"]).ids == ("a",)


def test_rows_at_irregular_times_are_steps() -> None:
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.cumsum([1, 2, 3, 5, 7, 11, 13, 4]), unit="min")
    frame = pd.DataFrame({"level": np.arange(8.0), "dose": np.arange(8.0)}, index=times)
    with pytest.raises(SeriesError, match="--irregular"):
        TimeSeries.from_frame(frame, "level")
    frame.iloc[-2:, 0] = np.nan
    series = TimeSeries.from_frame(frame, "level", reading=Reading(irregular=True), known=["dose"])
    assert len(series) == 6
    assert np.diff(series.positions).tolist() == [120, 180, 300, 420, 660]  # seconds
    usual = pd.Timedelta("5min")
    assert series.future(4).tolist() == [*times[-2:], times[-1] + usual, times[-1] + 2 * usual]


def test_panels_are_read_from_json_lines_and_folders_of_parquet(tmp_path: Path) -> None:
    frame = two(price=np.arange(60.0) % 11)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True, date_format="iso")
    (tmp_path / "parts").mkdir()
    for shop, part in frame.groupby("shop"):
        part.to_parquet(tmp_path / "parts" / f"{shop}.parquet", index=False)
    wanted = read_panel(tmp_path / "a.csv", "sold", "shop")
    for name in ("a.jsonl", "parts"):
        found = read_panel(tmp_path / name, "sold", "shop")
        assert found.ids == wanted.ids
        for one, other in zip(found, wanted, strict=True):
            pd.testing.assert_frame_equal(one.frame, other.frame, check_freq=False, check_index_type=False)
    series = read_series(tmp_path / "parts", "sold", reading=Reading(where="shop=A"))
    assert series.values.tolist() == wanted.series[0].values.tolist()


ROLES: dict[str, dict[str, Any]] = {
    "the target": {"target": "a"},
    "the time": {"time": "a"},
    "the id": {"id": "a"},
    "an attribute": {"static": ("a", "a")},
    "an input that is known ahead": {"known": ("a", "a")},
    "a past input": {"inputs": ("a", "a")},
}


@pytest.mark.parametrize(("one", "other"), [*combinations(ROLES, 2)])
def test_a_column_has_one_role(one: str, other: str) -> None:
    days = pd.date_range("2024-01-01", periods=9).strftime("%Y-%m-%d")
    frame = pd.DataFrame({"day": days, "shop": "x", "sold": range(9), "a": range(9)})
    roles: dict[str, Any] = {"target": "sold", "id": "shop", "time": "day", **ROLES[one], **ROLES[other]}
    reading = Reading(known=roles.pop("known", None), inputs=roles.pop("inputs", None))
    with pytest.raises(SeriesError, match=f"column 'a': {one} and {other} must be two different columns"):
        Panel.of(table_of(frame, "the frame", reading), **roles)


@pytest.mark.parametrize(
    "option", [{"zone": "UTC"}, {"resample": "1h"}, {"repeated": "mean"}, {"irregular": True}]
)
def test_options_for_times_need_times(option: dict[str, Any]) -> None:
    frame = pd.DataFrame({"shop": "x", "sold": range(9)})
    (name,) = option
    with pytest.raises(SeriesError, match=f"rows are numbered, but --{name} is for times; name their column"):
        Panel.of(table_of(frame, "the frame", Reading(**option)), "sold", "shop")


def test_rows_may_be_chosen_by_their_id() -> None:
    panel = Panel.from_frame(two(), "sold", "shop", reading=Reading(where="shop=A"))
    assert panel.ids == ("A",)


def test_named_columns_alone_are_the_series_of_a_wide_table() -> None:
    frame = pd.DataFrame(
        {name: np.arange(9.0) for name in "abc"}, index=pd.date_range("2024-01-01", periods=9)
    )
    assert Panel.from_wide(frame, reading=Reading(inputs=("b", "a"))).ids == ("a", "b")
    assert Panel.from_wide(frame, ["c"]).ids == ("c",)
    assert Panel.from_wide(frame).ids == ("a", "b", "c")


def test_a_series_is_called_by_its_id_and_by_what_ids_are() -> None:
    def label(id: str, value: object) -> str:
        frame = pd.DataFrame({id: [value] * 9, "sold": range(9)}, index=DAYS[:9])
        return Panel.from_frame(frame, "sold", id).label(0)

    assert label("shop", 28) == "shop 28"
    assert label("shop", "west") == "shop west"
    assert label("shop", "Shop 28") == "Shop 28"
    assert label("id", "west") == "west"
    assert Panel.from_wide(two()[["day", "sold"]].drop_duplicates().set_index("day")).label(0) == "sold"
