"""Forecasts of a model of one step, fed with its own forecasts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatewise.runtime import load
from gatewise.runtime.jobs.distributions import LEVELS, SIZES
from gatewise.runtime.model_file import ModelFileError, read_model, write_model
from gatewise.tasks.forecast.encoding import columns_of
from gatewise.tasks.forecast.evaluation import RIDGE
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.forecast.heads import widths_of
from gatewise.tasks.series import TimeSeries

pytestmark = pytest.mark.usefixtures("quickly")

K, FIT = 5, 180


@pytest.fixture(scope="module")
def sold() -> TimeSeries:
    days, rng = pd.date_range("2024-01-01", periods=220, freq="D"), np.random.default_rng(1)
    price = rng.normal(size=220)
    frame = pd.DataFrame({"sold": 20 + 5 * np.sin(np.arange(220) * 2 * np.pi / 7) - 3 * price}, index=days)
    frame["sold"] = np.rint(frame["sold"] + rng.normal(size=220))
    frame["price"] = price
    frame["visitors"] = rng.normal(size=220)
    frame.iloc[50:60, 0] = np.nan
    return TimeSeries.from_frame(frame.iloc[:], "sold", known=["price"])


def fitted(series: TimeSeries, output: str = "quantiles", members: int = 1) -> Forecaster:
    forecaster = Forecaster(
        K, mode="recursive", output=output, hidden_size=6, max_epochs=2, members=members, non_negative=True
    )
    return forecaster.fit(series.head(FIT))


@pytest.mark.parametrize("output", SIZES)
def test_each_step_is_the_forecast_of_one_step_after_the_steps_before_it(
    sold: TimeSeries, output: str
) -> None:
    """Put into the series as if they had been observed, the forecasts give the next forecast."""
    forecaster = fitted(sold, output, members=2 if output == "gaussian" else 1)
    model, origin = forecaster.model_, 199
    columns = columns_of(sold, model.encoding.columns)
    made = model.forecast(columns, sold.positions, np.array([origin]))[0]
    observed = {**columns, "sold": columns["sold"].copy()}
    for k in range(K):
        single = model.single
        single.history += k  # the layers have read the k steps since the origin, too
        one = single.forecast(observed, sold.positions, np.array([origin + k]))[0, 0]
        assert made[k] == pytest.approx(one, rel=1e-6)
        observed["sold"][origin + k + 1] = made[k]
    later = {**columns, "sold": columns["sold"].copy()}
    later["sold"][origin + 1 :] += 100
    assert np.array_equal(made, model.forecast(later, sold.positions, np.array([origin]))[0])
    dearer = {**columns, "price": columns["price"].copy()}
    dearer["price"][origin + 3] += 1
    other = model.forecast(dearer, sold.positions, np.array([origin]))[0]
    assert np.array_equal(made[:2], other[:2])
    if output != "negative-binomial":
        assert (made[2:] != other[2:]).all()


@pytest.mark.parametrize("output", ["quantiles", "student-t", "negative-binomial"])
def test_quantiles_are_those_of_samples_alone_in_a_batch_and_from_a_file(
    sold: TimeSeries, output: str, tmp_path: Path
) -> None:
    forecaster = fitted(sold, output)
    forecaster.save(tmp_path / "m")
    model = load(tmp_path / "m")
    columns, origins = columns_of(sold, model.encoding.columns), np.arange(180, 212)
    whole = model.made(columns, sold.positions, origins)
    found = whole.quantiles()
    assert found.shape == (len(origins), K, len(LEVELS))
    assert (np.diff(found, axis=-1) >= 0).all()
    assert (found >= 0).all()
    for row in (0, 7, 31):
        alone = model.made(columns, sold.positions, origins[row : row + 1])
        assert alone.forecasts[0].tobytes() == whole.forecasts[row].tobytes()
        assert alone.quantiles()[0].tobytes() == found[row].tobytes()
    drawn = whole.samples(3, 2000, seed=1)
    assert np.array_equal(drawn, whole.samples(3, 2000, seed=1))
    near = np.quantile(drawn, [0.25, 0.5, 0.75], axis=0).T
    spread = found[3, :, 5] - found[3, :, 1]
    assert (np.abs(near - found[3][:, 2:5]) < 0.25 * spread[:, None] + 1).all()
    if output == "negative-binomial":
        assert np.array_equal(drawn, np.rint(drawn))


def test_a_recursive_forecaster_does_all_that_a_direct_one_does(sold: TimeSeries, tmp_path: Path) -> None:
    forecaster = fitted(sold)
    assert forecaster.network_.head.out_features == 1
    assert forecaster.prepared_.encoding.columns == ("sold", "price")  # visitors are not known ahead
    tested = forecaster.backtest(sold, FIT)
    assert tested.quantiles is not None
    assert tested.forecasts[RIDGE].shape == tested.truth.shape
    assert np.isfinite(forecaster.anomalies(sold)["score"].to_numpy()[200:]).any()
    forecaster.save(tmp_path / "m")
    loaded = Forecaster.load(tmp_path / "m")
    head = sold.head(200)
    again = TimeSeries.from_frame(
        pd.concat([head.frame, sold.frame[["price", "visitors"]].iloc[200:206]]), "sold", known=["price"]
    )
    assert np.array_equal(forecaster.predict(again), loaded.predict(again))
    pd.testing.assert_frame_equal(forecaster.predict_quantiles(again), loaded.predict_quantiles(again))
    assert forecaster.sample(again, 3).shape == (3, K)
    with pytest.raises(ValueError, match=r"mode must be one of direct, recursive\. Got 'both'"):
        Forecaster(K, mode="both").fit(sold)


@pytest.mark.parametrize("output", ["quantiles", "negative-binomial"])
def test_a_forecast_from_a_carried_state_has_the_bits_of_a_full_pass(sold: TimeSeries, output: str) -> None:
    """Also its quantiles: the samples that they are taken from are the same ones for each step ahead."""
    model = fitted(sold, output).model_
    columns, positions, state = columns_of(sold, model.encoding.columns), sold.positions, None
    for first, stop in ((0, 100), (100, 101), (101, 140), (140, 205)):
        rows = {name: values[first:stop] for name, values in columns.items()}
        state = model.carried(rows, positions[first:stop], state)
        found = model.made_next(state, {"price": columns["price"][stop : stop + K]})
        whole = model.made(columns, positions, np.array([stop - 1]))
        assert found.forecasts.tobytes() == whole.forecasts.tobytes()
        assert found.quantiles().tobytes() == whole.quantiles().tobytes()
        assert found.samples(0, 5, seed=2).tobytes() == whole.samples(0, 5, seed=2).tobytes()


def test_widths_follow_how_errors_grow() -> None:
    rng = np.random.default_rng(0)
    growing = np.sqrt(np.arange(1, 9))
    bands = np.broadcast_to([-1.2816, 1.2816], (4000, 8, 2))
    widths = widths_of(rng.normal(size=(4000, 8)) * growing, bands, blocks=10**6)
    assert widths == pytest.approx(growing, rel=0.05)
    few = widths_of(rng.normal(size=(4000, 8)) * growing, bands, blocks=5)
    assert few == pytest.approx(1.05 * np.sqrt(growing), rel=0.05)
    assert min(widths_of(0.1 * rng.normal(size=(400, 8)), bands[:400], 50)) == 1
    assert widths_of(np.full((3, 4), np.nan), np.zeros((3, 4, 2)), 3) == (1, 1, 1, 1)
    assert widths_of(np.empty((0, 2)), np.empty((0, 2, 2)), 0) == (1, 1)


def test_sampled_futures_spread_by_the_widths_around_the_point_forecasts(
    sold: TimeSeries, tmp_path: Path
) -> None:
    forecaster = fitted(sold)
    forecaster.save(tmp_path / "m")
    model, columns = load(tmp_path / "m"), columns_of(sold, forecaster.model_.encoding.columns)
    assert model.widths.tolist() == list(forecaster.prepared_.widths or ())
    assert len(model.widths) == K
    made = model.made(columns, sold.positions, np.arange(190, 200))
    model.widths = None  # as in a file without them
    before = model.made(columns, sold.positions, np.arange(190, 200))
    assert np.array_equal(made.forecasts, before.forecasts)
    widths, point = np.array(forecaster.prepared_.widths), made.forecasts[..., None]
    expected = np.maximum(point + widths[:, None] * (before.quantiles() - point), 0)
    np.testing.assert_allclose(made.quantiles(), expected, rtol=1e-9, atol=1e-9)
    drawn = made.samples(0, 50, seed=2)
    wanted = np.maximum(point[0, :, 0] + widths * (before.samples(0, 50, seed=2) - point[0, :, 0]), 0)
    np.testing.assert_allclose(drawn, wanted, rtol=1e-9, atol=1e-9)


def test_files_with_widths_amiss_are_refused(sold: TimeSeries, tmp_path: Path) -> None:
    fitted(sold).save(tmp_path / "m")
    file = read_model(tmp_path / "m", "forecast")
    for widths in ([1.0] * (K - 1), [1.0] * (K - 1) + [0.0], [1.0] * (K - 1) + ["1"], 1.0, None):
        preparation = {**file.header["preparation"], "widths": widths}
        write_model(tmp_path / "bad", "forecast", {**file.header, "preparation": preparation}, file.tensors)
        with pytest.raises(ModelFileError):
            load(tmp_path / "bad")


def test_steps_that_miss_together_are_covered_as_often_as_steps_alone() -> None:
    """A level that wanders slowly under noise: errors of later steps hang together."""
    rng = np.random.default_rng(0)
    values = np.cumsum(rng.normal(size=900)) * 0.5 + 3 * rng.normal(size=900)
    days = pd.date_range("2020-01-01", periods=900, freq="D")
    series = TimeSeries.from_frame(pd.DataFrame({"level": values}, index=days), "level")
    options: dict[str, Any] = {"season": 1, "history": 8, "hidden_size": 4, "max_epochs": 1}
    forecaster = Forecaster(16, mode="recursive", **options).fit(series.head(700))
    tested = forecaster.backtest(series, 700, every=9)
    assert tested.quantiles is not None
    inside = (tested.quantiles[..., 1] <= tested.truth) & (tested.truth <= tested.quantiles[..., 5])
    assert 0.7 < inside[:, 8:].mean() < 0.95
