from __future__ import annotations

from math import gcd

import numpy as np
import pytest

from gatewise.tasks.forecast.split import hold_out, rows_to_fit, rows_to_test, spread, training_rows
from gatewise.tasks.series import TimeSeries
from gatewise.tasks.series.errors import SeriesError


@pytest.mark.parametrize("horizon", [1, 2, 7, 24, 100])
def test_the_smallest_number_of_rows_is_enough_and_one_less_is_not(horizon: int) -> None:
    rows = rows_to_test(horizon)
    left = rows - hold_out(rows, horizon)
    assert left >= rows_to_fit(horizon) > (rows - 1) - hold_out(rows - 1, horizon)
    assert hold_out(rows, horizon) >= horizon


def test_a_very_long_horizon_is_handled_in_no_time() -> None:
    assert rows_to_test(10**9) == 3 * 10**9 + 8


def test_fifteen_percent_are_held_out() -> None:
    assert hold_out(8730, 24) == 1310


@pytest.mark.parametrize("season", [1, 7, 12, 24, 48, 336])
def test_spread_origins_cover_every_phase_of_the_season(season: int) -> None:
    origins = spread(100, 100 + 5000, 1024, season)
    assert len(origins) <= 1024
    stride = origins[1] - origins[0]
    assert gcd(int(stride), season) == 1
    assert set(origins % season) == set(range(season))
    assert origins[0] == 100
    assert origins[-1] < 5100


def test_a_few_origins_are_all_taken() -> None:
    assert spread(3, 9, 100, 24).tolist() == [3, 4, 5, 6, 7, 8]
    assert len(spread(9, 9, 100, 24)) == 0


def test_a_series_too_short_to_fit_is_refused(series: TimeSeries) -> None:
    with pytest.raises(SeriesError, match="30 rows are too few for a horizon of 24: at least 56 are needed"):
        training_rows(series.head(30), 24)


def test_a_training_part_that_never_changes_is_refused(series: TimeSeries) -> None:
    flat = series.frame.copy()
    flat.iloc[:380, 0] = 2.0
    with pytest.raises(SeriesError, match=r"column 'load \(kW\)', row 340: every value before .* is 2"):
        training_rows(TimeSeries.from_frame(flat, series.target), 6)


@pytest.mark.parametrize(("first", "stop", "part"), [(0, 340, "training"), (340, 400, "validation")])
def test_a_part_without_values_is_refused(series: TimeSeries, first: int, stop: int, part: str) -> None:
    holes = series.frame.copy()
    holes.iloc[first:stop, 0] = np.nan
    with pytest.raises(SeriesError, match=f"row {first + 1}: all values are missing .* in the {part} part"):
        training_rows(TimeSeries.from_frame(holes, series.target), 6)
