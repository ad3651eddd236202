"""The sentences below the table of errors."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
from rich.console import Console

from gatewise.apps.report import show_classical, show_errors
from gatewise.tasks.forecast.evaluation import (
    MODEL,
    PERSISTENCE,
    RIDGE,
    SEASONAL,
    SMOOTHING,
    THETA,
    Evaluation,
    joined,
)
from gatewise.tasks.series import TimeSeries

TIMES = pd.date_range("2024-01-01", periods=40, freq="h")
SERIES = TimeSeries.from_frame(pd.DataFrame({"load (kW)": np.arange(40.0)}, index=TIMES), "load (kW)")


def backtested(**missed: float) -> Evaluation:
    """A back-test in which each forecast misses by so much."""
    truth = 10 + np.arange(12.0).reshape(4, 3)
    names = {"model": MODEL, "last": PERSISTENCE, "season": SEASONAL, "ridge": RIDGE, "smoothing": SMOOTHING}
    names["theta"] = THETA
    made = {names[name]: truth + error for name, error in missed.items()}
    return Evaluation(np.arange(4), TIMES[:4], truth, made, 1.0)


def printed(found: Evaluation) -> str:
    console = Console(file=io.StringIO(), width=200)
    forecaster = SimpleNamespace(horizon=3, prepared_=SimpleNamespace(encoding=SimpleNamespace(season=2)))
    show_errors(console, cast(Any, forecaster), SERIES, found)
    return cast(io.StringIO, console.file).getvalue()


def test_a_linear_model_that_is_better_is_named() -> None:
    line = "A linear model is better here: the error of a ridge regression on past values is"
    assert f"{line} 20.0% smaller than that of the network." in printed(
        backtested(model=1.0, last=2.0, ridge=0.8)
    )
    assert "A linear model" not in printed(backtested(model=1.0, last=2.0, ridge=1.0))
    assert "A linear model" not in printed(backtested(model=1.0, last=2.0))


def test_the_best_naive_forecast_is_named_and_a_line_is_none() -> None:
    said = printed(backtested(model=1.0, last=4.0, season=2.0, ridge=0.1))
    assert (
        "The model's error is 50% smaller than that of the best naive forecast (seasonal naive (2 h))."
        in said
    )
    assert "The model does not beat" in printed(backtested(model=3.0, last=2.0, ridge=0.1))


def test_all_measures_are_printed_with_their_units() -> None:
    said = printed(backtested(model=1.0, last=2.0))
    for title in ("MAE (kW)", "RMSE (kW)", "MASE\n", "sMAPE (%)"):
        assert title in "\n".join(line.rstrip() for line in said.splitlines()) + "\n"


def test_intervals_are_reported() -> None:
    found = backtested(model=1.0, last=2.0)
    made = found.forecasts[MODEL][..., None]
    quantiles = np.concatenate([made - 3, made - 0.5, made, made + 0.5, made + 3], axis=-1)
    levels = (0.025, 0.25, 0.5, 0.75, 0.975)
    whole = Evaluation(found.origins, found.times, found.truth, found.forecasts, 1.0, levels, quantiles)
    said = printed(whole)
    assert "True values: 100.0% in the 95% interval, 0.0% in the 50%" in said
    assert "Pinball loss 0.28 kW, MSIS 6." in said


def test_the_series_of_a_panel_are_counted() -> None:
    good, bad = backtested(model=1.0, last=2.0), backtested(model=3.0, last=2.0)
    said = printed(joined([good, bad, good], ["a", "b", "c"]))
    assert "On 2 of 3 series the model is at least as good as every naive forecast." in said


def test_classical_forecasts_have_a_table_of_their_own() -> None:
    console = Console(file=io.StringIO(), width=200)
    found = backtested(model=1.0, last=2.0, smoothing=1.5, theta=1.2)
    show_classical(console, found, SERIES, "2 h")
    said = cast(io.StringIO, console.file).getvalue()
    lines = [line.split() for line in said.splitlines() if line]
    assert lines[0] == "At 4 of the origins forecast persistence exponential smoothing theta".split()
    assert lines[1] == ["MAE", "(kW)", "1.00", "2.00", "1.50", "1.20"]
