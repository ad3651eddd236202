"""`save` and `load`: recurrent layers of any cell as one file that carries their equations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gatewise import cells
from gatewise.language import Cell
from gatewise.language.form import same
from gatewise.nn.classic import GRU, LSTM, RNN
from gatewise.nn.recurrent import Recurrent
from gatewise.runtime.layers_file import DEFAULTS, OPTIONS, TYPES, StoredLayers, described, stored_layers
from gatewise.runtime.model_file import ModelFileError, Tensors, read_model, write_model

TASK = "layers"
# Layers that are called by the name of their cell, and what they are told besides.
_CLASSIC: tuple[tuple[Cell, type[Recurrent], dict[str, Any]], ...] = (
    (cells.lstm, LSTM, {}),
    (cells.gru, GRU, {}),
    (cells.rnn, RNN, {}),
    (cells.rnn_relu, RNN, {"nonlinearity": "relu"}),
)


def save(module: Recurrent, path: str | Path) -> None:
    """Write recurrent layers to a ``.safetensors`` file, whole or not at all.

    The file holds the equations of the cell, the options of the layers and their weights as the layers
    compute with them: a parametrization (weight norm, pruning) is written as its result. Subclasses of the
    layers are written as the layers that they are made of.

    Args:
        module: any `gatewise.nn.Recurrent`: `LSTM`, `GRU`, `RNN` or one of your own cell.
        path: where to; what is there is replaced.

    Raises:
        TypeError: `module` is no such layer, or its weights are of another type than float16, float32 and
            float64.
        ValueError: the cell is beyond the limits of a file (see ``docs/format.md``), or the layer is edited.

    Example:
        >>> import pathlib, tempfile, torch, gatewise
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "layers.safetensors"
        >>> layers = gatewise.nn.GRU(3, 8, num_layers=2).eval()
        >>> gatewise.save(layers, path)
        >>> x = torch.randn(5, 2, 3)
        >>> torch.equal(gatewise.load(path)(x)[0], layers(x)[0])
        True
    """
    if not isinstance(module, Recurrent):
        raise TypeError(f"module must be a recurrent layer of gatewise.nn. Got {type(module).__name__}.")
    write_model(path, TASK, described(module.cell, options_of(module)), weights_of(module))


def load(path: str | Path) -> Recurrent:
    """Read recurrent layers that `save` wrote, on the CPU, in `eval` mode. Nothing in the file is executed.

    They run the equations in the file. If these are the ones of `LSTM`, `GRU` or `RNN`, the layers are of
    that class (unless they project and torch's do not), else a `Recurrent`. Of the file of a task, such as a
    `Forecaster`, the layers alone are read.

    Raises:
        ModelFileError: the file is damaged, foreign, of a newer version, or describes no layers.
        FileNotFoundError: there is no such file.
    """
    return module_of(stored_layers(read_model(path, None)), path)


def options_of(module: Recurrent) -> dict[str, Any]:
    """The arguments that a layer was made with, after the cell.

    Raises:
        ValueError: the layer is edited, so that there is more to it.
    """
    module.refuse_edits("save")
    # A layer that was pickled before there was an option has its default.
    return {name: getattr(module, name, DEFAULTS.get(name)) for name in OPTIONS}


def weights_of(module: Recurrent) -> Tensors:
    """The weights of a layer by name.

    Raises:
        TypeError: they are of no type that a file can hold.
    """
    weights = {name: getattr(module, name).detach() for names in module._names for name in names}
    for name, weight in weights.items():
        if str(weight.dtype).removeprefix("torch.") not in TYPES:
            raise TypeError(f"{name} must be of {', '.join(TYPES)} to be saved. Got {weight.dtype}.")
    return {name: weight.cpu().numpy() for name, weight in weights.items()}


def module_of(stored: StoredLayers, path: str | Path) -> Recurrent:
    """Layers as a file describes them.

    Raises:
        ModelFileError: there are no such layers.
    """
    weights = {name: torch.from_numpy(array) for name, array in stored.weights.items()}
    try:
        module = _made(stored.cell, _given(stored.options) | {"dropout": 0.0})  # no warning about its use
        module.dropout = stored.options["dropout"]
        module.load_state_dict(weights, assign=True)
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        raise ModelFileError(f"{path}: the file does not describe recurrent layers ({error})") from error
    return module.eval()


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Those that are not as they are anyway."""
    return {name: value for name, value in options.items() if value != DEFAULTS.get(name)}


def _made(cell: Cell, options: dict[str, Any]) -> Recurrent:
    """Layers without memory."""
    with torch.device("meta"):
        for classic, layer, more in _CLASSIC:
            if same(cell, classic) and (layer is LSTM or not options["proj_size"]):  # as torch has it
                return layer(**options, **more)
        return Recurrent(cell, **options)
