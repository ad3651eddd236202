from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gatewise.tasks.forecast.evaluation import MODEL, PERSISTENCE, RIDGE, SEASONAL, Evaluation, joined


@pytest.fixture
def tested() -> Evaluation:
    truth = np.array([[1.0, 2.0], [3.0, 4.0], [np.nan, 6.0]])
    forecasts = {
        MODEL: truth + np.array([[0.5, 0.5], [0.0, -1.0], [0.0, 1.0]]),
        PERSISTENCE: truth + 2.0,
        SEASONAL: truth - 1.0,
    }
    forecasts = {name: np.nan_to_num(made) for name, made in forecasts.items()}
    return Evaluation(np.arange(3), pd.date_range("2024", periods=3), truth, forecasts, scale=2.0)


def test_errors_are_means_over_known_values(tested: Evaluation) -> None:
    model, persistence = tested.overall()[MODEL], tested.overall()[PERSISTENCE]
    smape = 40 * (0.5 / 2.5 + 0.5 / 4.5 + 1 / 7 + 1 / 13)
    assert model == pytest.approx({"mae": 0.6, "rmse": np.sqrt(2.5 / 5), "mase": 0.3, "smape": smape})
    smape = 40 * (2 / 4 + 2 / 6 + 2 / 8 + 2 / 10 + 2 / 14)
    assert persistence == pytest.approx({"mae": 2.0, "rmse": 2.0, "mase": 1.0, "smape": smape})
    steps = tested.by_step()
    assert [step["step"] for step in steps] == [1, 2]
    assert steps[0][MODEL]["mae"] == pytest.approx(0.25)
    assert steps[1][MODEL]["mae"] == pytest.approx(2.5 / 3)


def test_skill_is_measured_against_the_best_naive_forecast(tested: Evaluation) -> None:
    assert tested.skill() == pytest.approx(1 - 0.6 / 1.0)


def test_forecasts_are_ranked_by_error_if_half_of_the_truth_is_known(tested: Evaluation) -> None:
    tested.forecasts[MODEL][1] += 5.0
    assert tested.ranked().tolist() == [0, 2, 1]  # off by 0.5, 1 and 4.5 on average
    tested.truth[0] = np.nan
    assert tested.ranked().tolist() == [2, 1]


def test_a_line_is_no_naive_forecast(tested: Evaluation) -> None:
    tested.forecasts[RIDGE] = np.nan_to_num(tested.truth)
    assert tested.skill() == pytest.approx(1 - 0.6 / 1.0)
    name, error = tested.best([PERSISTENCE, SEASONAL])
    assert name == SEASONAL
    assert error == pytest.approx(1.0)
    assert tested.best([RIDGE, SEASONAL]) == (RIDGE, 0.0)


def test_without_quantiles_there_is_no_distribution(tested: Evaluation) -> None:
    assert (tested.distribution(), tested.bands(), tested.by_series()) == ({}, {}, {})


def with_quantiles(tested: Evaluation, scale: float, factor: float) -> Evaluation:
    truth = tested.truth * factor
    made = {name: values * factor for name, values in tested.forecasts.items()}
    spread = factor * np.array([-2.0, 0.0, 2.0])
    quantiles = made[MODEL][..., None] + spread
    return Evaluation(tested.origins, tested.times, truth, made, scale, (0.1, 0.5, 0.9), quantiles)


def test_quantiles_have_bands_and_coverage(tested: Evaluation) -> None:
    found = with_quantiles(tested, 2.0, 1.0)
    low, high = found.bands()["80%"]
    assert (high - low == 4.0).all()
    assert found.distribution()["coverage"] == {"80%": 1.0}
    assert found.distribution()["below"]["0.5"] == pytest.approx(0.8)


def test_errors_of_a_panel_are_those_of_its_series_in_their_own_units(tested: Evaluation) -> None:
    small, large = with_quantiles(tested, 2.0, 1.0), with_quantiles(tested, 2e6, 1e6)
    panel = joined([small, large.at(np.array([0, 2]))], ["small", "large"])
    assert panel.measure == "mase"
    assert panel.origins.tolist() == [0, 1, 2, 0, 2]
    by_series = panel.by_series()
    assert by_series["small"] == small.overall()
    assert by_series["large"] == large.at(np.array([0, 2])).overall()
    scaled = [0.25, 0.25, 0.0, 0.5, 0.5, 0.25, 0.25, 0.5]
    assert panel.overall()[MODEL]["mase"] == pytest.approx(np.mean(scaled))
    assert panel.by_step()[0][MODEL]["mase"] == pytest.approx(np.mean([0.25, 0.0, 0.25]))
    assert panel.skill() == pytest.approx(1 - np.mean(scaled) / 0.5)
    assert panel.distribution()["coverage"] == {"80%": 1.0}
    assert panel.ranked().tolist() == [0, 1, 3, 2, 4]  # by the error in units of the scale


def test_the_back_test_at_some_origins_is_that_part(tested: Evaluation) -> None:
    found = with_quantiles(tested, 2.0, 1.0)
    part = found.at(found.origins > 0)
    assert part.origins.tolist() == [1, 2]
    assert part.overall()[MODEL]["mae"] == pytest.approx((0.0 + 1.0 + 1.0) / 3)
    assert part.quantiles is not None
    assert part.quantiles.shape == (2, 2, 3)
