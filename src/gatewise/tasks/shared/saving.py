"""The file of any job: arguments, preparation, metrics and layers in the header, then the weights."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from gatewise.language import Cell
from gatewise.language.form import same
from gatewise.nn.modules.files import options_of
from gatewise.runtime.jobs.loading import describing
from gatewise.runtime.layers_file import StoredLayers, described, described_stacks, stored_layers
from gatewise.runtime.model_file import ModelFile, in_memory
from gatewise.tasks.shared.cells import CELLS

RECURRENT = "recurrent."  # the prefix of the tensors of the main layers


class Saved(Protocol):
    """What a file needs of an estimator; see `JobEstimator`."""

    TASK: ClassVar[str]
    UNSAVED: ClassVar[tuple[str, ...]]
    num_layers: int

    @property
    def equations(self) -> Cell:
        """The cell."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments."""

    def check_parameters(self) -> None:
        """Refuse wrong arguments."""

    def build(self) -> nn.Module:
        """The untrained network."""

    def prepared(self) -> dict[str, Any]:
        """What a prediction needs besides the weights."""

    def restore(self, prepared: dict[str, Any]) -> None:
        """The reverse of `prepared`."""

    def adopt(self, file: ModelFile) -> None:
        """Take over a trained model."""


_Estimator = TypeVar("_Estimator", bound=Saved)


def file_of(estimator: Saved, network: nn.Module) -> ModelFile:
    """The content of the file of a trained network.

    Its main layers are its attribute ``recurrent``. If it has further ones, its attribute ``further`` gives
    the path of each by the name that it has in the file.
    """
    recurrent: Any = network.recurrent
    paths: dict[str, str] = getattr(network, "further", {})
    header = {
        "parameters": _parameters(estimator),
        "preparation": estimator.prepared(),
        "metrics": {},
        **described(recurrent.cell, options_of(recurrent), RECURRENT),
        **(described_stacks({name: _stack(network, path) for name, path in paths.items()}) if paths else {}),
    }
    tensors = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
    return in_memory(estimator.TASK, header, tensors)


def _stack(network: nn.Module, path: str) -> tuple[StoredLayers, str]:
    """Further recurrent layers of a network, and what the names of their tensors begin with."""
    layers: Any = network.get_submodule(path)
    return StoredLayers(layers.cell, options_of(layers), {}), f"{path}."


def estimator_of(kind: type[_Estimator], file: ModelFile) -> _Estimator:
    """The estimator of a file.

    Raises:
        ModelFileError: the file does not describe one.
    """
    with describing(file, f"a {kind.__name__.lower()}"):
        estimator = unfilled(kind, file)
        estimator.adopt(file)
        return estimator


def unfilled(kind: type[_Estimator], file: ModelFile) -> _Estimator:
    """The estimator of a file, whose tensors fit, but which has not taken them over yet.

    Raises:
        ModelFileError: the file does not describe one.
    """
    stored = stored_layers(file) if file.format > 1 else None  # format 1 has only the name of the cell
    with describing(file, f"a {kind.__name__.lower()}"):
        estimator = kind(**_arguments(file.header["parameters"], stored))
        estimator.check_parameters()
        estimator.restore(file.header["preparation"])
        check_tensors(estimator, file, stored)
        if not isinstance(file.header["metrics"], dict):
            raise ValueError("metrics must be an object")
    return estimator


def network_of(estimator: Saved, file: ModelFile) -> nn.Module:
    """The network of a file, in evaluation mode."""
    with torch.device("meta"):
        network = estimator.build()
    weights = {name: torch.from_numpy(tensor.copy()) for name, tensor in file.tensors.items()}
    network.load_state_dict(weights, assign=True)
    return network.eval()


def check_tensors(estimator: Saved, file: ModelFile, stored: StoredLayers | None) -> None:
    """Refuse tensors that are not those of the estimator's network. No memory is taken for the network."""
    if estimator.num_layers > len(file.tensors):
        raise ValueError(f"{estimator.num_layers} layers but {len(file.tensors)} tensors")
    with torch.device("meta"):
        network = estimator.build()
    expected = network.state_dict()
    for name in sorted(expected.keys() ^ file.tensors.keys()):
        raise ValueError(f"the tensor {name} is {'missing' if name in expected else 'unexpected'}")
    for name, wanted in expected.items():
        found, dtype = file.tensors[name], str(wanted.dtype).removeprefix("torch.")
        if found.shape != tuple(wanted.shape) or found.dtype != dtype:
            raise ValueError(f"{name} must be {dtype} of shape {tuple(wanted.shape)}")
    recurrent: Any = network.recurrent
    if stored and stored.options != options_of(recurrent):
        raise ValueError("its layers are not those that its parameters ask for")


def _parameters(estimator: Saved) -> dict[str, Any]:
    """The arguments as JSON data. The cell is a name; the layers have its equations."""
    parameters = estimator.get_params(deep=False) | {"cell": estimator.equations.name}
    return {name: plain(value) for name, value in parameters.items() if name not in estimator.UNSAVED}


def plain(value: Any) -> Any:
    """A number, a boolean or an array of NumPy in Python's types, which JSON and torch take."""
    if isinstance(value, np.ndarray | np.bool_):
        return value.tolist()
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else value


def _arguments(parameters: Any, stored: StoredLayers | None) -> dict[str, Any]:
    """The arguments in a file. The cell is a name if the file has the equations of that name."""
    if not isinstance(parameters, dict):
        raise ValueError("parameters must be an object")
    known = CELLS.get(parameters["cell"])
    if stored is None or (known and same(known, stored.cell)):
        return parameters
    return {**parameters, "cell": stored.cell}
