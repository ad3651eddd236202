"""The naive forecasts and the ridge regression that the benchmarks of forecasting compare with."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.tasks.forecasting_linear import Ridge, held, persistence, seasonal_naive
from benchmarks.tasks.forecasting_sets import SETS


def test_naive_forecasts_repeat_the_last_value_and_the_last_season() -> None:
    values = np.array([1.0, 2, 3, 4, 5, 6, np.nan])
    origins = np.array([5, 6])
    assert held(values)[-1] == 6
    assert persistence(values, origins, 2).tolist() == [[6, 6], [6, 6]]
    assert seasonal_naive(values, origins, 4, 3).tolist() == [[4, 5, 6, 4], [5, 6, 6, 5]]


def test_the_ridge_finds_a_linear_rule_and_leaves_the_test_part_alone() -> None:
    values = np.zeros(300)
    values[:2] = 1, 2
    for t in range(2, 300):
        values[t] = 1.6 * values[t - 1] - values[t - 2]
    fitted = Ridge.fit([values], [250], horizon=3, season=1)
    origins = np.arange(249, 297)
    made = fitted.predict(values, 250, origins)
    assert made == pytest.approx(values[origins[:, None] + [1, 2, 3]], abs=0.01)
    changed = np.concatenate([values[:250], np.full(50, 1e6)])
    assert (Ridge.fit([changed], [250], horizon=3, season=1).weights == fitted.weights).all()


def test_the_set_that_needs_no_wheel_is_read(tmp_path: object) -> None:
    chosen = SETS["newark"](tmp_path)  # type: ignore[arg-type]
    (series,) = chosen.series.values()
    assert chosen.rows(series) == 8730 - 1309
