"""A whole module as data: what its parts are, which part holds which, and the names of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gatewise.language.form_reading import MOST_LETTERS, FormError, fields, items, label, number, pair, shown
from gatewise.nn.modules import kinds
from gatewise.runtime.model_file import Tensors

OWN = ""  # the kind of a module whose class a file cannot hold
_MOST_PARTS, _MOST_PATHS, _MOST_DEEP = 10_000, 100_000, 100
_KEYS = ("kind", "class", "arguments", "children", "training")
_TYPES = {torch.float16, torch.float32, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8,
          torch.uint8, torch.bool}  # fmt: skip


class Part(NamedTuple):
    """A module; `children` are names and places of parts after this one."""

    kind: str
    class_name: str  # a label
    arguments: dict[str, Any]
    children: tuple[tuple[str, int], ...]
    training: bool

    def __str__(self) -> str:
        return self.class_name if self.kind == OWN else self.kind


class Structure(NamedTuple):
    """The parts, the whole first.

    `shared` has for each further name of a tensor the first one; `frozen` names the parameters that are not
    trained.
    """

    parts: Sequence[Part]
    shared: Mapping[str, str]
    frozen: frozenset[str]

    def paths(self) -> dict[int, str]:
        """Where each part is first met, in the order in which `named_modules` goes."""
        found: dict[int, str] = {}
        ahead = [(0, "")]
        while ahead:
            place, path = ahead.pop()
            if place not in found:
                found[place] = path
                ahead += [(child, joined(path, name)) for name, child in reversed(self.parts[place].children)]
        return found


class Held(NamedTuple):
    """A tensor of a module: one of its own, not of its children."""

    module: nn.Module
    name: str
    tensor: Tensor

    @property
    def is_parameter(self) -> bool:
        """Whether it is trained, and no buffer."""
        return self.name in self.module._parameters


def joined(path: str, name: str) -> str:
    """The name of what is called `name` in the module at `path`."""
    return f"{path}.{name}" if path else name


def own_tensors(module: nn.Module) -> dict[str, Held]:
    """The parameters of a module and its buffers that are part of its state."""
    left_out = module._non_persistent_buffers_set
    buffers = ((name, buffer) for name, buffer in module._buffers.items() if name not in left_out)
    pairs = chain(module._parameters.items(), buffers)
    return {name: Held(module, name, tensor) for name, tensor in pairs if tensor is not None}


def of(model: nn.Module) -> tuple[Structure, dict[str, Tensor]]:
    """The structure of a model, and its tensors by their first names.

    Raises:
        ValueError: a layer is edited, a module holds itself, has state that is no tensor, or a tensor
            without numbers.
        TypeError: a tensor is of a type that no file can hold.
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
    """Every module once, before those that it holds."""
    done, entered = dict[nn.Module, None](), set[nn.Module]()

    def visit(module: nn.Module) -> None:
        if module in done:
            return
        if module in entered:
            raise ValueError(f"save: the {type(module).__name__} holds itself.")
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
    """Whether a module has just the tensors of its kind, and not others in their place (weight norm), and
    holds no modules if its kind holds none."""
    if held and kind not in kinds.CONTAINERS:
        return False
    twin = kinds.made(kind, kinds.arguments(kind, arguments, kind))
    mine, theirs = ({n: held.tensor.shape for n, held in own_tensors(m).items()} for m in (module, twin))
    return mine == theirs


def _check_state(path: str, module: nn.Module) -> None:
    if type(module).get_extra_state is not nn.Module.get_extra_state:
        where = f"{path or 'the model'}: {type(module).__name__}"
        raise ValueError(f"save: {where} has state that is no tensor (get_extra_state).")


def check_stored(name: str, tensor: Tensor) -> None:
    """Refuse a tensor without numbers.

    Raises:
        ValueError: it is on the meta device, or of a lazy module that was not called yet.
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
    """A structure as a header has it."""
    parts: list[dict[str, Any]] = [dict(zip(_KEYS, part, strict=True)) for part in structure.parts]
    for part in parts:
        part["children"] = [list(child) for child in part["children"]]
    return {"modules": parts, "shared": dict(structure.shared), "frozen": sorted(structure.frozen)}


def read(header: Mapping[str, Any], tensors: Tensors) -> Structure:
    """The structure in a header.

    Raises:
        FormError: there is none, or it is not sound.
    """
    entries = items(header.get("modules"), "modules", 1, _MOST_PARTS)
    parts = [_read_part(entry, place, len(entries), tensors) for place, entry in enumerate(entries)]
    _check_size(parts)
    structure = Structure(parts, _read_shared(header.get("shared"), tensors), frozenset())
    if len(structure.paths()) < len(parts):
        raise FormError("modules: one is part of none")
    frozen = items(header.get("frozen"), "frozen", 0, len(tensors))
    for name in frozen:
        if not isinstance(name, str) or name not in tensors:
            raise FormError(f"frozen: expected names of tensors. Got {shown(name)}")
    return structure._replace(frozen=frozenset(frozen))


def _read_part(entry: Any, place: int, count: int, tensors: Tensors) -> Part:
    what = f"modules[{place}]"
    parts = fields(entry, what, _KEYS)
    kind, name, given, children, training = (parts[key] for key in _KEYS)
    label(name, f"{what}.class")
    if kind != OWN and not kinds.knows(kind):
        raise FormError(f"{what}: expected a kind of module that is known. Got {shown(kind)}")
    if kind != OWN and kind not in kinds.CONTAINERS and children:
        raise FormError(f"{what}: expected a {kind} without children")
    if not isinstance(training, bool):
        raise FormError(f"{what}.training: expected true or false. Got {shown(training)}")
    pairs = [pair(child, f"{what}.children") for child in items(children, f"{what}.children", 0, count)]
    read = tuple(
        (_child_name(name, what), number(child, f"{what}.children", place + 1, count - 1))
        for name, child in pairs
    )
    if len(dict(read)) < len(read) or (kind == "ModuleList" and [n for n, _ in read] != _numbers(len(read))):
        raise FormError(f"{what}.children: expected other names")
    arguments = kinds.arguments(kind, given, what) if kind != OWN else fields(given, what, ())
    if arguments.get("num_layers", 0) > len(tensors):  # before anything grows with the number of layers
        raise FormError(f"{what}: {arguments['num_layers']} layers but {len(tensors)} tensors")
    return Part(kind, name, arguments, read, training)


def _numbers(count: int) -> list[str]:
    return [str(k) for k in range(count)]


def _child_name(name: Any, what: str) -> str:
    if "." in label(name, f"{what}.children"):
        raise FormError(f"{what}.children: expected a name without dots. Got {shown(name)}")
    return str(name)


def _check_size(parts: Sequence[Part]) -> None:
    """Refuse parts that hold each other too deep, or are shared so often that no walk over them would end."""
    ways, depth = [1] * len(parts), [1] * len(parts)
    for place in reversed(range(len(parts))):
        children = [child for _, child in parts[place].children]
        ways[place] += sum(ways[child] for child in children)
        depth[place] += max((depth[child] for child in children), default=0)
        if ways[place] > _MOST_PATHS or depth[place] > _MOST_DEEP:
            limits = f"{_MOST_DEEP} deep, with {_MOST_PATHS} paths to parts"
            raise FormError(f"modules: a file holds modules that are up to {limits}")


def _read_shared(value: Any, tensors: Tensors) -> dict[str, str]:
    if not isinstance(value, dict):
        raise FormError(f"shared: expected an object. Got {shown(value)}")
    for name, first in value.items():
        if name in tensors or not isinstance(first, str) or first not in tensors:
            raise FormError(f"shared: expected a new name for a tensor of the file. Got {shown(name)}")
    return value


def own_classes(structure: Structure) -> list[str]:
    """The outermost parts whose classes no file can hold, with where they are."""
    found: dict[str, str] = {}
    for place, path in structure.paths().items():
        part = structure.parts[place]
        if part.kind == OWN and not any(outer in found for outer in _outer(path)):
            found[path] = part.class_name
    return [f"{path}: {name}" if path else name for path, name in found.items()]


def _outer(path: str) -> list[str]:
    """The paths to all that holds what is at a path."""
    names = path.split(".")
    return ["", *(".".join(names[:k]) for k in range(1, len(names)))]
