from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError

from gatewise import cells
from gatewise.language.rewrites import projected
from gatewise.tasks.forecast.evaluation import MODEL, PERSISTENCE, RIDGE, SEASONAL
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.series import TimeSeries
from gatewise.tasks.series.errors import SeriesError
from gatewise.tasks.shared.reading.table import Table

FIT = 340  # the number of rows that the fitted forecaster of the fixtures was trained on


def changed(series: TimeSeries, first: int, stop: int, column: str, add: float) -> TimeSeries:
    values = series.frame[column].to_numpy(copy=True)
    values[first:stop] += add
    return TimeSeries.from_frame(series.frame.assign(**{column: values}), series.target)


def test_a_forecast_does_not_change_with_what_comes_after_its_origin(
    fitted: Forecaster, series: TimeSeries
) -> None:
    tested = fitted.backtest(series, FIT)
    for column in ("load (kW)", "wind"):
        other = fitted.backtest(changed(series, 371, 400, column, 50.0), FIT)
        before = tested.origins <= 370
        assert before.sum() == 32
        for name in tested.forecasts:
            assert np.array_equal(tested.forecasts[name][before], other.forecasts[name][before])


def test_a_forecast_uses_the_last_known_value_and_the_last_input(
    fitted: Forecaster, series: TimeSeries
) -> None:
    made = fitted.predict(series)
    for column in ("load (kW)", "wind"):
        other = fitted.predict(changed(series, 399, 400, column, 0.5))
        assert (made != other).all()


def test_a_forecast_equals_that_of_the_series_cut_at_its_origin(
    fitted: Forecaster, series: TimeSeries
) -> None:
    tested = fitted.backtest(series, FIT)
    for row in (0, 17, len(tested.origins) - 1):
        origin = int(tested.origins[row])
        alone = fitted.predict(series.head(origin + 1))
        # The readout is a BLAS product. For one row it may sum eight float32 products in another order.
        assert alone.to_numpy() == pytest.approx(tested.forecasts[MODEL][row], rel=8 * 2**-24)
        assert np.array_equal(series.values[origin + 1 : origin + 7], tested.truth[row])
        assert alone.index[0] == series.times[origin] + pd.Timedelta("1h")


def test_fitting_does_not_depend_on_rows_after_the_cut(series: TimeSeries) -> None:
    later = changed(series, FIT, 400, "load (kW)", 1000.0)
    one, two = (
        Forecaster(6, hidden_size=4, max_epochs=1).fit(given.head(FIT)).predict(series.head(FIT))
        for given in (series, later)
    )
    assert np.array_equal(one, two)


def test_training_windows_forecast_nothing_of_the_validation_part(
    fitted: Forecaster, series: TimeSeries
) -> None:
    part = series.head(FIT)
    rows = FIT - 51
    windows = fitted.prepared_.windows(part, 6)
    batches = fitted.prepared_.training(windows, rows, 32, seed=0)
    check = fitted.prepared_.validation(windows, rows)
    assert batches.stop - 1 + 6 == rows - 1  # the last step that the last window forecasts
    assert check.origins[0] == rows - 1
    assert check.origins[-1] + 6 <= FIT - 1


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(series: TimeSeries) -> None:
    one, same, other = (
        Forecaster(6, hidden_size=8, max_epochs=2, seed=seed).fit(series.head(FIT)) for seed in (5, 5, 6)
    )
    assert np.array_equal(one.predict(series), same.predict(series))
    for name, tensor in one.file_.tensors.items():
        assert np.array_equal(tensor, same.file_.tensors[name])
    name = "recurrent.weight_ih_l0"
    assert not np.array_equal(one.file_.tensors[name], other.file_.tensors[name])


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_every_cell_learns_a_wave_better_than_the_naive_forecasts(series: TimeSeries, cell: str) -> None:
    forecaster = Forecaster(6, cell=cell, hidden_size=16, max_epochs=12, learning_rate=0.01)
    tested = forecaster.fit(series.head(FIT)).backtest(series, FIT)
    assert set(tested.forecasts) == {MODEL, PERSISTENCE, SEASONAL, RIDGE}
    assert tested.skill() > 0.1
    assert forecaster.score(series) > 0.1


def test_the_season_is_the_one_that_repeats_best(fitted: Forecaster) -> None:
    assert fitted.prepared_.encoding.season == 24
    assert fitted.prepared_.encoding.phases == (24,)


def test_missing_targets_are_used_neither_in_training_nor_in_evaluation(series: TimeSeries) -> None:
    frame = series.frame.copy()
    frame.iloc[100:110, 0] = np.nan
    frame.iloc[350:360, 0] = np.nan
    holey = TimeSeries.from_frame(frame, series.target)
    forecaster = Forecaster(6, hidden_size=4, max_epochs=1).fit(holey.head(FIT))
    tested = forecaster.backtest(holey, FIT)
    assert np.isnan(tested.truth).any()
    assert np.isfinite(tested.forecasts[MODEL]).all()
    assert all(np.isfinite(value or np.nan) for value in tested.overall()[MODEL].values())
    assert len(tested.ranked()) == (np.isfinite(tested.truth).sum(axis=1) >= 3).sum()


def test_a_series_with_a_missing_end_is_forecast_from_the_last_known_value(
    fitted: Forecaster, series: TimeSeries
) -> None:
    frame = series.frame.copy()
    frame.iloc[-3:, 0] = np.nan
    made = fitted.predict(TimeSeries.from_frame(frame, series.target))
    assert np.isfinite(made).all()
    assert made.index[0] == series.times[-1] + pd.Timedelta("1h")


def test_watch_gives_the_gates_of_every_step(fitted: Forecaster, series: TimeSeries) -> None:
    seen = fitted.watch(series, 50)
    assert {"i", "f", "g", "o", "c", "h"} <= set(seen)
    assert all(values.shape == (50, 8) for values in seen.values())
    assert seen["h"] == pytest.approx(seen["o"] * np.tanh(seen["c"]), abs=1e-5)


def test_history_and_season_can_be_given(series: TimeSeries) -> None:
    forecaster = Forecaster(6, hidden_size=4, max_epochs=1, history=10, season=12).fit(series)
    assert forecaster.prepared_.history == 10
    assert forecaster.prepared_.encoding.season == 12


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"horizon": 0}, "horizon must be a whole number of at least 1. Got 0"),
        ({"horizon": 10_001}, "horizon must be at most 10,000 steps. Got 10001"),
        ({"horizon": 2.5}, "horizon must be a whole number of at least 1. Got 2.5"),
        ({"horizon": True}, "horizon must be a whole number"),
        ({"cell": projected(cells.lstm)}, "cell must project nothing. Got 'lstm'"),
        ({"cell": "elman"}, "cell must be one of gru, lstm, .*, or a Cell. Got 'elman'"),
        ({"hidden_size": 0}, "hidden_size must be a whole number of at least 1. Got 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0. Got -1"),
        ({"dropout": 1.0}, "dropout must be a number of at least 0 and below 1. Got 1.0"),
        ({"learning_rate": 0.0}, "learning_rate must be a number above 0. Got 0.0"),
        ({"season": 200}, "season must be at most 170, half of the training rows. Got 200"),
        ({"history": 300}, "history must be at most 167 for 340 training rows. Got 300"),
    ],
)
def test_a_parameter_out_of_range_is_named(
    series: TimeSeries, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Forecaster(**{"horizon": 6, **parameters}).fit(series)


def test_a_short_series_is_refused_with_the_rows_it_needs(series: TimeSeries) -> None:
    with pytest.raises(SeriesError, match="at least 20 are needed"):
        Forecaster(6).fit(series.head(19))


def test_using_a_forecaster_before_fit_or_on_another_series_is_explained(
    fitted: Forecaster, series: TimeSeries
) -> None:
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        Forecaster(6).predict(series)
    with pytest.raises(
        ValueError, match=r"series must have at least 120 rows, for history and season\. Got 90"
    ):
        fitted.predict(series.head(90))
    with pytest.raises(ValueError, match="series must have the target"):
        fitted.predict(TimeSeries.from_frame(series.frame, "wind"))
    with pytest.raises(ValueError, match="It lacks \\['wind'\\]"):
        fitted.predict(TimeSeries.from_frame(series.frame[["load (kW)"]], series.target))
    daily = series.frame.set_axis(pd.date_range("2020-01-01", periods=400, freq="D"))
    with pytest.raises(ValueError, match=r"series must have steps of 1 h\. Got 1 day"):
        fitted.predict(TimeSeries.from_frame(daily, series.target))
    with pytest.raises(ValueError, match="series must have at least 6 steps after row 398"):
        fitted.backtest(series, 398)


def test_a_forecast_reads_exactly_the_rows_that_it_needs(fitted: Forecaster, series: TimeSeries) -> None:
    need = fitted.prepared_.need
    assert need == fitted.prepared_.history + fitted.prepared_.encoding.season
    last = TimeSeries.from_frame(series.frame.iloc[-need:], series.target)
    assert fitted.predict(last).to_numpy() == pytest.approx(fitted.predict(series).to_numpy(), rel=1e-5)
    short = TimeSeries.from_frame(series.frame.iloc[1 - need :], series.target)
    for job in (fitted.predict, fitted.score, lambda rows: fitted.watch(rows, 1)):
        with pytest.raises(ValueError, match=rf"at least {need}|at least {need + 6}|at least {need + 1}"):
            job(short)


def test_a_season_of_zeros_is_forecast_by_a_trained_model(fitted: Forecaster, series: TimeSeries) -> None:
    still = series.frame.assign(**{series.target: 0.0})
    assert np.isfinite(fitted.predict(TimeSeries.from_frame(still, series.target))).all()


def test_times_with_and_without_a_zone_are_not_mixed(fitted: Forecaster, series: TimeSeries) -> None:
    zoned = series.frame.tz_localize("UTC")
    with pytest.raises(ValueError, match=r"series must have times without a time zone\. Got UTC"):
        fitted.predict(TimeSeries.from_frame(zoned, series.target))


def test_a_zone_is_kept_by_training_forecasting_and_saving(tmp_path: Path, series: TimeSeries) -> None:
    zoned = TimeSeries.from_frame(series.frame.tz_localize("Asia/Kolkata"), series.target)
    forecaster = Forecaster(6, hidden_size=4, max_epochs=1).fit(zoned)
    forecaster.save(tmp_path / "m.safetensors")
    made = Forecaster.load(tmp_path / "m.safetensors").predict(zoned)
    assert str(made.index[0]) == "2024-03-17 16:00:00+05:30"


def test_rows_without_times_are_forecast_by_number() -> None:
    values = np.sin(np.arange(120.0)) + np.arange(120) % 3
    rows = Table("a", pd.DataFrame({"y": values}, index=range(1, 121)))
    series = TimeSeries.of(rows, "y", "none")
    made = Forecaster(3, hidden_size=4, max_epochs=1).fit(series).predict(series)
    assert made.index.tolist() == [121, 122, 123]


def test_parameters_are_set_by_name_as_in_scikit_learn() -> None:
    forecaster = Forecaster(6).set_params(seed=3, cell="gru")
    assert (forecaster.seed, forecaster.cell) == (3, "gru")
    with pytest.raises(ValueError, match=r"Invalid parameter 'alpha' for estimator Forecaster"):
        forecaster.set_params(alpha=1)


def test_parameters_are_stored_unchanged_and_printed() -> None:
    forecaster = Forecaster(6, cell="gru", seed=3)
    assert forecaster.get_params()["cell"] == "gru"
    assert repr(forecaster) == "Forecaster(cell='gru', horizon=6, seed=3)"
    assert Forecaster(**forecaster.get_params()).get_params() == forecaster.get_params()


def test_an_outlier_is_found_and_its_neighbours_are_not(fitted: Forecaster, series: TimeSeries) -> None:
    spiked = changed(series, 370, 371, "load (kW)", 8.0)
    found = fitted.anomalies(spiked)
    assert list(found.columns) == ["score", "anomaly"]
    assert list(found.index) == list(series.times)
    assert int(np.nanargmax(found["score"])) == 370
    assert np.flatnonzero(found["anomaly"]).tolist() == [370]
    need = fitted.prepared_.need
    assert found["score"].isna().tolist() == [row < need for row in range(400)]


def test_usual_errors_are_stored_in_the_file(fitted: Forecaster, series: TimeSeries, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.safetensors")
    again = Forecaster.load(tmp_path / "m.safetensors")
    assert again.model_.calibration == fitted.model_.calibration is not None
    assert again.anomalies(series).equals(fitted.anomalies(series))


def test_the_ridge_of_a_back_test_is_the_linear_part_alone(fitted: Forecaster, series: TimeSeries) -> None:
    tested = fitted.backtest(series, FIT)
    line = fitted.model_.straight()
    assert line is not None
    columns = {name: series.frame[name].to_numpy() for name in fitted.prepared_.encoding.columns}
    reads, linear = line._linear
    encoding = fitted.prepared_.encoding
    held, inputs = encoding.held(columns["load (kW)"]), encoding.encoded(columns, series.positions)
    ahead = np.empty((len(tested.origins), 6, 0), np.float32)
    changes = linear(reads.at(tested.origins, held, inputs, ahead))
    expected = encoding.unscaled((held[tested.origins][:, None] + changes).astype(np.float64))
    assert tested.forecasts[RIDGE] == pytest.approx(expected, rel=1e-5)
    assert not np.array_equal(tested.forecasts[RIDGE], tested.forecasts[MODEL])


def test_counts_are_not_forecast_by_their_logarithm(series: TimeSeries) -> None:
    with pytest.raises(ValueError, match=r"log must be False for counts, of output='negative-binomial'"):
        Forecaster(6, output="negative-binomial", log=True).fit(series)


def test_origins_have_the_distance_that_is_asked_for(fitted: Forecaster, series: TimeSeries) -> None:
    tested, some = fitted.backtest(series, FIT), fitted.backtest(series, FIT, every=7)
    assert some.origins.tolist() == list(range(FIT - 1, 394, 7))
    rows = np.isin(tested.origins, some.origins)
    for name in some.forecasts:
        assert np.array_equal(some.forecasts[name], tested.forecasts[name][rows])
    with pytest.raises(ValueError, match=r"every must be a whole number of at least 1\. Got 0"):
        fitted.backtest(series, FIT, every=0)


def test_a_refitted_forecast_is_that_of_a_new_forecaster(series: TimeSeries) -> None:
    forecaster = Forecaster(6, hidden_size=4, max_epochs=1).fit(series.head(300))
    tested = forecaster.backtest(series, 300, every=60, refit=True)
    assert tested.origins.tolist() == [299, 359]
    for row, origin in enumerate(tested.origins):
        known = series.head(int(origin) + 1)
        alone = Forecaster(6, hidden_size=4, max_epochs=1).fit(known)
        assert np.array_equal(tested.forecasts[MODEL][row], alone.predict(known))
        line = alone.model_.straight()
        assert line is not None
        columns = {name: known.frame[name].to_numpy() for name in line.encoding.columns}
        straight = line.forecast(columns, known.positions, np.array([origin]))[0]
        assert np.array_equal(tested.forecasts[RIDGE][row], straight)
        assert tested.quantiles is not None
        assert np.array_equal(tested.quantiles[row], alone.predict_quantiles(known))
    assert tested.distribution().keys() == forecaster.backtest(series, 300).distribution().keys()
    assert not np.array_equal(
        tested.forecasts[MODEL], forecaster.backtest(series, 300, every=60).forecasts[MODEL]
    )


def test_an_update_learns_from_new_steps_and_keeps_scales_and_states(
    series: TimeSeries, tmp_path: Path
) -> None:
    Forecaster(6, hidden_size=4, max_epochs=2).fit(series.head(300)).save(tmp_path / "m.safetensors")
    old = Forecaster.load(tmp_path / "m.safetensors")
    new = Forecaster.load(tmp_path / "m.safetensors").update(series)
    assert new.prepared_.encoding == old.prepared_.encoding
    assert new.prepared_.need == old.prepared_.need
    weights = [forecaster.network_.state_dict() for forecaster in (old, new)]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not np.array_equal(old.predict(series), new.predict(series))
    again = Forecaster.load(tmp_path / "m.safetensors").update(series)
    assert np.array_equal(again.predict(series), new.predict(series))
    new.save(tmp_path / "new.safetensors")
    assert np.array_equal(Forecaster.load(tmp_path / "new.safetensors").predict(series), new.predict(series))


def test_an_update_that_fails_leaves_the_forecaster_as_it_was(
    series: TimeSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecaster = Forecaster(6, hidden_size=4, max_epochs=1).fit(series.head(300))
    before = forecaster.predict(series)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(forecaster, "_temper", interrupted)
    with pytest.raises(KeyboardInterrupt):
        forecaster.update(series)
    assert np.array_equal(forecaster.predict(series), before)
    with pytest.raises(ValueError, match="It lacks \\['wind'\\]"):
        forecaster.update(TimeSeries.from_frame(series.frame[["load (kW)"]], series.target))
