"""The linear part of a forecaster: against NumPy's and scikit-learn's least squares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from gatewise.runtime.jobs.lags import Reads
from gatewise.tasks.forecast.linear import AVERAGED, Fold, Moments, Regression, choose, fit, reads_of
from gatewise.tasks.forecast.naive import Numbers, future, seasonal_naive
from gatewise.tasks.forecast.preparation import prepare
from gatewise.tasks.forecast.windows import Windows
from gatewise.tasks.series import TimeSeries

HORIZON = 5
ORIGINS = np.arange(60, 380)


@pytest.fixture(scope="module")
def windows(series: TimeSeries) -> Windows:
    prepared = prepare(series, 340, HORIZON, 24, 30)
    reads = Reads((0, 1, 2, 3, 19, 20, 21, 22, 23, 24), inputs=True)
    return replace(prepared.windows(series, HORIZON), reads=reads)


def changes_of(windows: Windows) -> Numbers:
    return windows.held[future(ORIGINS, HORIZON)] - windows.held[ORIGINS][:, None]


def test_what_is_read_lies_before_the_origin(windows: Windows) -> None:
    read = windows.read(ORIGINS)
    held, lags = windows.held, windows.reads.lags
    assert read.shape == (len(ORIGINS), len(lags) + windows.inputs.shape[1] - 1)
    assert np.allclose(read[:, 0], held[ORIGINS])
    for place, lag in enumerate(lags[1:], 1):
        assert np.allclose(read[:, place], held[ORIGINS - lag] - held[ORIGINS], atol=1e-6)
    assert np.array_equal(read[:, len(lags) :], windows.inputs.numpy()[ORIGINS, 1:])


def test_without_a_penalty_it_is_least_squares(windows: Windows) -> None:
    windows = replace(windows, reads=Reads((0, 1, 2, 24)))
    linear = fit(windows, ORIGINS, [Regression(windows.reads, False, 0.0)])
    read = windows.read(ORIGINS).astype(np.float64)
    expected = np.linalg.lstsq(np.column_stack([read, np.ones(len(read))]), changes_of(windows))[0]
    np.testing.assert_allclose(linear.weight, expected[:-1].T, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(linear.bias, expected[-1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("seasonal", [False, True])
@pytest.mark.parametrize("penalty", [1e-5, 1e-2, 1.0, 100.0])
def test_it_is_the_ridge_regression_of_scikit_learn(windows: Windows, penalty: float, seasonal: bool) -> None:
    read = windows.read(ORIGINS).astype(np.float64)
    linear = fit(windows, ORIGINS, [Regression(windows.reads, seasonal, penalty)])
    start = np.zeros((len(ORIGINS), HORIZON))
    if seasonal:
        start = seasonal_naive(windows.held, ORIGINS, HORIZON, 24) - windows.held[ORIGINS][:, None]
    scale = read.std(axis=0)
    kept = scale > 1e-6
    ridge = Ridge(alpha=penalty * len(read)).fit(
        ((read - read.mean(axis=0))[:, kept]) / scale[kept], changes_of(windows) - start
    )
    expected = ridge.predict((read - read.mean(axis=0))[:, kept] / scale[kept]) + start
    np.testing.assert_allclose(linear(read), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("penalty", [1e-3, 0.1, 10.0])
def test_levels_make_the_ridge_regression_of_the_values(windows: Windows, penalty: float) -> None:
    lags = (0, 1, 2, 24)
    linear = fit(windows, ORIGINS, [Regression(Reads(lags), False, penalty, levels=True)])
    values = windows.held[ORIGINS[:, None] - np.array(lags)]
    standard = (values - values.mean(axis=0)) / values.std(axis=0)
    ridge = Ridge(alpha=penalty * len(values)).fit(standard, windows.held[future(ORIGINS, HORIZON)])
    made = windows.held[ORIGINS][:, None] + linear(windows.read(ORIGINS).astype(np.float64))
    np.testing.assert_allclose(made, ridge.predict(standard), rtol=1e-5, atol=1e-6)


def test_columns_that_are_not_read_have_no_weight(windows: Windows) -> None:
    linear = fit(windows, ORIGINS, [Regression(Reads((1, 24)), False, 1e-3)])
    places = [windows.reads.lags.index(lag) for lag in (1, 24)]
    others = np.delete(linear.weight, places, axis=1)
    assert (others == 0).all()
    assert (linear.weight[:, places] != 0).all()


def test_an_infinite_penalty_leaves_the_naive_forecast(windows: Windows) -> None:
    persistence = fit(windows, ORIGINS, [Regression(Reads(), False, np.inf)])
    assert not persistence(windows.read(ORIGINS)).any()
    seasonal = fit(windows, ORIGINS, [Regression(Reads((19, 20, 21, 22, 23, 24)), True, np.inf)])
    naive = seasonal_naive(windows.held, ORIGINS, HORIZON, 24)
    made = windows.held[ORIGINS][:, None] + seasonal(windows.read(ORIGINS).astype(np.float64))
    np.testing.assert_allclose(made, naive, atol=1e-5)


def test_origins_with_missing_values_ahead_are_left_out(windows: Windows) -> None:
    truth = windows.truth.clone()
    truth[100:110] = np.nan
    held = windows.held.copy()
    held[100:110] = 50.0
    holey = replace(windows, truth=truth, held=held)
    clean = ORIGINS[(ORIGINS < 95) | (ORIGINS > 110 + 24)]
    near = ORIGINS[(ORIGINS < 95) | (ORIGINS >= 110 + 24)]
    regression = [Regression(windows.reads, False, 0.1)]
    assert Moments.of(replace(holey, reads=windows.reads), np.arange(95, 110)).count == 15  # half is missing
    one, two = fit(holey, near, regression), fit(windows, near, regression)
    assert len(clean) == len(near) - 1
    np.testing.assert_allclose(one.weight, two.weight, rtol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 7]), st.integers(1, 9))
def test_it_finds_the_equation_of_a_series(seed: int, season: int, horizon: int) -> None:
    """A linear recurrence without noise is forecast exactly."""
    rng = np.random.default_rng(seed)
    values = list(rng.normal(size=2))
    angle = rng.uniform(0.2, 1.5)
    while len(values) < 260:
        values.append(2 * np.cos(angle) * values[-1] - values[-2])
    days = pd.date_range("2024-01-01", periods=len(values), freq="D")
    series = TimeSeries.from_frame(pd.DataFrame({"wave": values}, index=days), "wave")
    prepared = prepare(series, 200, horizon, season, 20)
    windows = prepared.windows(series, horizon)
    folds = [Fold(np.arange(40, 200 - horizon), np.arange(200, 260 - horizon))]
    regressions = choose(windows, folds)
    windows = replace(windows, reads=reads_of(regressions))
    made = fit(windows, folds[0].fitted, regressions)(windows.read(folds[0].judged).astype(np.float64))
    coming = windows.held[future(folds[0].judged, horizon)] - windows.held[folds[0].judged][:, None]
    np.testing.assert_allclose(made, coming, atol=1e-3)


def test_changes_over_a_season_are_forecast_by_earlier_ones() -> None:
    """Each change over a season is 0.9 of that of two steps before, and noise: lag season + 1 is needed."""
    season, values, rng = 12, np.empty(500), np.random.default_rng(0)
    change = rng.normal(size=season)
    values[:season] = 10 * np.sin(np.arange(season))
    for step in range(season, len(values)):
        change = np.append(change[1:], 0.9 * change[-2] + rng.normal())
        values[step] = values[step - season] + change[-1]
    months = pd.date_range("1970-01-01", periods=len(values), freq="MS")
    series = TimeSeries.from_frame(pd.DataFrame({"sold": values}, index=months), "sold")
    prepared = prepare(series, 400, 1, season, 10)
    windows = prepared.windows(series, 1)
    folds = prepared.folds(windows, 400)
    regressions = choose(windows, folds)
    assert any(season + 1 in each.reads.lags for each in regressions)
    assert max(each.reads.reach for each in regressions) < prepared.need


def test_a_season_longer_than_the_history_is_read_whole() -> None:
    """Each value is the mean of five in the middle of the season before, and noise."""
    season, middle, rng = 40, 20, np.random.default_rng(0)
    values = list(rng.normal(size=season))
    while len(values) < 1000:
        values.append(np.mean(values[-middle - 2 : 3 - middle]) + rng.normal())
    days = pd.date_range("2024-01-01", periods=len(values), freq="D")
    series = TimeSeries.from_frame(pd.DataFrame({"sold": values}, index=days), "sold")
    prepared = prepare(series, 850, 2, season, 12)
    windows = prepared.windows(series, 2)
    regressions = choose(windows, prepared.folds(windows, 850))
    assert {middle - 1, middle} <= set(reads_of(regressions).lags)


def test_the_best_of_each_family_are_chosen(windows: Windows) -> None:
    fold = Fold(np.arange(60, 300), np.arange(300, 340))
    regressions = choose(windows, [fold])
    assert 1 < len(regressions) <= AVERAGED
    assert len({each.family for each in regressions}) == len(regressions)


def test_too_few_origins_give_no_regression(windows: Windows) -> None:
    assert choose(windows, [Fold(np.arange(60, 63), np.arange(100, 120))]) == ()
