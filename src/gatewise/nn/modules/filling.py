"""The modules for a structure, made new or found in a model, and the destination of each tensor of a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from gatewise.language import Cell
from gatewise.language.form import same
from gatewise.language.form_reading import FormError
from gatewise.nn.modules import kinds
from gatewise.nn.modules.structure import OWN, Held, Part, Structure, joined, of, ordered, own_tensors
from gatewise.runtime.model_file import Tensors


def made(structure: Structure) -> list[nn.Module]:
    """Make the modules of a structure, on the meta device (without memory), in the order of its parts.

    Raises:
        FormError: a part has a class that a file cannot describe, or torch refuses its arguments.
    """
    paths = structure.paths()
    found: dict[int, nn.Module] = {}
    for place in reversed(range(len(structure.parts))):
        part = structure.parts[place]
        try:
            module = kinds.made(part.kind, part.arguments)
            for name, child in part.children:
                module.add_module(name, found[child])
        except Exception as error:  # any exception: each module of torch has its own checks
            where = paths[place] or part
            raise FormError(f"{where}: torch cannot make a {part} from these arguments: {error}") from error
        module.training = part.training
        found[place] = module
    return [found[place] for place in range(len(structure.parts))]


def corresponding(structure: Structure, model: nn.Module) -> list[nn.Module]:
    """Find the module of `model` for each part of `structure`.

    Raises:
        ValueError: the model has other modules, other arguments or other equations.
    """
    modules, theirs = ordered(model), of(model)[0].parts
    paths, found, taken, ahead = structure.paths(), dict[int, int](), dict[int, int](), [(0, 0)]
    while ahead:
        place, other = ahead.pop()
        path = paths[place] or "the whole"
        if place in found or other in taken:
            if found.get(place) != other or taken.get(other) != place:
                raise ValueError(f"{path}: a module is shared in the file or in the model, but not in both")
            continue
        found[place], taken[other] = other, place
        _compare(path, structure.parts[place], theirs[other])
        children = dict(theirs[other].children)
        ahead += [(child, children[name]) for name, child in structure.parts[place].children]
    return [modules[found[place]] for place in range(len(structure.parts))]


def _compare(path: str, part: Part, other: Part) -> None:
    """Refuse two parts with different kinds, children or arguments. Arguments for training may differ."""
    if part.kind != other.kind:
        raise ValueError(f"{path}: the file has a {part}, the model a {other}")
    mine, theirs = ([name for name, _ in each.children] for each in (part, other))
    if (mine != theirs) if part.kind == "Sequential" else (sorted(mine) != sorted(theirs)):
        raise ValueError(f"{path}: the file has the parts {_listed(mine)}, the model {_listed(theirs)}")
    if part.kind == OWN:
        return
    arguments = kinds.arguments(other.kind, other.arguments, path)
    for name in part.arguments.keys() | arguments.keys():
        _compare_argument(f"{path}: {part}", name, part.arguments.get(name), arguments.get(name))


def _compare_argument(where: str, name: str, mine: Any, theirs: Any) -> None:
    if isinstance(mine, Cell):
        if not same(mine, theirs):
            both = f"the file has those of {mine.name!r}, the model those of {theirs.name!r}"
            raise ValueError(f"{where} has other equations: {both}")
    elif mine != theirs and name not in kinds.IN_TRAINING:
        raise ValueError(f"{where} has {name} {mine} in the file, {theirs} in the model")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def held_by(structure: Structure, modules: Sequence[nn.Module], tensors: Tensors) -> dict[str, list[Held]]:
    """Find the destinations of each tensor of a file: the tensors of `modules` that get its numbers.

    Raises:
        ValueError: a tensor is missing, not used, or has another shape or type.
    """
    found: dict[str, list[Held]] = {name: [] for name in tensors}
    of_tensor: dict[int, str] = {}
    names = set[str]()
    for place, path in structure.paths().items():
        for name, held in own_tensors(modules[place]).items():
            full = joined(path, name)
            names.add(full)
            first = structure.shared.get(full, full)
            if first not in found:
                raise ValueError(f"{full}: the tensor is missing in the file")
            if held.tensor.shape != tensors[first].shape:
                shapes = f"{tuple(held.tensor.shape)}. Got {tensors[first].shape}"
                raise ValueError(f"{full} must have shape {shapes}")
            if of_tensor.setdefault(id(held.tensor), first) != first:
                other = of_tensor[id(held.tensor)]
                raise ValueError(f"{full} is the same tensor as {other} in the model, but not in the file")
            found[first].append(held)
    unused = [name for name, places in found.items() if not places] + sorted(structure.shared.keys() - names)
    if unused:
        raise ValueError(f"{unused[0]}: the file has this tensor, but the model has not")
    return found
