"""Manipulated forecaster files: refused with the documented error, or they forecast."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from gatewise.runtime.model_file import ModelFile, ModelFileError, read_model
from gatewise.tasks.forecast import forecaster
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.series import TimeSeries
from tests.hostile import manipulated, seeds

quickly = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, fitted: Forecaster) -> ModelFile:
    path = tmp_path_factory.mktemp("whole") / "m"
    fitted.save(path)
    return read_model(path, Forecaster.TASK)


@seeds(400)
def test_a_manipulated_file_is_refused_or_forecasts(
    whole: ModelFile, series: TimeSeries, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    file = manipulated(whole, seed)
    monkeypatch.setattr(forecaster, "read_model", lambda *_: file)
    with suppress(ModelFileError):
        loaded = Forecaster.load("m")
        with suppress(ValueError):  # the series is not the one of the training
            assert isinstance(loaded.predict(series).to_numpy(), np.ndarray)


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("change_scale", 0, "change_scale must be above 0. Got [0]"),
        ("change_scale", 1e-320, "change_scale must be above 0"),
        ("mean", [10**400], "mean must be finite numbers. Got 1000"),
        ("masked", ["nowhere"], "masked must be among the columns. Got ('nowhere',)"),
        ("columns", ["y", "y"], "columns must differ"),
        ("columns", ["\ud800"], "surrogates not allowed"),
        ("season", 2**31, "season must be a whole number of at least 1"),
        ("phases", {"24": 1}, "phases must be a list"),
    ],
)
def test_relations_between_entries_are_checked(
    whole: ModelFile, monkeypatch: pytest.MonkeyPatch, entry: str, value: Any, message: str
) -> None:
    prepared = whole.header["preparation"]
    header = whole.header | {"preparation": prepared | {"encoding": prepared["encoding"] | {entry: value}}}
    file = ModelFile(whole.path, whole.format, whole.task, header, whole.tensors)
    monkeypatch.setattr(forecaster, "read_model", lambda *_: file)
    with pytest.raises(ModelFileError) as caught:
        Forecaster.load("m")
    assert message in str(caught.value)
