"""`save` and `load`: modules in one file, with the equations of their recurrent layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatewise.language.form_reading import FormError
from gatewise.nn.modules import filling, kinds, structure
from gatewise.nn.modules.recurrent import Recurrent
from gatewise.nn.modules.structure import Held, Part, Structure
from gatewise.runtime.layers_file import MODULE, TYPES, StoredLayers, described, stored_layers
from gatewise.runtime.model_file import ModelFile, ModelFileError, Tensors, read_model, write_model

TASK = "layers"
_Model = TypeVar("_Model", bound=nn.Module)


def save(module: nn.Module, path: str | Path) -> None:
    """Write a module to a ``.safetensors`` file, completely or not at all.

    For recurrent layers, the file contains the equations of the cell, the options, and the weights that the
    layers compute with: a parametrized weight (weight norm, pruning) is written as its value. A subclass of a
    layer is written as that layer.

    For any other module, the file contains all modules in it, and every parameter and buffer. Containers,
    common modules of torch and recurrent layers are written with their constructor arguments. A class of your
    own is code, which the file does not contain; load such a file into an existing model.

    Args:
        module: a `gatewise.nn.Recurrent`, or any torch module.
        path: the file. An existing file is replaced.

    Raises:
        TypeError: `module` is not a module, or a tensor has a type that a file cannot hold, such as bfloat16.
        ValueError: a cell exceeds the limits of a file (see ``docs/format.md``), a layer is edited, a module
            has state that is not a tensor, or a tensor has no numbers yet (it is on the meta device, or of a
            lazy module).

    Example:
        >>> import pathlib, tempfile, torch, gatewise
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "layers.safetensors"
        >>> layers = gatewise.nn.GRU(3, 8, num_layers=2).eval()
        >>> gatewise.save(layers, path)
        >>> x = torch.randn(5, 2, 3)
        >>> torch.equal(gatewise.load(path)(x)[0], layers(x)[0])
        True
    """
    if isinstance(module, Recurrent):
        write_model(path, TASK, described(module.cell, options_of(module)), weights_of(module))
        return
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module. Got {type(module).__name__}.")
    made_of, tensors = structure.of(module)
    arrays = {name: _array(tensor) for name, tensor in tensors.items()}
    write_model(path, MODULE, structure.header_of(made_of), arrays)


@overload
def load(path: str | Path) -> Any: ...
@overload
def load(path: str | Path, into: _Model) -> _Model: ...
def load(path: str | Path, into: nn.Module | None = None) -> Any:
    """Read a module that `save` wrote. Nothing in the file is executed.

    Recurrent layers run the equations in the file. If these are the equations of `LSTM`, `GRU` or `RNN`, the
    layers have that class (except for projections that torch does not have), else the class `Recurrent`. A
    file of layers only gives these layers on the CPU, in evaluation mode. From the file of a task, such as a
    `Forecaster`, only the recurrent layers are read. The modules of a whole model have the mode in which they
    were saved, and shared tensors are shared again.

    Args:
        path: the file.
        into: a model to fill with the tensors of the file. It must have the same modules, with the same
            options and equations; options that only matter in training, such as dropout, may differ. It
            keeps its devices and its mode. Needed for models with classes of your own.

    Returns:
        The module; `into` if it is given.

    Raises:
        TypeError: `into` is not a module.
        ModelFileError: the file is damaged, not gatewise's, of a newer version, or describes neither layers
            nor a module; it has classes of your own and `into` is missing; or `into` does not fit. In all
            cases `into` does not change.
        FileNotFoundError: the file does not exist.

    Example:
        >>> import pathlib, tempfile, torch, gatewise
        >>> class Tagger(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.rnn, self.head = gatewise.nn.GRU(3, 8), torch.nn.Linear(8, 2)
        ...     def forward(self, x):
        ...         return self.head(self.rnn(x)[0])
        >>> path, x = pathlib.Path(tempfile.mkdtemp()) / "tagger.safetensors", torch.randn(5, 2, 3)
        >>> model = Tagger()
        >>> gatewise.save(model, path)
        >>> torch.equal(gatewise.load(path, into=Tagger())(x), model(x))
        True
    """
    file = read_model(path, None)
    if into is not None and not isinstance(into, nn.Module):
        raise TypeError(f"into must be a torch.nn.Module. Got {type(into).__name__}.")
    if file.task != MODULE and into is None:
        return module_of(stored_layers(file), path)
    try:
        found, tensors = _contents(file)
        return _made(found, tensors) if into is None else _filled(found, tensors, into)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ModelFileError(f"{path}: {error}") from error


def _contents(file: ModelFile) -> tuple[Structure, Tensors]:
    if file.task == MODULE:
        return structure.read(file.header, file.tensors), file.tensors
    stored = stored_layers(file)  # a structure of one part
    arguments = {"cell": stored.cell, **stored.options}
    part = Part(kinds.RECURRENT, kinds.RECURRENT, arguments, (), training=False)
    return Structure([part], {}, frozenset()), stored.weights


def _made(found: Structure, tensors: Tensors) -> nn.Module:
    """Make the module that a file describes."""
    own = structure.own_classes(found)
    if own:
        more = f" and {len(own) - 1} more" if own[1:] else ""
        raise FormError(
            f"{own[0]}{more} is not among the modules that a file can hold, torch's common ones and "
            "recurrent layers. Make the model, and fill it with gatewise.load(path, into=model)"
        )
    modules = filling.made(found)
    for name, places in filling.held_by(found, modules, tensors).items():
        tensor = torch.from_numpy(tensors[name])
        _check_kind(name, tensor, places, exact=False)
        if any(held.is_parameter for held in places):
            tensor = nn.Parameter(tensor, requires_grad=name not in found.frozen)
        for held in places:
            owner = held.module._parameters if held.is_parameter else held.module._buffers
            owner[held.name] = tensor  # type: ignore[assignment]
    return modules[0]


def _filled(found: Structure, tensors: Tensors, model: _Model) -> _Model:
    """Fill a model with the numbers of a file. Returns the model."""
    modules = filling.corresponding(found, model)
    places = filling.held_by(found, modules, tensors)
    for name, some in sorted(places.items()):
        _check_kind(name, torch.from_numpy(tensors[name]), some, exact=True)
    with torch.no_grad():
        for name, some in places.items():
            for held in some:
                held.tensor.copy_(torch.from_numpy(tensors[name]))
    return model


def _check_kind(name: str, tensor: Tensor, places: list[Held], exact: bool) -> None:
    """Refuse numbers of another type. Unless `exact`, any floating-point type fits any other."""
    for held in places:
        if exact and held.tensor.is_meta:
            raise FormError(f"{name} is on the meta device, so it has no memory to fill")
        both = tensor.is_floating_point() and held.tensor.is_floating_point()
        if tensor.dtype != held.tensor.dtype and (exact or not both):
            raise FormError(f"{name} must be {held.tensor.dtype}. Got {tensor.dtype}")


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().resolve_conj().numpy()
    return array


def options_of(module: Recurrent) -> dict[str, Any]:
    """The constructor arguments of a layer, without the cell.

    Raises:
        ValueError: the layer is edited.
    """
    module.refuse_edits("save")
    return kinds.options_of(module)


def weights_of(module: Recurrent) -> Tensors:
    """The weights of a layer by name.

    Raises:
        TypeError: a weight has a type that a file cannot hold.
        ValueError: a weight has no numbers yet.
    """
    weights = {name: getattr(module, name).detach() for names in module._names for name in names}
    for name, weight in weights.items():
        structure.check_stored(name, weight)
        if str(weight.dtype).removeprefix("torch.") not in TYPES:
            raise TypeError(f"{name} must be of {', '.join(TYPES)} to be saved. Got {weight.dtype}.")
    return {name: weight.cpu().numpy() for name, weight in weights.items()}


def module_of(stored: StoredLayers, path: str | Path) -> Recurrent:
    """Make the layers that a file describes.

    Raises:
        ModelFileError: the file does not describe layers.
    """
    weights = {name: torch.from_numpy(array) for name, array in stored.weights.items()}
    try:
        module = kinds.layers(stored.cell, stored.options)
        module.load_state_dict(weights, assign=True)
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        raise ModelFileError(f"{path}: the file does not describe recurrent layers ({error})") from error
    return module.eval()
