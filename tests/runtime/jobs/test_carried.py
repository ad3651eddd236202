"""Forecasts from carried states: the bits of a full pass, however the rows are cut into pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewise.runtime import ModelFileError, load
from gatewise.runtime.jobs.carried import Carried
from gatewise.runtime.jobs.forecaster import Forecaster as Model
from gatewise.runtime.jobs.state_file import load_states, save_states
from gatewise.runtime.model_file import read_model, write_model
from gatewise.tasks import Forecaster, TimeSeries
from tests.tasks.conftest import make_frame

LOAD = "load (kW)"

pytestmark = pytest.mark.usefixtures("quickly", "corrected")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    series = TimeSeries.from_frame(make_frame(), LOAD)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    Forecaster(6, hidden_size=8, history=20, max_epochs=1).fit(series.head(340)).save(path)
    return path


@pytest.fixture(scope="module")
def model(path: Path) -> Model:
    found: Model = load(path)
    return found


def holey(seed: int) -> pd.DataFrame:
    """A frame with gaps, some longer than what a forecast reads."""
    rng = np.random.default_rng(seed)
    frame = make_frame()
    for _ in range(4):
        first, long = rng.integers(0, 380), rng.integers(1, 90)
        frame.iloc[first : first + long, rng.integers(2)] = np.nan
    return frame


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_a_forecast_from_a_carried_state_has_the_bits_of_a_full_pass(
    model: Model, tmp_path: Path, seed: int, pieces: list[int]
) -> None:
    frame, state, stop = holey(seed), None, model.need
    for first, rows in zip([0, *np.cumsum([stop, *pieces])], [stop, *pieces], strict=False):
        part = frame.iloc[first : first + rows]
        state = model.carry({str(name): part[name] for name in part}, part.index.to_numpy(), state)
        save_states(tmp_path / "state", model, {"": state})
        state = load_states(tmp_path / "state", model)[""]
        all_ = frame.iloc[: first + rows]
        columns, times = {str(name): all_[name].to_numpy() for name in all_}, all_.index.to_numpy()
        assert model.predict_next(state).tobytes() == model.predict(columns, times).tobytes()
        positions = model.clock.positions(times)
        whole = model.quantiles(columns, np.rint(positions), np.array([len(all_) - 1]))
        assert model.made_next(state).quantiles().tobytes() == whole.tobytes()


def carried(model: Model, first: int, stop: int, state: Carried | None = None) -> Carried:
    part = make_frame().iloc[first:stop]
    return model.carry({str(name): part[name] for name in part}, part.index.to_numpy(), state)


def test_rows_that_repeat_or_leave_a_gap_are_refused(model: Model) -> None:
    state = carried(model, 0, 100)
    for first, problem in (
        (99, "the state already has 1 step from the first row on; give only new rows"),
        (50, "the state already has 50 steps from the first row on"),
        (101, "there is a gap of 1 step between the state and the first row"),
        (110, "there is a gap of 10 steps"),
    ):
        with pytest.raises(ValueError, match=problem):
            carried(model, first, 120, state)
    assert carried(model, 100, 120, state).last == state.last + 20
    with pytest.raises(ValueError, match=r"a state needs at least 44 rows\. Got 43"):
        carried(model, 0, 43)


def test_a_state_is_as_short_as_a_forecast_allows(model: Model) -> None:
    assert carried(model, 0, 100).rows == model.need + 1 == 45
    frame = make_frame()
    frame.iloc[20:100, 0] = np.nan  # the time since the last value is an input
    part = frame.iloc[:100]
    state = model.carry({str(name): part[name] for name in part}, part.index.to_numpy())
    assert state.rows == 100 - 19


def test_files_that_are_no_states_for_the_model_are_refused(model: Model, path: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="task must be 'forecast-state'"):
        load_states(path, model)
    with pytest.raises(FileNotFoundError):
        load_states(tmp_path / "none", model)
    save_states(tmp_path / "state", model, {"": carried(model, 0, 100)})
    good = read_model(tmp_path / "state", "forecast-state")
    rows = good.tensors["rows.0"]
    for header, tensors in (
        ({"columns": ["other", "wind"]}, {"rows.0": rows}),
        ({"ids": "a"}, {"rows.0": rows}),
        ({"ids": ["", ""]}, {"rows.0": rows, "rows.1": rows}),
        ({"clock": {"kind": "rows"}}, {"rows.0": rows}),
        ({"need": 3}, {"rows.0": rows}),
        ({}, {"rows.0": rows[:, :1]}),
        ({}, {"rows.0": rows.astype(np.float32)}),
        ({}, {"rows.0": rows[:0]}),
        ({}, {"rows.0": rows * np.inf}),
        ({}, {"rows.0": rows[::-1]}),
        ({}, {"others": rows}),
    ):
        write_model(tmp_path / "bad", "forecast-state", {**good.header, **header}, tensors)
        with pytest.raises(ModelFileError, match="not a state for this model"):
            load_states(tmp_path / "bad", model)
