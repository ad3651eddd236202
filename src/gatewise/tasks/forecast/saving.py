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
from gatewise.runtime.layers_file import StoredLayers, described, stored_layers
from gatewise.runtime.model_file import ModelFileError, Tensors, read_model, write_model
from gatewise.tasks.forecast.encoding import Encoding
from gatewise.tasks.forecast.network import CELLS, ForecastNetwork
from gatewise.tasks.forecast.preparation import Preparation
from gatewise.tasks.series.clock import clock_from_dict, clock_to_dict

TASK = "forecast"
RECURRENT = "recurrent."  # prefix of the tensors of the recurrent layers
_SMALLEST, _LARGEST = 1e-300, 1e300  # limits of numbers that are safe to divide by


class Fitted(Protocol):
    """What a file needs of a `Forecaster`."""

    num_layers: int
    prepared_: Preparation
    metrics_: dict[str, Any]
    network_: ForecastNetwork

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
    prepared = forecaster.prepared_
    recurrent = forecaster.network_.recurrent
    header = {
        "parameters": forecaster.get_params() | {"cell": forecaster.equations.name},
        "encoding": asdict(prepared.encoding),
        "history": prepared.history,
        "mase_scale": prepared.scale if prepared.scale == prepared.scale else None,
        "clock": clock_to_dict(prepared.clock),
        "metrics": forecaster.metrics_,
        **described(recurrent.cell, options_of(recurrent), RECURRENT),
    }
    weights = {name: tensor.numpy() for name, tensor in forecaster.network_.state_dict().items()}
    write_model(path, TASK, header, weights)


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
    data = header["encoding"]
    columns, masked = _strings(data["columns"], "columns"), _strings(data["masked"], "masked")
    mean, scale = _numbers(data["mean"], "mean"), _scales(data["scale"], "scale")
    change = _scales([data["change_scale"]], "change_scale")
    if not 0 < len(columns) == len(mean) == len(scale):
        raise ValueError("columns must each have a mean and a scale")
    if not set(masked) <= set(columns):
        raise ValueError(f"masked must be among the columns. Got {masked!r:.60}")
    phases = tuple(_whole(phase, "phases") for phase in _list(data["phases"], "phases"))
    encoding = Encoding(columns, mean, scale, masked, _whole(data["season"], "season"), change[0], phases)
    unit = nan if header["mase_scale"] is None else _numbers([header["mase_scale"]], "mase_scale")[0]
    history, clock = _whole(header["history"], "history"), clock_from_dict(_small(header["clock"]))
    return Preparation(encoding, history, unit, clock)


def _list(values: Any, name: str) -> list[Any]:
    if not isinstance(values, list):
        raise ValueError(f"{name} must be a list. Got {values!r:.60}")
    return values


def _strings(values: Any, name: str) -> tuple[str, ...]:
    for value in _list(values, name):
        if not isinstance(value, str):
            raise ValueError(f"{name} must be texts. Got {value!r:.60}")
        value.encode("utf-8")  # raises a ValueError for a name that cannot be encoded
    if len(set(values)) < len(values):
        raise ValueError(f"{name} must differ. Got {values!r:.60}")
    return tuple(values)


def _numbers(values: Any, name: str) -> tuple[float, ...]:
    for value in _list(values, name):
        if type(value) not in (int, float) or not abs(value) <= _LARGEST:
            raise ValueError(f"{name} must be finite numbers. Got {value!r:.60}")
    return tuple(map(float, values))


def _scales(values: Any, name: str) -> tuple[float, ...]:
    scales = _numbers(values, name)
    if not all(scale >= _SMALLEST for scale in scales):
        raise ValueError(f"{name} must be above 0. Got {values!r:.60}")
    return scales


def _whole(value: Any, name: str) -> int:
    if type(value) is not int or not 1 <= value < 2**31:
        raise ValueError(f"{name} must be a whole number of at least 1. Got {value!r:.60}")
    return value


def _small(clock: Any) -> Any:
    """The description of a clock, with its integers checked to be small enough for computing with times."""
    if isinstance(clock, dict):
        for value in clock.values():
            if type(value) is int and abs(value) >= 2**62:
                raise ValueError(f"clock must be whole numbers below 2^62. Got {value!r:.60}")
    return clock
