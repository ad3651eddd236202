from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from gatewise.tasks.series.weather import FILE, TARGET, weather


def test_the_data_agree_with_their_readme() -> None:
    series = weather()
    known = series.frame.notna().sum()
    assert (len(series), series.clock.span(1), series.unit) == (8730, "1 h", "°C")
    assert (series.times[0], series.times[-1]) == (
        pd.Timestamp("2013-01-01 01:00"),
        pd.Timestamp("2013-12-30 18:00"),
    )
    assert known.to_dict() == {
        "temperature (°C)": 8702,
        "dew point (°C)": 8702,
        "relative humidity (%)": 8702,
        "pressure (hPa)": 7768,
        "wind speed (m/s)": 8701,
        "wind to east (m/s)": 8446,
        "wind to north (m/s)": 8446,
        "precipitation (mm)": 8703,
        "visibility (km)": 8703,
    }
    empty = series.frame.isna().all(axis=1)
    starts = empty & ~empty.shift(fill_value=False)
    assert (int(empty.sum()), int(starts.sum())) == (27, 17)


def test_the_weather_is_plausible() -> None:
    frame = weather().frame
    assert -25 < frame[TARGET].min() < frame[TARGET].max() < 45
    assert (frame["dew point (°C)"] <= frame[TARGET] + 0.5).mean() > 0.99
    by_hour = frame[TARGET].groupby(pd.DatetimeIndex(frame.index).hour).mean().to_numpy()
    assert 4 <= by_hour.argmin() <= 6  # coldest before sunrise
    assert 13 <= by_hour.argmax() <= 15  # warmest in the afternoon
    speed = np.hypot(frame["wind to east (m/s)"], frame["wind to north (m/s)"])
    assert (speed - frame["wind speed (m/s)"]).abs().max() < 0.2


def test_source_and_licence_are_beside_the_data() -> None:
    readme = Path(FILE).with_name("README.md").read_text(encoding="utf-8")
    assert FILE.name in readme
    assert "CC0" in readme
