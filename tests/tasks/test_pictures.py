# mypy: allow-untyped-defs, allow-incomplete-defs
from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gatewise import cell, sigmoid, tanh
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.forecast.pictures import forecast_picture, gate_picture
from gatewise.tasks.series import Panel as Series
from gatewise.tasks.series import TimeSeries


def test_forecasts_are_shown_with_the_truth_and_the_naive_ones(
    fitted: Forecaster, series: TimeSeries
) -> None:
    tested = fitted.backtest(series, 340)
    figure = forecast_picture(fitted, series, tested)
    coming, errors, good, typical, bad = figure.axes
    assert coming.get_title(loc="left") == "The next 6 h"
    shown = {line.get_label(): line for line in coming.get_lines()}
    assert np.array_equal(shown["forecast"].get_ydata(), fitted.predict(series))
    curves = {line.get_label(): np.asarray(line.get_ydata()) for line in errors.get_lines()}
    assert list(curves) == ["forecast", "persistence", "seasonal naive (24 h)", "ridge"]
    assert list(curves["forecast"]) == [step["model"]["mae"] for step in tested.by_step()]
    assert [axes.get_title(loc="left").split(":")[0] for axes in (good, typical, bad)] == [
        "A good one",
        "A typical one",
        "A bad one",
    ]
    row = tested.ranked()[int(0.5 * (len(tested.ranked()) - 1))]
    assert any(
        np.array_equal(np.asarray(line.get_ydata())[1:], tested.truth[row]) for line in typical.get_lines()
    )


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("lstm", ["Forget gate f", "Input gate i", "Output gate o", "Memory c"]),
        ("gru", ["Update gate z", "Reset gate r", "State h"]),
        ("rnn", ["State h"]),
        ("rnn_relu", ["State h"]),
    ],
)
def test_every_cell_shows_its_gates(series: TimeSeries, cell: str, names: list[str]) -> None:
    forecaster = Forecaster(6, cell=cell, hidden_size=5, max_epochs=1).fit(series)
    figure = gate_picture(forecaster, series)
    maps = [axes for axes in figure.axes if axes.get_images()]
    assert [axes.get_title(loc="left").split(":")[0].split(" (")[0] for axes in maps] == names
    for axes in maps:
        assert axes.get_images()[0].get_array().shape == (5, 168)  # type: ignore[union-attr]


@cell
def gated(h, m, k, *, a, b):
    a, b = sigmoid(a), tanh(b)
    m = a * m + (1 - a) * b
    return tanh(m) + 0.1 * k, m, h


def test_a_users_cell_shows_its_gates_and_two_states(series: TimeSeries) -> None:
    forecaster = Forecaster(6, cell=gated, hidden_size=5, max_epochs=1).fit(series)
    figure = gate_picture(forecaster, series)
    maps = [axes for axes in figure.axes if axes.get_images()]
    assert [axes.get_title(loc="left") for axes in maps] == ["Gate a", "State h", "State m"]
    assert any("Inside the gated" in text.get_text() for text in figure.texts)


def test_units_are_sorted_by_how_long_they_remember(fitted: Forecaster, series: TimeSeries) -> None:
    figure = gate_picture(fitted, series)
    shown = figure.axes[1].get_images()[0].get_array()
    kept = np.log(np.asarray(shown)).mean(axis=1)
    assert (np.diff(kept) >= 0).all()
    labels = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert len(labels) == 3
    assert all(label.endswith((" h", " min")) for label in labels)


def test_a_series_without_season_unit_or_inputs_is_drawn_too() -> None:
    years = pd.date_range("1900-01-01", periods=90, freq="YS")
    wave = np.sin(np.arange(90.0)) * 1e4
    series = TimeSeries.from_frame(pd.DataFrame({"flow": wave}, index=years), "flow")
    forecaster = Forecaster(1, hidden_size=4, max_epochs=1).fit(series.head(75))
    tested = forecaster.backtest(series, 75)
    assert list(tested.forecasts) == ["model", "persistence", "ridge"]
    figure = forecast_picture(forecaster, series, tested)
    assert figure.axes[0].get_title(loc="left") == "The next 1 year"
    assert "  " not in figure.axes[2].get_title(loc="left")
    assert len(gate_picture(forecaster, series).axes) > 4


def test_a_panel_shows_forecasts_of_different_series_and_bands() -> None:
    days = pd.date_range("2024-01-01", periods=70, freq="D", name="day")
    rows = [
        pd.DataFrame({"id": shop, "sold": scale * (5 + np.arange(70) % 7 + noise)}, index=days)
        for shop, scale, noise in zip(
            "abc", (1.0, 1000.0, 1.0), np.random.default_rng(0).normal(size=(3, 70)), strict=True
        )
    ]
    panel = Series.from_frame(pd.concat(rows), "sold")
    forecaster = Forecaster(3, hidden_size=4, max_epochs=1).fit(panel.head([55] * 3))
    tested = forecaster.backtest(panel, 55)
    coming, errors, *examples = forecast_picture(forecaster, panel, tested).axes
    assert errors.get_ylabel() == "MASE"
    assert tested.series is not None
    typical = tested.ids[int(tested.series[tested.ranked()[int(0.5 * (len(tested.ranked()) - 1))]])]
    assert coming.get_title(loc="left") == f"The next 3 days of {typical}"
    titles = [axes.get_title(loc="left") for axes in examples]
    assert [title.split(" (")[0] for title in titles] == ["A good one", "A typical one", "A bad one"]
    assert f"({typical})" in titles[1]
    for axes in (coming, *examples):
        labels = [band.get_label() for band in axes.collections]
        assert labels == ["95% interval", "80% interval", "50% interval"]
