"""The measures of forecasts: against scikit-learn, and against their definitions written out as loops."""

from __future__ import annotations

import doctest
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, root_mean_squared_error

from gatewise.tasks.forecast import measures
from gatewise.tasks.forecast.measures import errors, intervals, quantile_errors

LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(measures).failed == 0


@st.composite
def forecasts(draw: st.DrawFn) -> tuple[Any, Any, Any, Any]:
    """Quantiles ``[S, K, Q]``, a point forecast and the truth ``[S, K]`` with gaps, a scale for each row."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    S, K = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    truth = np.round(rng.normal(0, draw(st.sampled_from([1e-3, 1.0, 1e4])), size=(S, K)), 2)
    made = np.sort(truth[..., None] + np.round(rng.normal(size=(S, K, len(LEVELS))), 1), axis=-1)
    holey = np.where(rng.random((S, K)) < 0.2, np.nan, truth)
    holey[rng.integers(S), rng.integers(K)] = truth[0, 0]  # at least one value is known
    scale = np.where(rng.random((S, 1)) < 0.3, draw(st.sampled_from([0.0, np.nan])), rng.random((S, 1)) + 0.1)
    return made, made[..., 3], holey, scale


@given(forecasts())
def test_the_errors_of_points_are_those_of_the_definitions(given: tuple[Any, Any, Any, Any]) -> None:
    _, made, truth, scale = given
    found, known = errors(made, truth, scale), np.isfinite(truth)
    assert found["mae"] == pytest.approx(mean_absolute_error(truth[known], made[known]))
    assert found["rmse"] == pytest.approx(root_mean_squared_error(truth[known], made[known]))
    scaled, relative = [], []
    for row, step in product(*map(range, truth.shape)):
        y, f, unit = truth[row, step], made[row, step], scale[row, 0]
        if y == y:
            relative.append(200 * abs(y - f) / (abs(y) + abs(f)) if (y, f) != (0, 0) else 0.0)
            if unit > 0:
                scaled.append(abs(y - f) / unit)
    assert found["smape"] == pytest.approx(sum(relative) / len(relative))
    assert found["mase"] == (pytest.approx(sum(scaled) / len(scaled)) if scaled else None)


@given(forecasts())
def test_the_errors_of_quantiles_are_those_of_the_definitions(given: tuple[Any, Any, Any, Any]) -> None:
    made, _, truth, scale = given
    found, known = quantile_errors(made, LEVELS, truth, scale), np.isfinite(truth)
    pinball = [
        mean_pinball_loss(truth[known], made[known][:, q], alpha=level) for q, level in enumerate(LEVELS)
    ]
    assert found["pinball"] == pytest.approx(np.mean(pinball))
    scores, inside, count = [], {"95%": 0, "80%": 0, "50%": 0}, 0
    for row, step in product(*map(range, truth.shape)):
        y = truth[row, step]
        if y != y:
            continue
        count += 1
        for name, low in (("95%", 0), ("80%", 1), ("50%", 2)):
            inside[name] += int(made[row, step, low] <= y <= made[row, step, 6 - low])
        low, high = made[row, step, 0], made[row, step, 6]
        if scale[row, 0] > 0:
            score = (high - low) + 40 * (low - y) * (y < low) + 40 * (y - high) * (y > high)
            scores.append(score / scale[row, 0])
    assert found["coverage"] == pytest.approx({name: hits / count for name, hits in inside.items()})
    assert found["msis"] == (pytest.approx(sum(scores) / len(scores)) if scores else None)
    for q, level in enumerate(LEVELS):
        assert found["below"][f"{level:g}"] == pytest.approx(np.mean(truth[known] <= made[known][:, q]))


def test_quantiles_of_the_true_distribution_are_covered_as_their_levels_say() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=(100_000, 1))
    found = quantile_errors(np.broadcast_to(LEVELS, (100_000, 1, 7)), LEVELS, truth, 1.0)
    sigma = 0.5 / np.sqrt(truth.size)
    for level in LEVELS:
        assert found["below"][f"{level:g}"] == pytest.approx(level, abs=5 * sigma)
    assert found["coverage"]["95%"] == pytest.approx(0.95, abs=5 * sigma)
    worse = quantile_errors(np.broadcast_to(0.5, (100_000, 1, 7)), LEVELS, truth, 1.0)
    assert worse["pinball"] > found["pinball"]
    assert worse["msis"] > found["msis"]


def test_what_cannot_be_computed_is_none() -> None:
    unknown = errors(np.ones(2), np.full(2, np.nan), 1.0)
    assert unknown == {"mae": None, "rmse": None, "mase": None, "smape": None}
    assert errors(np.ones(2), np.zeros(2), 0.0)["mase"] is None
    assert errors(np.ones(2), np.zeros(2), float("nan"))["mase"] is None
    assert errors(np.zeros(2), np.zeros(2), 1.0)["smape"] == 0.0
    nothing = quantile_errors(np.ones((2, 7)), LEVELS, np.full(2, np.nan), 1.0)
    assert (nothing["pinball"], nothing["msis"]) == (None, None)
    assert set(nothing["below"].values()) | set(nothing["coverage"].values()) == {None}
    assert quantile_errors(np.ones((2, 7)), LEVELS, np.zeros(2), 0.0)["msis"] is None
    assert quantile_errors(np.ones((2, 1)), (0.5,), np.zeros(2), 1.0)["coverage"] == {}


def test_levels_without_a_counterpart_have_no_interval() -> None:
    assert intervals((0.1, 0.5, 0.8)) == {}
    assert intervals(LEVELS) == {"95%": (0, 6), "80%": (1, 5), "50%": (2, 4)}
