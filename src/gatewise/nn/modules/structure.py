"""A model as data: its modules, which module contains which, and the names of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gatewise.language.form_reading import MOST_LETTERS, FormError, fields, items, label, number, pair, shown
from gatewise.nn.modules import kinds
from gatewise.runtime.model_file import Tensors

OWN = ""  # the kind of a module whose class a file cannot describe
_MOST_PARTS, _MOST_PATHS, _MOST_DEEP = 10_000, 100_000, 100
_KEYS = ("kind", "class", "arguments", "children", "training")
_TYPES = {torch.float16, torch.float32, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8,
          torch.uint8, torch.bool}  # fmt: skip


class Part(NamedTuple):
    """A module, as a file describes it.

    Attributes:
        kind: a name of `gatewise.nn.modules.kinds`, or `OWN`.
        class_name: the name of the class. It is only shown, never looked up.
        arguments: the constructor arguments, as JSON values.
        children: the name and the index of each child. A child has a larger index than its parent.
        training: whether the module is in training mode.
    """

    kind: str
    class_name: str
    arguments: dict[str, Any]
    children: tuple[tuple[str, int], ...]
    training: bool

    def __str__(self) -> str:
        return self.class_name if self.kind == OWN else self.kind


class Structure(NamedTuple):
    """A model as data.

    Attributes:
        parts: the modules; the first one is the model.
        shared: for a tensor with several names, the first name by each further name.
        frozen: the names of parameters that are not trained.
    """

    parts: Sequence[Part]
    shared: Mapping[str, str]
    frozen: frozenset[str]

    def paths(self) -> dict[int, str]:
        """The first path to each part, by index, in the order of `named_modules`."""
        found: dict[int, str] = {}
        ahead = [(0, "")]
        while ahead:
            place, path = ahead.pop()
            if place not in found:
                found[place] = path
                ahead += [(child, joined(path, name)) for name, child in reversed(self.parts[place].children)]
        return found


class Held(NamedTuple):
    """A tensor of a module itself, not of its children."""

    module: nn.Module
    name: str
    tensor: Tensor

    @property
    def is_parameter(self) -> bool:
        """Whether the tensor is a parameter, not a buffer."""
        return self.name in self.module._parameters


def joined(path: str, name: str) -> str:
    """The full name of the tensor or child `name` of the module at `path`."""
    return f"{path}.{name}" if path else name


def own_tensors(module: nn.Module) -> dict[str, Held]:
    """The parameters and persistent buffers of a module, without those of its children."""
    left_out = module._non_persistent_buffers_set
    buffers = ((name, buffer) for name, buffer in module._buffers.items() if name not in left_out)
    pairs = chain(module._parameters.items(), buffers)
    return {name: Held(module, name, tensor) for name, tensor in pairs if tensor is not None}


def of(model: nn.Module) -> tuple[Structure, dict[str, Tensor]]:
    """The structure of a model, and its tensors by their first names.

    Raises:
        ValueError: a layer is edited, a module contains itself, a module has state that is not a tensor, or a
            tensor has no numbers.
        TypeError: a tensor is of a type that a file cannot hold.
    """
    modules = ordered(model)
    if len(modules) > _MOST_PARTS:
        raise ValueError(f"save: a file holds up to {_MOST_PARTS} modules. Got {len(modules)}.")
    places = {module: place for place, module in enumerate(modules)}
    parts = [_part(module, places) for module in modules]
    _check_size(parts)
    first: dict[int, str] = {}
    tensors: dict[str, Tensor] = {}
    shared, frozen = dict[str, str](), set[str]()
    for path, module in model.named_modules():
        _check_state(path, module)
        for name, held in own_tensors(module).items():
            full = joined(path, name)
            if id(held.tensor) in first:
                shared[full] = first[id(held.tensor)]
                continue
            first[id(held.tensor)], tensors[full] = full, _checked(full, held.tensor)
            if held.is_parameter and not held.tensor.requires_grad:
                frozen.add(full)
    return Structure(parts, shared, frozenset(frozen)), tensors


def ordered(model: nn.Module) -> list[nn.Module]:
    """Every module once, parents before children."""
    done, entered = dict[nn.Module, None](), set[nn.Module]()

    def visit(module: nn.Module) -> None:
        if module in done:
            return
        if module in entered:
            raise ValueError(f"save: the {type(module).__name__} contains itself.")
        entered.add(module)
        for child in module.children():
            visit(child)
        done[module] = None

    visit(model)
    return list(done)[::-1]


def _part(module: nn.Module, places: Mapping[nn.Module, int]) -> Part:
    held = {name: child for name, child in module._modules.items() if child is not None}
    found = kinds.described(module)
    if found is not None and not _is_whole(module, *found, held):
        found = None
    kind, arguments = (OWN, {}) if found is None else found
    children = tuple((_child_name(name, "save"), places[child]) for name, child in held.items())
    return Part(kind, type(module).__name__[:MOST_LETTERS], arguments, children, module.training)


def _is_whole(module: nn.Module, kind: str, arguments: dict[str, Any], held: Mapping[str, nn.Module]) -> bool:
    """Whether `kind` and `arguments` describe the whole module.

    They do not if it has other tensors than its kind (as with weight norm), or children that its kind does
    not have.
    """
    if held and kind not in kinds.CONTAINERS:
        return False
    twin = kinds.made(kind, kinds.arguments(kind, arguments, kind))
    mine, theirs = ({n: held.tensor.shape for n, held in own_tensors(m).items()} for m in (module, twin))
    return mine == theirs


def _check_state(path: str, module: nn.Module) -> None:
    if type(module).get_extra_state is not nn.Module.get_extra_state:
        where = f"{path or 'the model'}: {type(module).__name__}"
        raise ValueError(f"save: {where} has state that is not a tensor (get_extra_state).")


def check_stored(name: str, tensor: Tensor) -> None:
    """Refuse a tensor without numbers.

    Raises:
        ValueError: the tensor is on the meta device, or its lazy module was not called yet.
    """
    if tensor.is_meta or nn.parameter.is_lazy(tensor):
        raise ValueError(f"save: {name} has no numbers yet: it is on the meta device or not initialised.")


def _checked(name: str, tensor: Tensor) -> Tensor:
    check_stored(name, tensor)
    if tensor.dtype not in _TYPES or tensor.layout != torch.strided:
        kind = f"{tensor.dtype}, {tensor.layout}"
        raise TypeError(f"save: {name} must be of a type that a file can hold, as float32. Got {kind}.")
    return tensor


def header_of(structure: Structure) -> dict[str, Any]:
    """The header of a file for a structure, as JSON values."""
    parts: list[dict[str, Any]] = [dict(zip(_KEYS, part, strict=True)) for part in structure.parts]
    for part in parts:
        part["children"] = [list(child) for child in part["children"]]
    return {"modules": parts, "shared": dict(structure.shared), "frozen": sorted(structure.frozen)}


def read(header: Mapping[str, Any], tensors: Tensors) -> Structure:
    """Read and check the structure in the header of a file.

    Raises:
        FormError: the header has no structure, or a wrong one.
    """
    entries = items(header.get("modules"), "modules", 1, _MOST_PARTS)
    parts = [_read_part(entry, place, len(entries), tensors) for place, entry in enumerate(entries)]
    _check_size(parts)
    structure = Structure(parts, _read_shared(header.get("shared"), tensors), frozenset())
    if len(structure.paths()) < len(parts):
        raise FormError("modules must each be a child of another one, except the first")
    frozen = items(header.get("frozen"), "frozen", 0, len(tensors))
    for name in frozen:
        if not isinstance(name, str) or name not in tensors:
            raise FormError(f"frozen must be names of tensors. Got {shown(name)}")
    return structure._replace(frozen=frozenset(frozen))


def _read_part(entry: Any, place: int, count: int, tensors: Tensors) -> Part:
    what = f"modules[{place}]"
    parts = fields(entry, what, _KEYS)
    kind, name, given, children, training = (parts[key] for key in _KEYS)
    label(name, f"{what}.class")
    if kind != OWN and not kinds.knows(kind):
        raise FormError(f"{what}.kind must be a supported kind of module. Got {shown(kind)}")
    if kind != OWN and kind not in kinds.CONTAINERS and children:
        raise FormError(f"{what}: a {kind} must have no children")
    if not isinstance(training, bool):
        raise FormError(f"{what}.training must be true or false. Got {shown(training)}")
    pairs = [pair(child, f"{what}.children") for child in items(children, f"{what}.children", 0, count)]
    read = tuple(
        (_child_name(name, what), number(child, f"{what}.children", place + 1, count - 1))
        for name, child in pairs
    )
    if len(dict(read)) < len(read) or (kind == "ModuleList" and [n for n, _ in read] != _numbers(len(read))):
        raise FormError(f"{what}.children must have different names, in a ModuleList 0, 1, 2, ...")
    arguments = kinds.arguments(kind, given, what) if kind != OWN else fields(given, what, ())
    if arguments.get("num_layers", 0) > len(tensors):  # checked first: later steps take time for each layer
        raise FormError(f"{what}: {arguments['num_layers']} layers but {len(tensors)} tensors")
    return Part(kind, name, arguments, read, training)


def _numbers(count: int) -> list[str]:
    return [str(k) for k in range(count)]


def _child_name(name: Any, what: str) -> str:
    if "." in label(name, f"{what}.children"):
        raise FormError(f"{what}.children must have names without dots. Got {shown(name)}")
    return str(name)


def _check_size(parts: Sequence[Part]) -> None:
    """Refuse modules nested too deep, or shared so often that a walk over all paths would not end."""
    ways, depth = [1] * len(parts), [1] * len(parts)
    for place in reversed(range(len(parts))):
        children = [child for _, child in parts[place].children]
        ways[place] += sum(ways[child] for child in children)
        depth[place] += max((depth[child] for child in children), default=0)
        if ways[place] > _MOST_PATHS or depth[place] > _MOST_DEEP:
            limits = f"{_MOST_DEEP} deep, with {_MOST_PATHS} paths to parts"
            raise FormError(f"modules must be up to {limits}")


def _read_shared(value: Any, tensors: Tensors) -> dict[str, str]:
    if not isinstance(value, dict):
        raise FormError(f"shared must be an object. Got {shown(value)}")
    for name, first in value.items():
        if name in tensors or not isinstance(first, str) or first not in tensors:
            raise FormError(f"shared must be new names for tensors of the file. Got {shown(name)}")
    return value


def own_classes(structure: Structure) -> list[str]:
    """The modules whose class a file cannot describe, with their paths; those inside another are left out."""
    found: dict[str, str] = {}
    for place, path in structure.paths().items():
        part = structure.parts[place]
        if part.kind == OWN and not any(outer in found for outer in _outer(path)):
            found[path] = part.class_name
    return [f"{path}: {name}" if path else name for path, name in found.items()]


def _outer(path: str) -> list[str]:
    """The paths of all modules that contain the module at a path."""
    names = path.split(".")
    return ["", *(".".join(names[:k]) for k in range(1, len(names)))]
