"""Forecasts without torch and pandas: those of `gatewise.tasks.Forecaster`, to the bit."""

from __future__ import annotations

import doctest
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gatewise.runtime.jobs.forecaster
from gatewise.runtime import ModelFileError, load
from gatewise.runtime.jobs.forecaster import Forecaster as Model
from gatewise.runtime.jobs.loading import of_file
from gatewise.runtime.model_file import ModelFile, read_model, write_model
from gatewise.tasks import Forecaster, TimeSeries
from tests.hostile import mutated
from tests.tasks.conftest import make_frame

LOAD = "load (kW)"


pytestmark = pytest.mark.usefixtures("quickly", "corrected")


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_frame()


@pytest.fixture(scope="module")
def forecaster(frame: pd.DataFrame) -> Forecaster:
    series = TimeSeries.from_frame(frame, LOAD)
    return Forecaster(6, hidden_size=8, num_layers=2, cell="gru", max_epochs=2).fit(series.head(340))


@pytest.fixture(scope="module")
def path(forecaster: Forecaster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    forecaster.save(path)
    return path


def columns_of(frame: pd.DataFrame) -> dict[str, Any]:
    return {str(name): frame[name].to_numpy().copy() for name in frame}


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(gatewise.runtime.jobs.forecaster).failed == 0


@pytest.mark.parametrize("rows", [400, 399, 200, 120])
def test_a_file_gives_the_forecast_of_the_fitted_forecaster(
    forecaster: Forecaster, frame: pd.DataFrame, path: Path, rows: int
) -> None:
    model, some = load(path), frame.iloc[:rows]
    expected = forecaster.predict(TimeSeries.from_frame(frame, LOAD).head(rows))
    made = model.predict(columns_of(some), some.index.to_numpy())
    assert made.tobytes() == expected.to_numpy().tobytes()
    again = Forecaster.load(path).predict(TimeSeries.from_frame(frame, LOAD).head(rows))
    assert made.tobytes() == again.to_numpy().tobytes()


def test_the_forecast_is_that_of_the_network_in_torch(forecaster: Forecaster, frame: pd.DataFrame) -> None:
    series = TimeSeries.from_frame(frame, LOAD)
    windows = forecaster.prepared_.windows(series, 6)
    batch = windows.batch(np.array([399, 250]))
    with torch.no_grad():
        scaled = forecaster.network_(batch)[0]
    expected = forecaster.prepared_.encoding.unscaled(scaled.double().numpy())
    np.testing.assert_allclose(forecaster.predict(series), expected[0], rtol=1e-5)


def test_forecasts_do_not_depend_on_how_many_are_made_together(path: Path, frame: pd.DataFrame) -> None:
    model, columns = load(path), columns_of(frame)
    positions = model.clock.positions(frame.index.to_numpy())
    columns["wind"][210:300] = np.nan  # a gap longer than what a forecast reads
    origins = np.arange(119, 400)
    whole = model.forecast(columns, positions, origins)
    for s in (0, 100, 170, 256, 280):
        alone = model.forecast(columns, positions, origins[s : s + 1])
        assert alone[0].tobytes() == whole[s].tobytes()


def test_neither_torch_nor_pandas_is_needed(forecaster: Forecaster, frame: pd.DataFrame, path: Path) -> None:
    np.savez(path.with_name("data.npz"), times=frame.index.to_numpy(), **columns_of(frame))
    code = f"""
import sys
for name in ("torch", "pandas", "lightning", "sklearn", "pyarrow", "matplotlib"):
    sys.modules[name] = None
import numpy as np
from gatewise.runtime import load
data = np.load({str(path.with_name("data.npz"))!r})
print(load({str(path)!r}).predict(data, data["times"]).tobytes().hex())
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    expected = forecaster.predict(TimeSeries.from_frame(frame, LOAD))
    # This process compiles without optimisation, the other one with it: the bits are the same.
    assert run.stdout.strip() == expected.to_numpy().tobytes().hex()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda columns, times: ({LOAD: columns[LOAD]}, times), "columns must hold 'wind'"),
        (lambda columns, times: ({**columns, "wind": columns["wind"][1:]}, times),
         r"'wind' must have shape \(400,\)"),
        (lambda columns, times: (columns, times[1:]), r"times must have shape \(400,\)"),
        (lambda columns, times: (columns, np.arange(400)), "times must be datetime64. Got int64"),
        (lambda columns, times: (columns, times[::-1]), "times must be regular, one row for each 1 h"),
        (lambda columns, times: ({n: c[:40] for n, c in columns.items()}, times[:40]), "at least 120 rows"),
        (lambda columns, times: ({**columns, "wind": columns["wind"] * 1e20}, times), "'wind' has values 1e"),
    ],
)  # fmt: skip
def test_what_cannot_be_forecast_is_refused(
    path: Path, frame: pd.DataFrame, change: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load(path).predict(*change(columns_of(frame), frame.index.to_numpy()))


def test_a_file_without_equations_is_refused(path: Path, tmp_path: Path) -> None:
    file = read_model(path, "forecast")
    with pytest.raises(ModelFileError, match="format 1 has no equations"):
        of_file(ModelFile(file.path, 1, "forecast", file.header, file.tensors))


def test_wrong_weights_are_refused(path: Path, tmp_path: Path) -> None:
    file = read_model(path, "forecast")
    for wrong in (np.zeros(5, "f4"), np.zeros(6, "f8")):
        write_model(tmp_path / "m", "forecast", file.header, {**file.tensors, "share": wrong})
        with pytest.raises(ModelFileError, match=r"does not describe a forecaster \(share must be float32"):
            load(tmp_path / "m")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_hostile_headers_raise_one_error(path: Path, data: Any) -> None:
    file = read_model(path, "forecast")
    header = {name: value for name, value in file.header.items() if name != "layers"}
    changed = data.draw(mutated(header))
    with suppress(ModelFileError):
        changed = changed if isinstance(changed, dict) else {}
        model = of_file(
            ModelFile(file.path, 2, "forecast", {**changed, "layers": file.header["layers"]}, file.tensors)
        )
        assert isinstance(model, Model)
