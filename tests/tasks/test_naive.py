from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise.tasks.forecast.measures import errors
from gatewise.tasks.forecast.naive import future, hold, persistence, seasonal_naive, seasonal_scale


def test_hold_never_looks_ahead() -> None:
    values = np.array([np.nan, 2.0, np.nan, np.nan, 5.0, np.nan])
    assert np.array_equal(hold(values), [np.nan, 2.0, 2.0, 2.0, 5.0, 5.0], equal_nan=True)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 20), st.integers(20, 40))
def test_seasonal_naive_is_the_value_of_the_same_phase_in_the_last_known_season(
    season: int, horizon: int, origin: int
) -> None:
    held = np.random.default_rng(1).normal(size=70)
    made = seasonal_naive(held, np.array([origin]), horizon, season)[0]
    for k in range(1, horizon + 1):
        step = origin + k
        while step > origin:  # the definition: go back whole seasons until the step is known
            step -= season
        assert made[k - 1] == held[step]


def test_persistence_is_seasonal_naive_with_a_season_of_one() -> None:
    held = np.arange(30.0) ** 1.5
    origins = np.array([[3, 4], [20, 29]])
    assert np.array_equal(persistence(held, origins, 5), seasonal_naive(held, origins, 5, 1))


def test_naive_forecasts_use_nothing_after_the_origin() -> None:
    held = np.arange(30.0)
    changed = held.copy()
    changed[21:] = -99.0
    origins = np.arange(15, 21)
    assert np.array_equal(persistence(held, origins, 8), persistence(changed, origins, 8))
    assert np.array_equal(seasonal_naive(held, origins, 8, 7), seasonal_naive(changed, origins, 8, 7))


def test_future_counts_from_the_step_after_the_origin() -> None:
    assert future(np.array([4, 9]), 3).tolist() == [[5, 6, 7], [10, 11, 12]]


def test_mase_of_the_seasonal_naive_forecast_in_training_is_one() -> None:
    values = np.random.default_rng(2).normal(size=50)
    one_season_ahead = values[:-12]
    assert errors(one_season_ahead, values[12:], seasonal_scale(values, 12))["mase"] == pytest.approx(1.0)
