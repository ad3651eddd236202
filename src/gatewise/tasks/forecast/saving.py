"""Writes a fitted `Forecaster` to a model file, and reads it."""

from __future__ import annotations

from dataclasses import asdict
from math import nan
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from gatewise.language import Cell
from gatewise.language.form import same
from gatewise.nn.modules.files import options_of
from gatewise.runtime.jobs.encoding import numbers, whole
from gatewise.runtime.jobs.forecaster import Forecaster as Model
from gatewise.runtime.jobs.forecaster import small
from gatewise.runtime.jobs.loading import of_file
from gatewise.runtime.layers_file import StoredLayers, described, stored_layers
from gatewise.runtime.model_file import ModelFileError, Tensors, in_memory, read_model, write_model
from gatewise.tasks.forecast.encoding import Encoding
from gatewise.tasks.forecast.network import CELLS, ForecastNetwork
from gatewise.tasks.forecast.preparation import Preparation
from gatewise.tasks.series.clock import clock_from_dict, clock_to_dict

TASK = "forecast"
RECURRENT = "recurrent."  # prefix of the tensors of the recurrent layers


class Fitted(Protocol):
    """What a file needs of a `Forecaster`."""

    num_layers: int
    prepared_: Preparation
    metrics_: dict[str, Any]
    network_: ForecastNetwork
    model_: Model

    @property
    def equations(self) -> Cell:
        """The cell."""

    def get_params(self) -> dict[str, Any]:
        """The arguments."""

    def check_parameters(self) -> None:
        """Refuse wrong arguments."""

    def build(self) -> ForecastNetwork:
        """A network of these arguments."""


_Forecaster = TypeVar("_Forecaster", bound=Fitted)


def save_forecaster(forecaster: Fitted, path: Path) -> None:
    """Write a forecaster: parameters, preparation and metrics in the header, weights as tensors."""
    write_model(path, TASK, _header(forecaster), _weights(forecaster))


def model_of(forecaster: Fitted) -> Model:
    """The model that makes the forecasts, without torch."""
    found: Model = of_file(in_memory(TASK, _header(forecaster), _weights(forecaster)))
    return found


def _header(forecaster: Fitted) -> dict[str, Any]:
    prepared = forecaster.prepared_
    recurrent = forecaster.network_.recurrent
    return {
        "parameters": forecaster.get_params() | {"cell": forecaster.equations.name},
        "encoding": asdict(prepared.encoding),
        "history": prepared.history,
        "mase_scale": prepared.scale if prepared.scale == prepared.scale else None,
        "clock": clock_to_dict(prepared.clock),
        "metrics": forecaster.metrics_,
        **described(recurrent.cell, options_of(recurrent), RECURRENT),
    }


def _weights(forecaster: Fitted) -> Tensors:
    return {name: tensor.numpy() for name, tensor in forecaster.network_.state_dict().items()}


def load_forecaster(kind: type[_Forecaster], path: Path) -> _Forecaster:
    """Read a forecaster. Raises a ModelFileError if the file does not hold one."""
    file = read_model(path, TASK)
    stored = stored_layers(file) if file.format > 1 else None  # format 1 has only the name of the cell
    try:
        forecaster = kind(**_parameters(file.header["parameters"], stored))
        forecaster.check_parameters()
        forecaster.prepared_ = _preparation(file.header)
        forecaster.metrics_ = file.header["metrics"]
        forecaster.network_ = _network(forecaster, file.tensors)
        if stored and stored.options != options_of(forecaster.network_.recurrent):
            raise ValueError("its layers are not those that its parameters ask for")
        forecaster.model_ = model_of(forecaster)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path}: the file does not describe a forecaster ({error})") from error
    return forecaster


def _parameters(parameters: dict[str, Any], stored: StoredLayers | None) -> dict[str, Any]:
    """The arguments of a forecaster. Its cell is a name if the file has the equations of that name."""
    known = CELLS.get(parameters["cell"])
    if stored is None or (known and same(known, stored.cell)):
        return parameters
    return {**parameters, "cell": stored.cell}


def _network(forecaster: Fitted, tensors: Tensors) -> ForecastNetwork:
    """Build the network from the tensors. No memory is allocated before their shapes are checked."""
    if forecaster.num_layers > len(tensors):
        raise ValueError(f"{forecaster.num_layers} layers but {len(tensors)} tensors")
    with torch.device("meta"):
        network = forecaster.build()
    for name, wanted in network.state_dict().items():
        found = tensors.get(name)
        if found is None or found.shape != tuple(wanted.shape) or found.dtype != "float32":
            raise ValueError(f"{name} must be float32 of shape {tuple(wanted.shape)}")
    weights = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    network.load_state_dict(weights, assign=True)
    return network.eval()


def _preparation(header: dict[str, Any]) -> Preparation:
    encoding = Encoding.from_dict(header["encoding"])
    unit = nan if header["mase_scale"] is None else numbers([header["mase_scale"]], "mase_scale")[0]
    history, clock = whole(header["history"], "history"), clock_from_dict(small(header["clock"]))
    return Preparation(encoding, history, unit, clock)
