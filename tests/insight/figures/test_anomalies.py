from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gatewise.insight.figures.anomalies import draw_anomalies

TIMES = pd.date_range("2024-01-01", periods=30, freq="h")
WAVE = np.sin(np.arange(30.0))
SCORES = np.where(np.arange(30) < 5, np.nan, 1.0)


def test_steps_above_the_threshold_are_marked() -> None:
    scores = SCORES.copy()
    scores[[12, 20]] = 9.0
    upper, lower = draw_anomalies("head", "note", "°C", TIMES, WAVE, scores, 4.0).axes
    marked = next(line for line in upper.get_lines() if line.get_label() == "anomaly")
    assert np.array_equal(np.asarray(marked.get_ydata()), WAVE[[12, 20]])
    labels = [line.get_label() for line in lower.get_lines()]
    assert labels == ["score", "threshold (4)"]
    assert lower.get_ylim()[1] > 9.0


def test_a_series_without_anomalies_or_scores_is_drawn() -> None:
    for scores in (SCORES, np.full(30, np.nan)):
        figure = draw_anomalies("head", "note", "°C", range(30), WAVE, scores, 4.0)
        figure.draw_without_rendering()
        assert len(np.asarray(figure.axes[0].get_lines()[1].get_ydata())) == 0


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"draw_anomalies: scores must have shape \[N\] = \[30\]. Got \[29\]"
    ):
        draw_anomalies("head", "note", "°C", TIMES, WAVE, SCORES[1:], 4.0)
