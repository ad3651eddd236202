"""Scores of steps by the errors of their forecasts, and thresholds, against definitions written as loops."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.runtime.jobs import anomalies
from gatewise.runtime.jobs.anomalies import TAIL, Calibration, errors
from gatewise.runtime.jobs.naive import Numbers, Whole


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(anomalies).failed == 0


def fading(values: Numbers, horizon: int):  # type: ignore[no-untyped-def]
    """A forecast of each step ahead: a share of the last value."""

    def forecasts(origins: Whole) -> Numbers:
        made: Numbers = values[origins][:, None] * 0.9 ** np.arange(1, horizon + 1)
        return made

    return forecasts


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(0, 20), st.integers(25, 60))
def test_scores_are_those_of_the_definition(seed: int, horizon: int, first: int, N: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=N)
    truth = np.where(rng.random(N) < 0.1, np.nan, values)
    J = min(horizon, anomalies.MOST_AHEAD)
    usual = rng.uniform(0.5, 2.0, size=J)
    missed = errors(truth, fading(values, horizon), first, J)
    scores = Calibration(tuple(usual), 1.0, 1.0).scores(missed)
    for n in range(N):
        each = [
            abs(truth[n] - values[n - j] * 0.9**j) / usual[j - 1] for j in range(1, J + 1) if n - j >= first
        ]
        expected = min(each) if each and truth[n] == truth[n] else np.nan
        assert scores[n] == pytest.approx(expected, nan_ok=True)


def test_the_step_after_an_outlier_is_none() -> None:
    values = np.sin(np.arange(80.0))
    values[40] += 50.0
    last = Calibration((0.5, 0.5), 1.0, 1.0)
    scores = last.scores(errors(values, lambda at: np.repeat(values[at][:, None], 2, axis=1), 0, 2))
    assert int(np.nanargmax(scores)) == 40
    assert np.delete(scores, [0, 40]).max() < 10


def test_chunks_of_origins_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=50)
    whole = errors(values, fading(values, 5), 3, 2)
    monkeypatch.setattr(anomalies, "_CHUNK", 7)
    assert np.array_equal(errors(values, fading(values, 5), 3, 2), whole, equal_nan=True)


def test_the_threshold_is_exceeded_by_usual_steps_at_its_rate() -> None:
    rng = np.random.default_rng(1)
    values = np.cumsum(rng.laplace(size=60_000))
    missed = errors(values, lambda origins: values[origins][:, None], 0, 2)
    usual = Calibration.of(missed[100:10_000])
    assert usual is not None
    scores = usual.scores(missed[10_000:])
    for rate in (TAIL, 0.01, 0.001):
        found = np.mean(scores > usual.threshold(rate))
        assert rate / 2 < found < rate * 2
    assert usual.threshold(0.5) == usual.threshold(TAIL)


def test_what_cannot_be_calibrated_is_none() -> None:
    assert Calibration.of(np.zeros((50, 2))) is None
    assert Calibration.of(np.full((50, 2), np.nan)) is None
    assert Calibration.of(np.empty((50, 0))) is None


def test_rows_that_were_not_forecast_have_no_score() -> None:
    assert np.isnan(Calibration((1.0, 1.0), 1.0, 1.0).scores(np.empty((5, 0)))).all()


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"errors": [], "base": 1.0, "excess": 1.0},
        {"errors": [0.0], "base": 1.0, "excess": 1.0},
        {"errors": [1.0], "base": -1.0, "excess": 1.0},
        {"errors": [1.0], "base": "1", "excess": 1.0},
        {"errors": 1.0, "base": 1.0, "excess": 1.0},
        [],
    ],
)
def test_a_damaged_calibration_is_refused(data: object) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Calibration.from_dict(data)


def test_a_calibration_survives_its_file() -> None:
    usual = Calibration((0.1, 1 / 3), 2.0, 0.0)
    assert Calibration.from_dict(usual.to_dict()) == usual
