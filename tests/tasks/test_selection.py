"""What is kept: the network that forecasts the validation part clearly better."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.tasks.forecast import fitting
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.forecast.selection import BLOCKS, Missed, blocks_of, clearly_better
from gatewise.tasks.series import TimeSeries

pytestmark = pytest.mark.usefixtures("quickly")


def test_errors_are_those_of_the_forecasts(series: TimeSeries) -> None:
    forecaster = Forecaster(6, season=24, hidden_size=4, max_epochs=1).fit(series.head(340))
    check = forecaster.prepared_.validation(forecaster.prepared_.windows(series, 6), 340)
    missed = Missed.of(forecaster.network_, check)
    tested = forecaster.backtest(series, 340)
    assert np.array_equal(tested.origins, check.origins)
    errors = np.abs(tested.forecasts["model"] - tested.truth) / forecaster.prepared_.encoding.scale[0]
    np.testing.assert_allclose(missed.total, np.nansum(errors, axis=1), rtol=1e-4)
    assert missed.mean == pytest.approx(np.nanmean(errors), rel=1e-5)
    assert missed.known.tolist() == (~np.isnan(errors)).sum(axis=1).tolist()


@given(st.integers(1, 300), st.integers(1, 30), st.integers(0, 50))
def test_blocks_hold_every_error_once(count: int, horizon: int, missing: int) -> None:
    rng = np.random.default_rng(count)
    total, known = rng.random(count), rng.integers(1, horizon + 1, size=count)
    known[: min(missing, count - 1)] = 0
    total[known == 0] = 0
    origins = np.arange(count)
    blocks = Missed(total, known).blocks(origins, horizon)
    assert 1 <= len(blocks) <= min(BLOCKS, blocks_of(origins, horizon))
    means = (total / np.maximum(known, 1))[known > 0]
    assert means.min() - 1e-12 <= blocks.min() <= blocks.max() <= means.max() + 1e-12
    assert np.allclose(Missed(np.full(count, 3.0), np.full(count, 2)).blocks(origins, horizon), 1.5)


def test_better_is_better_by_more_than_chance() -> None:
    rng = np.random.default_rng(0)
    noise = [clearly_better(rng.normal(size=10)) for _ in range(2000)]
    assert np.mean(noise) == pytest.approx(0.17, abs=0.03)  # of Student's t with 9 degrees of freedom above 1
    assert clearly_better(rng.normal(2, 1, size=10))
    assert clearly_better(np.array([0.1]))
    assert not clearly_better(np.array([0.0]))
    assert not clearly_better(np.array([]))


def test_without_a_clear_gain_the_line_remains_alone(
    series: TimeSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "clearly_better", lambda gains: False)
    forecaster = Forecaster(6, season=24, hidden_size=4, max_epochs=2).fit(series.head(340))
    assert forecaster.best_epoch_ == 0
    tested = forecaster.backtest(series, 340).forecasts
    np.testing.assert_allclose(tested["model"], tested["ridge"], rtol=1e-5)


def test_a_network_that_finds_what_is_not_linear_is_kept() -> None:
    """The next value is the absolute one of the last, and noise: no line forecasts it."""
    values, rng = [0.5], np.random.default_rng(0)
    while len(values) < 700:
        values.append(1 - 1.8 * abs(values[-1]) + 0.02 * rng.normal())
    days = pd.date_range("2020-01-01", periods=700, freq="D")
    series = TimeSeries.from_frame(pd.DataFrame({"tent": values}, index=days), "tent")
    forecaster = Forecaster(1, season=1, hidden_size=16, max_epochs=8, learning_rate=0.02).fit(
        series.head(600)
    )
    assert forecaster.best_epoch_ > 0
    tested = forecaster.backtest(series, 600)
    errors = {name: np.abs(made - tested.truth).mean() for name, made in tested.forecasts.items()}
    assert errors["model"] < 0.9 * errors["ridge"]
