from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gatewise.tasks.forecast.encoding import Encoding
from gatewise.tasks.series import TimeSeries

TRAIN = 300


@pytest.fixture
def encoding(series: TimeSeries) -> Encoding:
    return Encoding.fit(series.head(TRAIN), season=24, phases=(24,))


def test_a_column_that_never_changes_is_not_an_input(encoding: Encoding) -> None:
    assert encoding.columns == ("load (kW)", "wind")
    assert encoding.masked == ("wind",)


def test_scalers_use_the_training_part_only(encoding: Encoding, frame: pd.DataFrame) -> None:
    train = frame.iloc[:TRAIN]
    assert encoding.mean == pytest.approx([train["load (kW)"].mean(), train["wind"].mean()])
    assert encoding.scale == pytest.approx([train["load (kW)"].std(ddof=0), train["wind"].std(ddof=0)])


def test_later_values_do_not_change_what_is_learned(encoding: Encoding, frame: pd.DataFrame) -> None:
    later = frame.copy()
    later.iloc[TRAIN:] = later.iloc[TRAIN:] * 100 - 7
    other = TimeSeries.from_frame(later, "load (kW)")
    assert Encoding.fit(other.head(TRAIN), season=24, phases=(24,)) == encoding


def test_inputs_of_a_step_depend_on_no_later_step(
    encoding: Encoding, frame: pd.DataFrame, series: TimeSeries
) -> None:
    later = frame.copy()
    later.iloc[200:] = np.nan
    later.iloc[-1] = 1.0
    changed = encoding.inputs(TimeSeries.from_frame(later, "load (kW)"))
    assert np.array_equal(changed[:200], encoding.inputs(series)[:200])
    assert not np.array_equal(changed[200:], encoding.inputs(series)[200:])


def test_the_order_of_inputs_is_columns_masks_change_phase(
    encoding: Encoding, series: TimeSeries, frame: pd.DataFrame
) -> None:
    inputs = encoding.inputs(series)
    assert inputs.shape == (400, encoding.input_size) == (400, 2 + 1 + 1 + 4)
    assert np.isfinite(inputs).all()
    load = (frame["load (kW)"].to_numpy() - encoding.mean[0]) / encoding.scale[0]
    assert inputs[:, 0] == pytest.approx(load, abs=1e-6)
    assert inputs[:, 2].tolist() == frame["wind"].notna().astype(float).tolist()
    assert inputs[51, 1] == inputs[49, 1]  # the last value, two missing steps later
    change = (load[100] - load[76]) / encoding.change_scale
    assert inputs[100, 3] == pytest.approx(change, abs=1e-5)
    assert inputs[100, 4:] == pytest.approx(inputs[124, 4:], abs=1e-6)


def test_values_before_the_first_known_one_are_the_mean(encoding: Encoding, frame: pd.DataFrame) -> None:
    late = frame.copy()
    late.iloc[:10, :2] = np.nan
    series = TimeSeries.from_frame(late, "load (kW)")
    assert (encoding.inputs(series)[:10, :2] == 0).all()
    assert (encoding.held_target(series)[:10] == 0).all()


def test_columns_that_are_missing_together_share_one_mask(frame: pd.DataFrame) -> None:
    both = frame.assign(gust=frame["wind"] * 2, rain=frame["wind"].shift(1))
    encoding = Encoding.fit(TimeSeries.from_frame(both, "load (kW)"), season=1, phases=())
    assert encoding.masked == ("wind", "rain")


def test_a_column_is_constant_relative_to_its_level(frame: pd.DataFrame) -> None:
    noisy = frame.assign(price=14.62 + 1e-15 * np.arange(len(frame)) % 3, people=3e8 + np.arange(len(frame)))
    encoding = Encoding.fit(TimeSeries.from_frame(noisy, "load (kW)"), season=1, phases=())
    assert encoding.columns == ("load (kW)", "wind", "people")


def test_values_that_cannot_be_scaled_are_refused(encoding: Encoding, frame: pd.DataFrame) -> None:
    far = frame.assign(wind=frame["wind"].where(frame["wind"] < 1, 1e20))
    with pytest.raises(ValueError, match=r"series: 'wind' has values 1e\+12 times as far from their mean"):
        encoding.inputs(TimeSeries.from_frame(far, "load (kW)"))


def test_scaling_and_back_is_the_identity(encoding: Encoding) -> None:
    values = np.array([-3.0, 0.0, 1e6])
    assert encoding.unscaled(encoding.scaled(values)) == pytest.approx(values)
