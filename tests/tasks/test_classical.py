"""Exponential smoothing and theta beside a back-test."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gatewise.tasks.forecast import classical
from gatewise.tasks.forecast.classical import beside_classical, smoothed, theta
from gatewise.tasks.forecast.evaluation import MODEL, PERSISTENCE, SMOOTHING, THETA, Evaluation, joined
from gatewise.tasks.series import Panel, TimeSeries, as_panel

pytest.importorskip("statsmodels")  # an extra


def wave(seed: int = 0) -> TimeSeries:
    months = np.arange(96.0)
    noise = np.random.default_rng(seed).normal(size=96)
    values = 10 + 0.1 * months + 3 * np.sin(2 * np.pi * months / 12) + 0.1 * noise
    index = pd.date_range("2016-01-01", periods=96, freq="MS")
    return TimeSeries.from_frame(pd.DataFrame({"y": values}, index=index), "y")


def backtested(series: TimeSeries) -> Evaluation:
    origins = np.arange(60, 90)
    truth = series.values[origins[:, None] + np.arange(1, 4)]
    last = np.repeat(series.values[origins][:, None], 3, axis=1)
    return Evaluation(origins, series.times[origins], truth, {MODEL: truth, PERSISTENCE: last}, 1.0)


def test_both_beat_persistence_on_a_season_with_a_trend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classical, "MOST_ORIGINS", 3)
    series = wave()
    found = beside_classical(backtested(series), as_panel(series), 12)
    assert list(found.forecasts) == [MODEL, PERSISTENCE, SMOOTHING, THETA]
    assert found.origins.tolist() == [60, 74, 89]
    overall = found.overall()
    for name in (SMOOTHING, THETA):
        assert (overall[name]["mae"] or 0) < 0.5 * (overall[PERSISTENCE]["mae"] or 0)


@pytest.mark.parametrize("method", [smoothed, theta])
def test_forecasts_use_the_past_alone_and_are_finite(method) -> None:  # type: ignore[no-untyped-def]
    values = wave().values.copy()
    later = values.copy()
    later[71:] += 1000.0
    later[20:25] = np.nan
    values[20:25] = np.nan
    made, same = (classical.classical(method, each, np.array([70]), 3, 12) for each in (values, later))
    assert np.array_equal(made, same)
    for short in (values[:3], np.ones(30)):
        found = classical.classical(method, short, np.array([2]), 3, 12)
        assert np.isfinite(found).all()


def test_the_series_of_a_panel_are_forecast_from_their_own_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classical, "MOST_ORIGINS", 2)
    one, two = wave(0), wave(1)
    panel = Panel("panel", (one, two), ("a", "b"))
    found = beside_classical(joined([backtested(one), backtested(two)], ["a", "b"]), panel, 12)
    assert found.series is not None
    assert found.series.tolist() == [0, 1]
    for row, series in enumerate((one, two)):
        alone = classical.classical(theta, series.values, found.origins[row : row + 1], 3, 12)
        assert np.array_equal(found.forecasts[THETA][row], alone[0])
