"""No forecast reads the future: random changes after an origin move nothing, those before it do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewise.tasks.forecast.evaluation import Evaluation
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.series import Panel, TimeSeries

STEPS, FITTED, HORIZON = 200, 150, 4
TARGET, PAST, KNOWN = "sold", "visitors", "price"
FIXED = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

pytestmark = pytest.mark.usefixtures("quickly")


def frame_of(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    days = np.arange(STEPS)
    price = 1.0 + (days % 9 == 0)
    visitors = 5 + rng.normal(size=STEPS)
    sold = 10 + 3 * np.sin(2 * np.pi * days / 7) - 2 * price + 0.5 * np.roll(visitors, 1)
    index = pd.date_range("2024-01-01", periods=STEPS)
    return pd.DataFrame({TARGET: sold, PAST: visitors, KNOWN: price}, index=index)


def series_of(frame: pd.DataFrame) -> TimeSeries:
    return TimeSeries.from_frame(frame, TARGET, known=[KNOWN])


@pytest.fixture(scope="module")
def alone() -> Forecaster:
    series = series_of(frame_of(0)).head(FITTED)
    return Forecaster(HORIZON, hidden_size=6, history=14, max_epochs=2).fit(series)


def panel_of(frames: dict[str, pd.DataFrame]) -> Panel:
    rows = pd.concat([frame.assign(shop=shop).rename_axis("day") for shop, frame in frames.items()])
    return Panel.from_frame(rows, TARGET, "shop", known=[KNOWN])


@pytest.fixture(scope="module")
def several() -> Forecaster:
    panel = panel_of({"a": frame_of(0), "b": frame_of(1)}).head([FITTED, FITTED])
    return Forecaster(HORIZON, hidden_size=6, history=14, max_epochs=2).fit(panel)


@st.composite
def changes(draw: st.DrawFn) -> tuple[int, str, pd.Series]:
    """A step, a column that is not known ahead, and what is added to it from this step on (NaN: removed)."""
    step = draw(st.integers(FITTED, STEPS - 1))
    column = draw(st.sampled_from([TARGET, PAST]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    added = np.zeros(STEPS)
    added[step:] = rng.normal(0, draw(st.sampled_from([0.1, 10.0, 1e4])), size=STEPS - step)
    added[step:][rng.random(STEPS - step) < 0.2] = np.nan
    added[step] = 1.0 + abs(np.nan_to_num(added[step]))
    added[-1] = np.nan_to_num(added[-1])  # the last value of the target ends the series
    return step, column, pd.Series(added, frame_of(0).index)


def unmoved(one: Evaluation, other: Evaluation, step: int) -> None:
    """Every forecast from before a step is the same to the bit."""
    before = one.origins < step
    for name in one.forecasts:
        assert np.array_equal(one.forecasts[name][before], other.forecasts[name][before]), name
    if one.quantiles is not None and other.quantiles is not None:
        assert np.array_equal(one.quantiles[before], other.quantiles[before])


@FIXED
@given(changes())
def test_changes_after_an_origin_move_no_forecast(
    alone: Forecaster, change: tuple[int, str, pd.Series]
) -> None:
    step, column, added = change
    frame = frame_of(0)
    changed = frame.assign(**{column: frame[column] + added})
    one, other = (alone.backtest(series_of(each), FITTED) for each in (frame, changed))
    unmoved(one, other, step)


@FIXED
@given(changes())
def test_changes_in_one_series_move_no_forecast_of_another(
    several: Forecaster, change: tuple[int, str, pd.Series]
) -> None:
    step, column, added = change
    frames = {"a": frame_of(0), "b": frame_of(1)}
    changed = frames | {"a": frames["a"].assign(**{column: frames["a"][column] + added})}
    one, other = (several.backtest(panel_of(each), FITTED) for each in (frames, changed))
    assert one.series is not None
    for place in (0, 1):
        rows = one.series == place
        unmoved(one.at(rows), other.at(rows), step if place == 0 else STEPS)


@FIXED
@given(st.integers(FITTED, STEPS - HORIZON - 1), st.sampled_from([TARGET, PAST]))
def test_the_last_known_value_moves_the_forecast(alone: Forecaster, origin: int, column: str) -> None:
    frame = frame_of(0)
    changed = frame.assign(**{column: frame[column] + (np.arange(STEPS) == origin)})
    one, other = (alone.backtest(series_of(each), FITTED) for each in (frame, changed))
    row = int(np.flatnonzero(one.origins == origin)[0])
    assert not np.array_equal(one.forecasts["model"][row], other.forecasts["model"][row])
