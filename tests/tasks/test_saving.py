from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewise.runtime.model_file import ModelFileError, read_model, write_model
from gatewise.tasks.forecaster import Forecaster
from gatewise.tasks.series import TimeSeries


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_loaded_forecaster_forecasts_the_same_bits(tmp_path: Path, series: TimeSeries, cell: str) -> None:
    forecaster = Forecaster(6, cell=cell, hidden_size=5, num_layers=2, max_epochs=1).fit(series)
    forecaster.save(tmp_path / "m.safetensors")
    loaded = Forecaster.load(tmp_path / "m.safetensors")
    assert np.array_equal(loaded.predict(series), forecaster.predict(series))
    one, two = loaded.backtest(series, 340), forecaster.backtest(series, 340)
    assert one.overall() == two.overall()
    assert loaded.get_params() == forecaster.get_params()
    assert loaded.prepared_ == forecaster.prepared_


def test_metrics_travel_with_the_model(tmp_path: Path, fitted: Forecaster) -> None:
    fitted.metrics_ = {"test": {"mae": 0.5}}
    fitted.save(tmp_path / "m")
    assert Forecaster.load(tmp_path / "m").metrics_ == {"test": {"mae": 0.5}}


def test_an_unfitted_forecaster_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="call fit first"):
        Forecaster(6).save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def set_in(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(header: dict[str, Any]) -> None:
        *outer, last = path.split(".")
        for name in outer:
            header = header[name]
        header[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.pop("parameters"),
        lambda header: header.pop("encoding"),
        lambda header: header["encoding"].pop("mean"),
        set_in("parameters", 3),
        set_in("parameters.horizon", 10**9),
        set_in("parameters.horizon", "6"),
        set_in("parameters.hidden_size", 10**12),
        set_in("parameters.num_layers", 10**9),
        set_in("parameters.num_layers", 2),
        set_in("parameters.cell", "gru"),
        set_in("parameters.cell", ["lstm"]),
        set_in("parameters.dropout", "much"),
        set_in("parameters.extra", 1),
        set_in("encoding", [1]),
        set_in("encoding.columns", "load"),
        set_in("encoding.columns", []),
        set_in("encoding.mean", [1.0]),
        set_in("encoding.mean", [1.0, None]),
        set_in("encoding.scale", [1.0, 0.0]),
        set_in("encoding.season", 0),
        set_in("encoding.season", 24.0),
        set_in("encoding.phases", [24] * 9),
        set_in("encoding.phases", 24),
        set_in("history", -1),
        set_in("mase_scale", "x"),
        set_in("clock", {"kind": "fixed", "step": 0, "offset": 0}),
        set_in("clock", None),
    ],
)
def test_a_header_that_describes_no_forecaster_is_refused(
    tmp_path: Path, fitted: Forecaster, change: Callable[[dict[str, Any]], None]
) -> None:
    fitted.save(tmp_path / "m")
    file = read_model(tmp_path / "m", "forecast")
    header = copy.deepcopy(file.header)
    change(header)
    write_model(tmp_path / "bad", "forecast", header, file.tensors)
    with pytest.raises(ModelFileError, match="the file does not describe a forecaster") as caught:
        Forecaster.load(tmp_path / "bad")
    assert len(str(caught.value)) < 400


def test_weights_that_do_not_fit_are_refused(tmp_path: Path, fitted: Forecaster) -> None:
    fitted.save(tmp_path / "m")
    file = read_model(tmp_path / "m", "forecast")
    weight = file.tensors["head.weight"]
    for name, tensor in {"head.weight": weight[:, :-1], "share": file.tensors["share"].astype("f8")}.items():
        write_model(tmp_path / "bad", "forecast", file.header, {**file.tensors, name: tensor})
        with pytest.raises(ModelFileError, match=f"expected {name} as float32 of shape"):
            Forecaster.load(tmp_path / "bad")
    write_model(tmp_path / "bad", "forecast", file.header, {"head.weight": weight})
    with pytest.raises(ModelFileError, match="expected share as float32"):
        Forecaster.load(tmp_path / "bad")
    write_model(tmp_path / "bad", "forecast", file.header, {**file.tensors, "more": weight})
    with pytest.raises(ModelFileError, match="more"):
        Forecaster.load(tmp_path / "bad")
