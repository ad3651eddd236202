from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gatewise.tasks.forecast.evaluation import MODEL, PERSISTENCE, SEASONAL, Evaluation


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
    assert tested.overall()[MODEL] == pytest.approx({"mae": 0.6, "rmse": np.sqrt(2.5 / 5), "mase": 0.3})
    assert tested.overall()[PERSISTENCE] == pytest.approx({"mae": 2.0, "rmse": 2.0, "mase": 1.0})
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
