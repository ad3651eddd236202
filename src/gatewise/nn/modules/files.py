"""`save` and `load`: modules as one file that carries the equations of their recurrent layers."""

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
    """Write a module to a ``.safetensors`` file, whole or not at all.

    Of recurrent layers the file holds the equations of the cell, the options and the weights as the layers
    compute with them: a parametrization (weight norm, pruning) is written as its result. Subclasses of the
    layers are written as the layers that they are made of.

    Of any other module it holds the tree of its parts: what each is and was made with, for containers, common
    modules of torch and recurrent layers, and every parameter and buffer. A class of your own is code, which
    no file holds: such a model is loaded into one that is made already.

    Args:
        module: any `gatewise.nn.Recurrent`, by itself, or a torch module.
        path: where to; what is there is replaced.

    Raises:
        TypeError: `module` is no module, or a tensor is of a type that a file cannot hold, such as bfloat16.
        ValueError: a cell is beyond the limits of a file (see ``docs/format.md``), a layer is edited, a
            module has state that is no tensor, or a tensor has no numbers yet (on the meta device, or of a
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

    Recurrent layers run the equations in the file. If these are the ones of `LSTM`, `GRU` or `RNN`, the
    layers are of that class (unless they project and torch's do not), else a `Recurrent`. A file of layers
    alone gives them on the CPU, in `eval` mode; of the file of a task, such as a `Forecaster`, the layers
    alone are read. The parts of a whole module are in the mode in which they were saved, and tensors that
    they shared are shared.

    Args:
        path: the file.
        into: a model to fill with the tensors of the file, which must be made of the same parts, with the
            same options and equations; what matters in training alone, such as dropout, may differ. It keeps
            its devices and its mode. Needed for models with classes of your own.

    Raises:
        ModelFileError: the file is damaged, foreign, of a newer version, or describes no layers and no
            module; it has classes of your own and there is no `into`; or `into` is made of something else.
            Then `into` is as it was.
        FileNotFoundError: there is no such file.

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
    stored = stored_layers(file)  # one part
    arguments = {"cell": stored.cell, **stored.options}
    part = Part(kinds.RECURRENT, kinds.RECURRENT, arguments, (), training=False)
    return Structure([part], {}, frozenset()), stored.weights


def _made(found: Structure, tensors: Tensors) -> nn.Module:
    """A module as a file describes it."""
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
    """A model with the numbers of a file."""
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
    """Refuse numbers of another type; among floating-point ones a module that is made takes any."""
    for held in places:
        if exact and held.tensor.is_meta:
            raise FormError(f"{name} is on the meta device, where there are no numbers to fill")
        both = tensor.is_floating_point() and held.tensor.is_floating_point()
        if tensor.dtype != held.tensor.dtype and (exact or not both):
            raise FormError(f"{name} must be {held.tensor.dtype}. Got {tensor.dtype}")


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().resolve_conj().numpy()
    return array


def options_of(module: Recurrent) -> dict[str, Any]:
    """The arguments that a layer was made with, after the cell.

    Raises:
        ValueError: the layer is edited, so that there is more to it.
    """
    module.refuse_edits("save")
    return kinds.options_of(module)


def weights_of(module: Recurrent) -> Tensors:
    """The weights of a layer by name.

    Raises:
        TypeError: they are of no type that a file can hold.
        ValueError: they have no numbers yet.
    """
    weights = {name: getattr(module, name).detach() for names in module._names for name in names}
    for name, weight in weights.items():
        structure.check_stored(name, weight)
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
        module = kinds.layers(stored.cell, stored.options)
        module.load_state_dict(weights, assign=True)
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        raise ModelFileError(f"{path}: the file does not describe recurrent layers ({error})") from error
    return module.eval()
