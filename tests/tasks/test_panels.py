"""Forecasters of panels."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings

from gatewise.runtime.jobs.forecaster import Forecaster as Model
from gatewise.runtime.jobs.loading import load
from gatewise.runtime.model_file import ModelFileError, read_model, write_model
from gatewise.tasks.forecast.encoding import Encoding, columns_of
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.forecast.windows import Windows
from gatewise.tasks.series import Panel, Reading, SeriesError, TimeSeries
from gatewise.tasks.shared import saving
from tests.tasks.panels import Example, examples

HORIZON, HISTORY, SEASON = 3, 6, 4
ENDS = {"west": 90, "east": 120, "north": 60}
SMALL: dict[str, Any] = {"hidden_size": 4, "max_epochs": 1, "history": 10, "season": 7}

pytestmark = pytest.mark.usefixtures("quickly")


def table(more: int = 5) -> pd.DataFrame:
    """Three shops with a price that is known `more` days ahead."""
    rng = np.random.default_rng(1)
    parts = []
    for level, (shop, days) in enumerate(ENDS.items(), start=1):
        price = rng.normal(size=days + more)
        sold = 10.0**level * (2 + np.sin(np.arange(days + more) * 0.9) - 0.3 * price)
        sold[days:] = np.nan
        sold[20:25] = np.nan
        when = pd.date_range("2024-01-01", periods=days + more, freq="D")
        area = "coast" if shop == "west" else "inland"
        parts.append(
            pd.DataFrame(
                {"shop": shop, "day": when, "sold": sold, "price": price, "area": area, "size": level}
            )
        )
    return pd.concat(parts, ignore_index=True)


def read(frame: pd.DataFrame) -> Panel:
    return Panel.from_frame(frame, "sold", "shop", known=["price"], static=["area", "size"])


@pytest.fixture(scope="module")
def panel() -> Panel:
    return read(table())


@pytest.fixture(scope="module")
def forecaster(panel: Panel) -> Forecaster:
    return Forecaster(5, **SMALL).fit(panel)


@given(examples())
@settings(max_examples=40, deadline=None)
def test_no_window_and_no_truth_crosses_a_series(example: Example) -> None:
    """A batch of all windows of a panel holds the windows of each series alone."""
    panel = Panel.from_frame(example.table, "sold", "shop", known=["price"])
    encoding = Encoding.fit(panel, SEASON, (SEASON,))
    together = Windows.of(panel, encoding, HORIZON, HISTORY)
    batch = together.batch(np.arange(together.starts[-1]), forecasts=2)
    for place, (start, stop) in enumerate(zip(together.starts[:-1], together.starts[1:], strict=True)):
        alone = Windows.of(panel.part([place]), encoding, HORIZON, HISTORY)
        assert len(alone.truth) == stop - start == len(panel.series[place])
        wanted = alone.batch(np.arange(stop - start), forecasts=2)
        wanted = wanted._replace(ends=wanted.ends + int(start))
        for found, one in zip(batch, wanted, strict=True):
            axis = 1 if found.ndim > 2 or found.shape == batch.last.shape else 0
            part = found.narrow(axis, int(start), int(stop - start)).numpy()
            assert np.array_equal(part, one.numpy(), equal_nan=True)


@given(examples(least=8))
@settings(max_examples=30, deadline=None)
def test_windows_hold_the_values_of_their_steps(example: Example) -> None:
    panel = Panel.from_frame(example.table, "sold", "shop", past=[])
    encoding = Encoding.fit(panel, SEASON, ())
    windows = Windows.of(panel, encoding, HORIZON, HISTORY)
    batch = windows.batch(np.arange(windows.starts[-1]))
    for place, one in enumerate(panel):
        own = encoding.of_series(panel.ids[place], one.values)
        held = pd.Series(own.scaled(one.values)).ffill().fillna(0.0).to_numpy()
        for step in range(len(one)):
            window = int(windows.starts[place]) + step
            steps = np.maximum(np.arange(step - HISTORY + 1, step + 1), 0)
            assert batch.inputs[:, window, 0].numpy() == pytest.approx(held[steps], abs=1e-6)
            truth = np.full(HORIZON, np.nan)
            later = own.scaled(one.values)[step + 1 : step + 1 + HORIZON]
            truth[: len(later)] = later
            assert batch.truth[0, window].numpy() == pytest.approx(truth, abs=1e-6, nan_ok=True)


def test_a_panel_of_one_is_the_series_bit_for_bit() -> None:
    frame = table(0).query("shop == 'east'")
    alone = TimeSeries.from_frame(frame.set_index("day")[["sold", "price"]], "sold")
    panel = Panel.from_frame(frame[["shop", "day", "sold", "price"]], "sold", "shop")
    one, other = (Forecaster(5, **SMALL).fit(given) for given in (alone, panel))
    for name, tensor in one.file_.tensors.items():
        assert np.array_equal(tensor, other.file_.tensors[name]), name
    assert one.predict(alone).tolist() == other.predict(panel)["sold"].tolist()
    first = len(alone) - 20
    ours, theirs = one.backtest(alone, first), other.backtest(panel, first)
    for name, made in ours.forecasts.items():
        assert np.array_equal(made, theirs.forecasts[name])


def test_the_forecast_of_a_series_does_not_depend_on_the_others(forecaster: Forecaster, panel: Panel) -> None:
    made = forecaster.predict(panel)
    assert list(made.columns) == ["shop", "time", "sold"]
    assert made["shop"].unique().tolist() == list(panel.ids) == sorted(ENDS)
    tested = forecaster.backtest(panel, panel.rows - 20)
    for place, name in enumerate(panel.ids):
        alone = forecaster.predict(panel.part([place]))
        assert made[made["shop"] == name].reset_index(drop=True).equals(alone)
        assert alone["time"].iloc[0] == panel.series[place].times[-1] + pd.Timedelta("1D")
        part = forecaster.backtest(panel.part([place]), panel.rows[[place]] - 20)
        assert np.isin(part.forecasts["model"], tested.forecasts["model"]).all()


def test_the_order_of_rows_does_not_change_a_bit_of_the_model(forecaster: Forecaster) -> None:
    other = Forecaster(5, **SMALL).fit(read(table().sample(frac=1, random_state=3)))
    for name, tensor in forecaster.file_.tensors.items():
        assert np.array_equal(tensor, other.file_.tensors[name]), name


def test_each_series_is_scaled_by_its_own_training_part(forecaster: Forecaster, panel: Panel) -> None:
    scales = forecaster.prepared_.encoding.scales
    assert scales is not None
    assert scales.ids == panel.ids
    for place, one in enumerate(panel):
        held_out = max(round(0.15 * len(one)), 5)
        train = one.values[: len(one) - held_out]
        assert scales.mean[place] == pytest.approx(np.nanmean(train))
        assert scales.scale[place] == pytest.approx(np.nanstd(train))


def test_a_new_series_is_scaled_by_its_past(forecaster: Forecaster, panel: Panel) -> None:
    new = replace(panel.part([0]), ids=("new",))
    past = panel.series[0].values
    own = forecaster.prepared_.encoding.of_series("new", past)
    assert [own.mean[0], own.scale[0]] == pytest.approx([np.nanmean(past), np.nanstd(past)])
    assert np.isfinite(forecaster.predict(new)["sold"]).all()
    tenfold = table()
    tenfold["sold"] *= 1024.0  # a power of two changes no digit
    larger = replace(read(tenfold).part([0]), ids=("new",))
    assert forecaster.predict(larger)["sold"].tolist() == pytest.approx(
        (forecaster.predict(new)["sold"] * 1024).tolist(), rel=1e-6
    )


def test_a_new_series_is_scaled_by_what_was_known_at_the_first_origin(
    forecaster: Forecaster, panel: Panel
) -> None:
    later = table()
    later.loc[(later["shop"] == "east") & (later["day"] > "2024-04-10"), "sold"] *= 3
    one, other = (
        forecaster.backtest(replace(given.part([0]), ids=("new",)), [95]) for given in (panel, read(later))
    )
    assert one.times[0] < pd.Timestamp("2024-04-10")
    assert np.array_equal(one.forecasts["model"][0], other.forecasts["model"][0])


def test_a_known_input_without_a_future_is_refused(forecaster: Forecaster) -> None:
    short = table(4)
    with pytest.raises(SeriesError, match=r"shop 'east', column 'price': .* no value at 2024-05-04"):
        forecaster.predict(read(short))
    with pytest.raises(ValueError, match=r"the inputs \['price'\] as known ahead"):
        forecaster.predict(Panel.from_frame(table(), "sold", "shop", static=["area", "size"]))
    with pytest.raises(ValueError, match=r"attributes of training. It lacks \['size', 'area'\]"):
        forecaster.predict(Panel.from_frame(table(), "sold", "shop", known=["price"]))


def test_a_short_series_is_forecast_and_a_shorter_one_refused(forecaster: Forecaster) -> None:
    least = forecaster.prepared_.least
    assert least <= forecaster.prepared_.need
    frame = table()
    early = frame[frame["day"] >= frame["day"].min() + pd.Timedelta(days=120 - least)]
    kept = read(early[early["shop"] == "east"])
    assert len(kept.series[0]) == least
    assert np.isfinite(forecaster.predict(kept)["sold"]).all()
    later = early[(early["shop"] == "east") & (early["day"] > early["day"].min())]
    with pytest.raises(ValueError, match=f"at least {least} rows"):
        forecaster.predict(read(later))


def test_a_file_gives_the_same_forecasts_with_and_without_torch(
    tmp_path: Path, forecaster: Forecaster, panel: Panel
) -> None:
    forecaster.save(tmp_path / "m.safetensors")
    made = forecaster.predict(panel)
    assert Forecaster.load(tmp_path / "m.safetensors").predict(panel).equals(made)
    model = load(tmp_path / "m.safetensors")
    for place, name in enumerate(panel.ids):
        one = panel.series[place]
        columns = columns_of(one, model.encoding.columns)
        alone = model.predict(columns, one.times.to_numpy(), name, panel.attributes(place))
        assert alone.tolist() == made[made["shop"] == name]["sold"].tolist()
    with pytest.raises(ValueError, match="static must have 'size'"):
        model.predict(columns, one.times.to_numpy(), name)
    with pytest.raises(ValueError, match=r"columns: 'price' must have shape"):
        model.predict(columns | {"price": columns["price"][:-1]}, one.times.to_numpy(), name)


def test_a_constant_series_among_others_is_trained_on_and_forecast() -> None:
    frame = table()
    frame.loc[(frame["shop"] == "north") & frame["sold"].notna(), "sold"] = 3.0
    panel = read(frame)
    made = Forecaster(5, **SMALL).fit(panel).predict(panel)
    assert np.isfinite(made["sold"]).all()
    assert made.loc[made["shop"] == "north", "sold"].tolist() == pytest.approx([3.0] * 5, rel=1e-12)
    frame.loc[frame["sold"].notna(), "sold"] = 3.0
    with pytest.raises(SeriesError, match="no series varies"):
        Forecaster(5, **SMALL).fit(read(frame))


@pytest.mark.parametrize("mode", ["direct", "recursive"])
def test_a_large_constant_count_is_forecast_closely(mode: str) -> None:
    frame, rng = table(), np.random.default_rng(0)
    frame["sold"] = frame["sold"].clip(lower=0).round() * rng.integers(0, 9, len(frame))  # counts that vary
    frame.loc[(frame["shop"] == "north") & frame["sold"].notna(), "sold"] = 1e6
    panel = read(frame)
    forecaster = Forecaster(5, mode=mode, output="negative-binomial", **SMALL).fit(panel)
    made, found = forecaster.predict(panel), forecaster.predict_quantiles(panel)
    assert made.loc[made["shop"] == "north", "sold"].tolist() == pytest.approx([1e6] * 5, abs=1)
    own = found[found["shop"] == "north"]
    poisson = 2 * 1.96 * np.sqrt(1e6)  # the least width of the interval of 95 %
    assert (own[0.975] - own[0.025]).between(0.5 * poisson, 2 * poisson).all()


@pytest.mark.parametrize("mode", ["direct", "recursive"])
@pytest.mark.parametrize("output", ["quantiles", "student-t", "negative-binomial"])
def test_a_shop_that_sells_nothing_is_forecast_to_sell_nothing_until_it_does(
    mode: str, output: str, tmp_path: Path
) -> None:
    frame = table().assign(sold=lambda frame: frame["sold"].clip(lower=0).round())
    frame.loc[(frame["shop"] == "north") & frame["sold"].notna(), "sold"] = 0.0
    panel = read(frame)
    forecaster = Forecaster(5, mode=mode, output=output, non_negative=True, **SMALL).fit(panel)
    forecaster.save(tmp_path / "m")
    loaded = Forecaster.load(tmp_path / "m")
    made, found = loaded.predict(panel), loaded.predict_quantiles(panel)
    own, others = (found[found["shop"] == "north"], found[found["shop"] != "north"])
    spread, usual = (part[0.975] - part[0.025] for part in (own, others))
    assert (made.loc[made["shop"] == "north", "sold"] == 0).all()
    assert (spread >= 0).all()
    assert spread.max() < 0.01 * usual.median()
    assert spread.max() > 0 or output == "negative-binomial"
    place = panel.ids.index("north")
    one, encoding = panel.series[place], forecaster.prepared_.encoding
    columns, origins = columns_of(one, encoding.columns), np.arange(len(one) - 4, len(one))
    sold = columns["sold"].copy()
    sold[-2:] = 4.0
    model = forecaster.model_
    before, after = (
        model.quantiles(
            {**columns, "sold": s}, one.positions, origins, None, "north", panel.attributes(place)
        )
        for s in (columns["sold"], sold)
    )
    assert before[:2].tobytes() == after[:2].tobytes()
    narrow, wide = (made[2:, :, -1] - made[2:, :, 0] for made in (before, after))
    assert wide.mean() > 20 * narrow.mean()


def test_constant_series_in_a_file_are_ids_of_the_panel(forecaster: Forecaster, tmp_path: Path) -> None:
    forecaster.save(tmp_path / "m")
    file = read_model(tmp_path / "m", "forecast")
    for constant in (["nowhere"], ["north", "north"], [1], None):
        data = copy.deepcopy(file.header)
        data["preparation"]["encoding"]["scales"]["constant"] = constant
        write_model(tmp_path / "bad", "forecast", data, file.tensors)
        with pytest.raises(ModelFileError):
            load(tmp_path / "bad")


def test_the_logarithm_of_a_target_is_taken_and_undone() -> None:
    panel = read(table().assign(sold=lambda frame: frame["sold"].clip(lower=0).round()))
    forecaster = Forecaster(5, log=True, **SMALL).fit(panel)
    assert (forecaster.predict(panel)["sold"] > -1).all()
    own = forecaster.prepared_.encoding.of_series(panel.ids[0], panel.series[0].values)
    values = np.array([0.0, 3.0, 1e6])
    assert own.unscaled(own.scaled(values)) == pytest.approx(values)
    frame = table()
    frame.loc[3, "sold"] = -2.0
    with pytest.raises(SeriesError, match=r"column 'sold', row 4: -2 is negative, and has no logarithm"):
        Forecaster(5, log=True, **SMALL).fit(read(frame))
    with pytest.raises(SeriesError, match=r"column 'sold', row 4: -2 is negative, and no count"):
        Forecaster(5, output="negative-binomial", **SMALL).fit(read(frame))
    with pytest.raises(ValueError, match="negative values, but the model takes its logarithm"):
        forecaster.predict(read(frame))


def test_the_time_since_the_last_value_is_an_input_where_many_are_missing(panel: Panel) -> None:
    few = Encoding.fit(panel, 1, ())
    assert (few.masked, few.elapsed) == (("sold",), True)
    one = panel.series[0]
    inputs = few.of_series(panel.ids[0], one.values).encoded(columns_of(one, few.columns), one.positions)
    assert inputs.shape[1] == few.input_size == 2 + 1 + 1 + 1
    assert inputs[18:27, 2].tolist() == [1, 1, 0, 0, 0, 0, 0, 1, 1]
    assert np.expm1(inputs[18:27, 3]) == pytest.approx([0, 0, 1, 2, 3, 4, 5, 0, 0], abs=1e-5)


def test_rows_at_irregular_times_are_forecast_with_the_gap_as_an_input(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    gaps = rng.exponential(30, size=120) + 1
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.cumsum(gaps).round(), unit="min")
    frame = pd.DataFrame({"level": np.sin(np.cumsum(gaps) / 100)}, index=times)
    series = TimeSeries.from_frame(frame, "level", reading=Reading(irregular=True))
    forecaster = Forecaster(3, hidden_size=4, max_epochs=1).fit(series)
    encoding = forecaster.prepared_.encoding
    assert encoding.gap == pytest.approx(60 * np.median(np.diff(np.cumsum(gaps).round())))
    made = forecaster.predict(series)
    assert np.isfinite(made).all()
    assert made.index[0] - times[-1] == pd.Timedelta(seconds=encoding.gap)
    forecaster.save(tmp_path / "m")
    model = load(tmp_path / "m")
    assert model.predict({"level": series.values}, times.to_numpy()).tolist() == made.tolist()
    moved = times.to_numpy().copy()
    moved[-1] += np.timedelta64(7, "m")
    assert model.predict({"level": series.values}, moved).tolist() != made.tolist()


@pytest.fixture(scope="module")
def trained(panel: Panel) -> Forecaster:
    """A forecaster that has learned something of prices and attributes."""
    return Forecaster(5, **{**SMALL, "max_epochs": 4, "learning_rate": 0.02}).fit(panel)


def test_the_network_in_torch_reads_what_the_model_without_torch_reads(
    trained: Forecaster, panel: Panel
) -> None:
    network = copy.deepcopy(trained.network_)
    assert network.ahead is not None
    assert network.attributes is not None
    with torch.no_grad():  # so that every part says something, however training went
        network.ahead.out.weight.add_(0.3)
        network.head.weight.add_(0.1)
    other = Model.from_file(saving.file_of(trained, network))
    windows = trained.prepared_.windows(panel, 5)
    for place, one in enumerate(panel):
        origins = np.arange(40, len(one) - 5, 7)
        with torch.no_grad():
            made = network(windows.batch(windows.starts[place] + origins))[0].numpy()
        own = trained.prepared_.encoding.of_series(panel.ids[place], one.values)
        columns = columns_of(one, own.columns)
        found = other.forecast(columns, one.positions, origins, panel.ids[place], panel.attributes(place))
        assert own.scaled(found) == pytest.approx(made, abs=2e-5)


def test_a_price_ahead_moves_its_forecast_and_a_region_all(trained: Forecaster) -> None:
    made = trained.predict(read(table()))["sold"].to_numpy().reshape(3, 5)
    dearer, moved = table(), table()
    last = dearer["day"] == pd.Timestamp("2024-01-01") + pd.Timedelta(days=ENDS["west"] + 2)
    dearer.loc[last & (dearer["shop"] == "west"), "price"] += 2.0
    changed = trained.predict(read(dearer))["sold"].to_numpy().reshape(3, 5) != made
    assert changed[2, 2]
    assert not changed[:2].any()
    moved.loc[moved["shop"] == "west", "area"] = "somewhere else"
    elsewhere = trained.predict(read(moved))["sold"].to_numpy().reshape(3, 5)
    assert np.array_equal(elsewhere[:2], made[:2])
    assert np.isfinite(elsewhere).all()
