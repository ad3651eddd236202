from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.series import TimeSeries

STEPS = 400


def make_frame() -> pd.DataFrame:
    """An hourly table: a daily wave with a slow one and noise, an input with gaps, and a constant input."""
    generator = np.random.default_rng(0)
    hours = np.arange(STEPS)
    target = 10 + 3 * np.sin(2 * np.pi * hours / 24) + np.sin(hours / 30) + 0.3 * generator.normal(size=STEPS)
    wind = generator.normal(size=STEPS)
    wind[[5, 50, 51, 390]] = np.nan
    times = pd.date_range("2024-03-01", periods=STEPS, freq="h")
    return pd.DataFrame({"load (kW)": target, "wind": wind, "site": np.full(STEPS, 7.0)}, index=times)


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    return make_frame()


@pytest.fixture(scope="session")
def series(frame: pd.DataFrame) -> TimeSeries:
    return TimeSeries.from_frame(frame, "load (kW)")


@pytest.fixture(scope="session")
def fitted(series: TimeSeries) -> Forecaster:
    return Forecaster(6, hidden_size=8, max_epochs=3).fit(series.head(340))
