# mypy: allow-untyped-defs, allow-incomplete-defs
from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file
from sklearn.exceptions import NotFittedError

import gatewise
from gatewise import Cell, cell, cells, sigmoid, tanh
from gatewise.runtime import Stream
from gatewise.runtime.model_file import ModelFileError, read_model, write_model
from gatewise.tasks.forecast.encoding import Encoding
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.forecast.network import ForecastNetwork
from gatewise.tasks.forecast.windows import Windows
from gatewise.tasks.series import TimeSeries
from gatewise.tasks.shared.cells import CELLS

pytestmark = pytest.mark.usefixtures("corrected")


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_loaded_forecaster_gives_the_same_bits(tmp_path: Path, series: TimeSeries, cell: str) -> None:
    forecaster = Forecaster(6, cell=cell, hidden_size=5, num_layers=2, max_epochs=1).fit(series)
    forecaster.save(tmp_path / "m.safetensors")
    loaded = Forecaster.load(tmp_path / "m.safetensors")
    assert np.array_equal(loaded.predict(series), forecaster.predict(series))
    one, two = loaded.backtest(series, 340), forecaster.backtest(series, 340)
    assert one.overall() == two.overall()
    assert loaded.get_params() == forecaster.get_params()
    assert loaded.prepared_ == forecaster.prepared_


def test_metrics_are_saved_with_the_model(tmp_path: Path, fitted: Forecaster) -> None:
    fitted.metrics_ = {"test": {"mae": 0.5}}
    fitted.save(tmp_path / "m")
    assert Forecaster.load(tmp_path / "m").metrics_ == {"test": {"mae": 0.5}}


def test_an_unfitted_forecaster_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="is not fitted yet"):
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
        lambda header: header.pop("preparation"),
        lambda header: header["preparation"]["encoding"].pop("mean"),
        set_in("parameters", 3),
        set_in("parameters.horizon", 10**9),
        set_in("parameters.horizon", "6"),
        set_in("parameters.hidden_size", 10**12),
        set_in("parameters.num_layers", 10**9),
        set_in("parameters.num_layers", 2),
        set_in("parameters.cell", ["lstm"]),
        set_in("parameters.dropout", "much"),
        set_in("parameters.extra", 1),
        set_in("preparation.encoding", [1]),
        set_in("preparation.encoding.columns", "load"),
        set_in("preparation.encoding.columns", []),
        set_in("preparation.encoding.mean", [1.0]),
        set_in("preparation.encoding.mean", [1.0, None]),
        set_in("preparation.encoding.scale", [1.0, 0.0]),
        set_in("preparation.encoding.season", 0),
        set_in("preparation.encoding.season", 24.0),
        set_in("preparation.encoding.phases", [24] * 9),
        set_in("preparation.encoding.phases", 24),
        set_in("preparation.history", -1),
        set_in("preparation.mase_scale", "x"),
        set_in("preparation.clock", {"kind": "fixed", "step": 0, "offset": 0}),
        set_in("preparation.clock", None),
    ],
)
def test_a_header_that_does_not_describe_a_forecaster_is_refused(
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


def own_cell() -> Cell:
    """A cell whose function cannot be found again by name."""

    @cell
    def lstm(h, *, f, g):  # with a name that another cell has
        f = sigmoid(f)
        h = f * h + (1 - f) * tanh(g)
        return h

    return lstm


@pytest.fixture(scope="module")
def own(series: TimeSeries) -> Forecaster:
    return Forecaster(6, cell=own_cell(), hidden_size=5, max_epochs=1).fit(series.head(340))


def test_a_forecaster_of_a_users_cell_is_saved_and_loaded(
    tmp_path: Path, own: Forecaster, series: TimeSeries
) -> None:
    own.save(tmp_path / "m")
    loaded = Forecaster.load(tmp_path / "m")
    assert np.array_equal(loaded.predict(series), own.predict(series))
    assert loaded.equations.signature() == own.equations.signature() != cells.lstm.signature()
    assert loaded.get_params().keys() == own.get_params().keys()
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "m").read_bytes()


def test_it_loads_where_the_function_of_the_cell_does_not_exist(
    tmp_path: Path, own: Forecaster, series: TimeSeries, frame: pd.DataFrame
) -> None:
    own.save(tmp_path / "m")
    frame.to_csv(tmp_path / "series.csv", index_label="time")
    code = (
        "from gatewise.tasks import Forecaster, read_series; "
        "made = Forecaster.load('m').predict(read_series('series.csv', 'load (kW)', 'time')); "
        "print(made.to_list())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert json.loads(done.stdout) == own.predict(series).to_list()


def test_the_layers_of_its_file_are_a_stream_and_a_module(
    tmp_path: Path, own: Forecaster, series: TimeSeries
) -> None:
    own.save(tmp_path / "m")
    inputs = own.prepared_.encoding.inputs(series)[:50]
    output = own.network_.recurrent(torch.from_numpy(inputs))[0].detach()
    assert np.array_equal(Stream.load(tmp_path / "m").run(inputs), output.numpy())
    assert torch.equal(gatewise.load(tmp_path / "m")(torch.from_numpy(inputs))[0], output)


def test_the_name_of_a_cell_in_a_file_is_only_a_label(
    tmp_path: Path, fitted: Forecaster, series: TimeSeries
) -> None:
    fitted.save(tmp_path / "m")
    file = read_model(tmp_path / "m", "forecast")
    file.header["parameters"]["cell"] = file.header["layers"]["cell"]["name"] = "gru"
    write_model(tmp_path / "m", "forecast", file.header, file.tensors)
    loaded = Forecaster.load(tmp_path / "m")
    assert (loaded.cell_name, loaded.equations.signature()) == ("gru", cells.lstm.signature())
    assert np.array_equal(loaded.predict(series), fitted.predict(series))


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_file_of_the_first_format_still_loads(tmp_path: Path, series: TimeSeries, cell: str) -> None:
    """Such a file has the name of a cell, but no equations."""
    encoding = Encoding.fit(series.head(289), 24, (24,))
    network = ForecastNetwork(CELLS[cell], encoding.input_size, 5, 1, 6, 0.0)
    for tensor in (network.head.weight, network.head.bias, network.share):
        torch.nn.init.normal_(tensor)
    header = {
        "format": 1,
        "version": "0.1.0",
        "task": "forecast",
        "parameters": {
            "horizon": 6, "cell": cell, "hidden_size": 5, "num_layers": 1, "history": None,
            "season": None, "dropout": 0.2, "learning_rate": 0.003, "batch_size": 32, "max_epochs": 1,
            "patience": 8, "seed": 0,
        },
        "encoding": {
            "columns": list(encoding.columns), "mean": list(encoding.mean), "scale": list(encoding.scale),
            "masked": list(encoding.masked), "season": 24, "change_scale": encoding.change_scale,
            "phases": [24],
        },
        "history": 96,
        "mase_scale": 1.5,
        "clock": {"kind": "fixed", "step": 3_600_000_000, "offset": 0},
        "metrics": {"test": 1},
    }  # fmt: skip
    names = [f"recurrent.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    state = network.state_dict()
    tensors = {name: state[name].numpy() for name in [*names, "head.weight", "head.bias", "share"]}
    save_file(tensors, tmp_path / "m", metadata={"gatewise": json.dumps(header)})
    loaded = Forecaster.load(tmp_path / "m")
    expected = Forecaster(6, cell=cell, hidden_size=5, max_epochs=1, output="point")
    assert loaded.get_params() == expected.get_params()
    assert loaded.metrics_ == {"test": 1}
    batch = Windows.of(series, encoding, 6, 96).batch(np.array([399]))
    made = encoding.unscaled(network(batch).detach()[0, 0].double().numpy())
    np.testing.assert_allclose(loaded.predict(series), made, rtol=1e-5)
    header["parameters"]["cell"] = "elman"  # type: ignore[index]
    save_file(tensors, tmp_path / "m", metadata={"gatewise": json.dumps(header)})
    with pytest.raises(ModelFileError, match=r"must be one of .*lstm.*, or a Cell\. Got 'elman'"):
        Forecaster.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header.pop("layers"), "layers must be an object. Got None"),
        (set_in("layers.cell.nodes", []), "nodes must have 1 to 4096 items. Got 0"),
        (set_in("layers.prefix", "head."), "weights: .* is unexpected|weights: .* is missing"),
        (set_in("layers.hidden_size", 9), "weights: .* must have shape"),
        (set_in("layers.batch_first", True), "its layers are not those that its parameters ask for"),
    ],
)
def test_layers_that_do_not_fit_are_refused(
    tmp_path: Path, fitted: Forecaster, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    fitted.save(tmp_path / "m")
    file = read_model(tmp_path / "m", "forecast")
    change(file.header)
    write_model(tmp_path / "bad", "forecast", file.header, file.tensors)
    with pytest.raises(ModelFileError, match=message) as caught:
        Forecaster.load(tmp_path / "bad")
    assert str(caught.value).startswith(str(tmp_path / "bad"))


def test_weights_that_do_not_fit_are_refused(tmp_path: Path, fitted: Forecaster) -> None:
    fitted.save(tmp_path / "m")
    file = read_model(tmp_path / "m", "forecast")
    weight = file.tensors["head.weight"]
    for name, tensor in {"head.weight": weight[:, :-1], "share": file.tensors["share"].astype("f8")}.items():
        write_model(tmp_path / "bad", "forecast", file.header, {**file.tensors, name: tensor})
        with pytest.raises(ModelFileError, match=f"{name} must be float32 of shape"):
            Forecaster.load(tmp_path / "bad")
    without_share = {name: tensor for name, tensor in file.tensors.items() if name != "share"}
    write_model(tmp_path / "bad", "forecast", file.header, without_share)
    with pytest.raises(ModelFileError, match="the tensor share is missing"):
        Forecaster.load(tmp_path / "bad")
    write_model(tmp_path / "bad", "forecast", file.header, {**file.tensors, "more": weight})
    with pytest.raises(ModelFileError, match="more"):
        Forecaster.load(tmp_path / "bad")
