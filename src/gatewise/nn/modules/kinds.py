"""The modules that a file can describe: common modules of torch, and recurrent layers.

A file has the name of the class and the constructor arguments of each module. A name that is not in the
tables of this file is refused; no class is looked up by a name from a file.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from gatewise import cells
from gatewise.language import Cell
from gatewise.language.form import from_form, same, to_form
from gatewise.language.form_reading import FormError, fields, items, number, real, shown, written
from gatewise.nn.modules.recurrent import Recurrent
from gatewise.nn.modules.step import GRUCell, LSTMCell, RNNCell, Step
from gatewise.nn.modules.swapped import Swapped
from gatewise.nn.modules.torch_names import GRU, LSTM, RNN
from gatewise.runtime import layer_options
from gatewise.runtime.layer_options import Check, StepOptions
from gatewise.runtime.layers_file import OPTIONS, cell_and_options

RECURRENT, STEP = "Recurrent", "Step"
CONTAINERS = {"Sequential": nn.Sequential, "ModuleList": nn.ModuleList, "ModuleDict": nn.ModuleDict}

_size, _count = partial(number, least=1, most=2**31 - 1), partial(number, least=0, most=2**31 - 1)
_axis = partial(number, least=-64, most=64)


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise FormError(f"{what} must be true or false. Got {shown(value)}")
    return value


def _or_none(check: Check) -> Check:
    return lambda value, what: None if value is None else check(value, what)


def _one_of(*texts: str) -> Check:
    def check(value: Any, what: str) -> str:
        if value not in texts:
            raise FormError(f"{what} must be one of {', '.join(texts)}. Got {shown(value)}")
        return str(value)

    return check


def _each(check: Check) -> Check:
    """A check of a value, or of a list of up to eight values."""

    def checked(value: Any, what: str) -> Any:
        if isinstance(value, list):
            return tuple(check(item, what) for item in items(value, what, 1, 8))
        return check(value, what)

    return checked


def _padding(value: Any, what: str) -> Any:
    return _one_of("same", "valid")(value, what) if isinstance(value, str) else _each(_count)(value, what)


_NOTHING: dict[str, Check] = {}
_DROPOUT: dict[str, Check] = {"p": real, "inplace": _flag}
_INPLACE: dict[str, Check] = {"inplace": _flag}
_CONV: dict[str, Check] = {
    "in_channels": _size,
    "out_channels": _size,
    "kernel_size": _each(_size),
    "stride": _each(_size),
    "padding": _padding,
    "dilation": _each(_size),
    "groups": _size,
    "bias": _flag,
    "padding_mode": _one_of("zeros", "reflect", "replicate", "circular"),
}
_TRANSPOSED = _CONV | {"output_padding": _each(_count)}
_NORM: dict[str, Check] = {
    "num_features": _size,
    "eps": real,
    "momentum": _or_none(real),
    "affine": _flag,
    "track_running_stats": _flag,
    "bias": _flag,
}
_MAX_POOL: dict[str, Check] = {
    "kernel_size": _each(_size),
    "stride": _each(_size),
    "padding": _each(_count),
    "dilation": _each(_size),
    "return_indices": _flag,
    "ceil_mode": _flag,
}
_AVG_POOL: dict[str, Check] = {
    "kernel_size": _each(_size),
    "stride": _each(_size),
    "padding": _each(_count),
    "ceil_mode": _flag,
    "count_include_pad": _flag,
}
_TO_SIZE: dict[str, Check] = {"output_size": _each(_or_none(_size))}

# The classes of torch.nn by name. Their arguments are also attributes, with the same names.
TORCH: dict[str, dict[str, Check]] = {
    "Identity": {},
    "Linear": {"in_features": _size, "out_features": _size, "bias": _flag},
    "Bilinear": {"in1_features": _size, "in2_features": _size, "out_features": _size, "bias": _flag},
    "Embedding": {
        "num_embeddings": _size,
        "embedding_dim": _size,
        "padding_idx": _or_none(_count),
        "max_norm": _or_none(real),
        "norm_type": real,
        "scale_grad_by_freq": _flag,
        "sparse": _flag,
    },
    **dict.fromkeys(("Dropout", "Dropout1d", "Dropout2d", "AlphaDropout", "FeatureAlphaDropout"), _DROPOUT),
    "LayerNorm": {"normalized_shape": _each(_size), "eps": real, "elementwise_affine": _flag, "bias": _flag},
    "RMSNorm": {"normalized_shape": _each(_size), "eps": _or_none(real), "elementwise_affine": _flag},
    "GroupNorm": {"num_groups": _size, "num_channels": _size, "eps": real, "affine": _flag, "bias": _flag},
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "InstanceNorm1d", "InstanceNorm2d"), _NORM),
    **dict.fromkeys(("Conv1d", "Conv2d"), _CONV),
    **dict.fromkeys(("ConvTranspose1d", "ConvTranspose2d"), _TRANSPOSED),
    **dict.fromkeys(("MaxPool1d", "MaxPool2d"), _MAX_POOL),
    "AvgPool1d": _AVG_POOL,
    **dict.fromkeys(("AdaptiveAvgPool1d", "AdaptiveAvgPool2d"), _TO_SIZE),
    **dict.fromkeys(("AdaptiveMaxPool1d", "AdaptiveMaxPool2d"), _TO_SIZE | {"return_indices": _flag}),
    **dict.fromkeys(("Sigmoid", "Tanh", "Softsign", "Tanhshrink", "LogSigmoid"), _NOTHING),
    **dict.fromkeys(("ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Hardsigmoid", "Hardswish"), _INPLACE),
    "LeakyReLU": {"negative_slope": real, "inplace": _flag},
    "ELU": {"alpha": real, "inplace": _flag},
    "CELU": {"alpha": real, "inplace": _flag},
    "GELU": {"approximate": _one_of("none", "tanh")},
    "GLU": {"dim": _axis},
    "PReLU": {"num_parameters": _size},
    "Softplus": {"beta": real, "threshold": real},
    "Hardtanh": {"min_val": real, "max_val": real, "inplace": _flag},
    "Softmax": {"dim": _or_none(_axis)},
    "LogSoftmax": {"dim": _or_none(_axis)},
    "Flatten": {"start_dim": _axis, "end_dim": _axis},
}
# Arguments that older versions of torch do not have, with the value that an omitted one has.
_NEWER = {"bias": True}
_HAVE_NEWER = ("GroupNorm", "BatchNorm1d", "BatchNorm2d", "InstanceNorm1d", "InstanceNorm2d")
# Arguments that have no effect in evaluation mode.
IN_TRAINING = {
    *("p", "inplace", "momentum", "scale_grad_by_freq", "sparse"),
    *layer_options.IN_TRAINING,
}
_STEP = layer_options.checks(StepOptions)
_LAYERS, _STEPS = {Recurrent, LSTM, GRU, RNN}, {Step, LSTMCell, GRUCell, RNNCell}
_THEIRS = {nn.LSTM: cells.lstm, nn.GRU: cells.gru, nn.LSTMCell: cells.lstm, nn.GRUCell: cells.gru}
_OF_RNN = {"tanh": cells.rnn, "relu": cells.rnn_relu}
# Classes with the name of a cell, and their further arguments.
_CLASSIC: tuple[tuple[Cell, type[Recurrent], type[Step], dict[str, Any]], ...] = (
    (cells.lstm, LSTM, LSTMCell, {}),
    (cells.gru, GRU, GRUCell, {}),
    (cells.rnn, RNN, RNNCell, {}),
    (cells.rnn_relu, RNN, RNNCell, {"nonlinearity": "relu"}),
)


class Described(NamedTuple):
    """The kind of a module (a name of the tables above), and its arguments as JSON values."""

    kind: str
    arguments: dict[str, Any]


def described(module: nn.Module) -> Described | None:
    """The description of a module for a file, or None if a file cannot describe its class.

    Recurrent modules of torch are described as gatewise layers with the same equations.

    Raises:
        ValueError: a layer is edited, or its cell exceeds the limits of a file.
    """
    kind = module.stands_for if isinstance(module, Swapped) else type(module)
    name = kind.__name__
    if CONTAINERS.get(name) is kind:
        return Described(name, {})
    if name in TORCH and getattr(nn, name) is kind:
        return Described(name, _arguments_of(module, name))
    if kind in _LAYERS or kind in (nn.LSTM, nn.GRU, nn.RNN):
        options = {name: _plain(value, name) for name, value in options_of(module).items()}
        return Described(RECURRENT, {"cell": to_form(_cell(module, kind)), **options})
    if kind in _STEPS or kind in (nn.LSTMCell, nn.GRUCell, nn.RNNCell):
        return Described(
            STEP, {"cell": to_form(_cell(module, kind)), **{k: _argument(module, k) for k in _STEP}}
        )
    return None


def _cell(module: nn.Module, kind: type[nn.Module]) -> Cell:
    if isinstance(module, Recurrent | Step):
        module.refuse_edits("save")
        return module.cell
    if kind in _THEIRS:
        return _THEIRS[kind]
    return _OF_RNN[str(module.nonlinearity)]


def _arguments_of(module: nn.Module, kind: str) -> dict[str, Any]:
    found = {name: _argument(module, name) for name in TORCH[kind]}
    if not getattr(module, "affine", True):  # without affine there is no bias, whatever `bias` was
        found["bias"] = True
    default = _NEWER if kind in _HAVE_NEWER else {}
    return {k: v for k, v in found.items() if k not in default or v != default[k]}


def _argument(module: nn.Module, name: str) -> Any:
    value = getattr(module, name, None)
    if name == "bias" and not isinstance(value, bool):
        return value is not None
    return _plain(value, name)


def _plain(value: Any, name: str) -> Any:
    """A value as a JSON value."""
    if isinstance(value, tuple):
        return list(value)
    return written(value, name) if isinstance(value, float) else value


def options_of(module: nn.Module) -> dict[str, Any]:
    """The constructor arguments of recurrent layers, without the cell."""
    # Layers of torch lack some options: the default is meant.
    return {name: getattr(module, name, layer_options.DEFAULTS.get(name)) for name in OPTIONS}


def knows(kind: Any) -> bool:
    """Whether `kind` is a kind of module that a file can describe."""
    return isinstance(kind, str) and (kind in CONTAINERS or kind in TORCH or kind in (RECURRENT, STEP))


def arguments(kind: str, given: Any, what: str) -> dict[str, Any]:
    """Check the arguments of a module from a file.

    Args:
        kind: the kind of the module.
        given: the arguments as JSON values.
        what: where they are in the file, for errors.

    Returns:
        The arguments as Python values, with the cell as a `Cell`.

    Raises:
        FormError: an argument is missing, unknown, or of a wrong type or value.
    """
    if kind == RECURRENT:
        cell, options = cell_and_options(given)
        return {"cell": cell, **options}
    if kind == STEP:
        parts = fields(given, what, ("cell", *_STEP))
        cell = from_form(parts["cell"])
        return {"cell": cell, **{k: check(parts[k], f"{what}.{k}") for k, check in _STEP.items()}}
    checks, newer = TORCH.get(kind, {}), _NEWER if kind in _HAVE_NEWER else {}
    parts = fields(given, what, [name for name in checks if name not in newer], newer)
    return {name: check(parts[name], f"{what}.{name}") for name, check in checks.items() if name in parts}


def made(kind: str, given: dict[str, Any]) -> nn.Module:
    """Make a module on the meta device (without memory), from the result of `arguments`."""
    with torch.device("meta"):
        if kind in CONTAINERS:
            container: nn.Module = CONTAINERS[kind]()
            return container
        if kind in TORCH:
            module: nn.Module = getattr(nn, kind)(**given)
            return module
        options = dict(given)
        cell = options.pop("cell")
        return layers(cell, options) if kind == RECURRENT else _step(cell, options)


def layers(cell: Cell, options: dict[str, Any]) -> Recurrent:
    """Make layers on the meta device. A cell of torch gives its class (LSTM, GRU, RNN), else `Recurrent`.

    As in torch, only LSTM has a projection; other cells with one give `Recurrent`.
    """
    given = {**options, "dropout": 0.0}  # a rate would warn about layers without effect
    with torch.device("meta"):
        for classic, layer, _, more in _CLASSIC:
            if same(cell, classic) and (layer is LSTM or not options["proj_size"]):
                made = layer(**given, **more)
                break
        else:
            made = Recurrent(cell, **given)
    made.dropout = options["dropout"]
    return made


def _step(cell: Cell, options: dict[str, Any]) -> Step:
    for classic, _, step, more in _CLASSIC:
        if same(cell, classic):
            return step(**options, **more)
    return Step(cell, **options)
