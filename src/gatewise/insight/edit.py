"""`edit`: a copy of a model with some values replaced: gates held, units silenced, values of another run."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import chain, count
from numbers import Real
from types import FunctionType
from typing import Any, TypeAlias, TypeVar, final

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gatewise.insight.watch import full_name, layers_of
from gatewise.language import Cell
from gatewise.language.graph import Graph, Node
from gatewise.language.rewrites import edited, of_value
from gatewise.nn.modules.edited import Edit, Edited, Which, chosen
from gatewise.nn.modules.layer import Layer
from gatewise.nn.modules.recurrent import Recurrent

_Model = TypeVar("_Model", bound=nn.Module)

# A new value: a number, a function of the old value, or values [H] or [T, B, H].
New: TypeAlias = float | Callable[[Any], Any] | Tensor


def edit(
    model: _Model,
    where: str | Sequence[str],
    new: Mapping[str, New] | None = None,
    /,
    *,
    units: Which | None = None,
    steps: Which | None = None,
    rows: Which | None = None,
    **names: New,
) -> _Model:
    """Copy a model, with some values of its cells replaced. The copy is compiled like any other model.

    Everything that reads a replaced value sees the new one, in the same step (an LSTM's `h` reads `c`) and in
    later ones. Where nothing is edited, and no edited value has been read, the kernels give the same bits as
    before, up to the sign of zeros; only a product that `layer_norm` normalises is rounded once more. Two
    names for one value (``h = c``) are edited together. Initial states are not edited.

    The new model shares its parameters and buffers with the old one: training one trains the other.
    `copy.deepcopy` of it has its own. It has the same `state_dict`, and can be watched, edited again and
    pickled. `gatewise.save` refuses it, as a model file holds only the equations of the cell.

    Args:
        model: any torch module that contains gatewise layers over sequences. It does not change.
        where: the layers, by name or pattern, as in `gatewise.watch`.
        units: the units to edit, as a slice or indices; by default all.
        steps: the steps to edit, counted in time (also in the backward direction) from the first step of each
            call. Negative numbers count from the end of the input, not of a row.
        rows: the rows of the batch to edit.
        names: the new values by name, ``f=1.0``. Each is a number; a function of the old value in the
            language, ``f=lambda f: 0.5 * f``; or values ``[H]`` or ``[T, B, H]``, such as those of another
            run. Values that are NaN (past the end of a row) are not edited.
        new: the same, for values whose name is also an argument: ``{"steps": 1.0}``.

    Raises:
        TypeError: `model` is not a module, no new value is given, or a new value has a wrong type.
        ValueError: a layer, value or unit does not exist; the layer is a single step; the value is projected;
            values have a wrong shape or are infinite. When the model is called: a step or row does not exist,
            or the given values have another number of steps or rows.
        CellError: the function breaks a rule of the language.

    Source: interventions by values of another run: Vig et al. 2020, "Investigating gender bias in language
    models using causal mediation analysis"; Geiger et al. 2021, "Causal abstractions of neural networks".

    Example:
        >>> import gatewise, torch
        >>> layer, x = gatewise.nn.LSTM(3, 8), torch.randn(20, 4, 3)
        >>> held = gatewise.edit(layer, "l0", f=1.0, steps=slice(5, 9))
        >>> with gatewise.watch(held) as seen:
        ...     output, _ = held(x)
        >>> bool((seen["l0"].f[5:9] == 1).all()), torch.equal(output[:5], layer(x)[0][:5])
        (True, True)
    """
    found, values = _found(model, where), {**(new or {}), **names}
    if not values:
        raise TypeError("edit: new values must be given by name, such as f=1.0. Got none.")
    paths = {module: path for path, module in model.named_modules()}
    model = _copied(model)
    for module, layers in found.items():
        own = model.get_submodule(paths[module])
        assert isinstance(own, Recurrent)
        for layer in layers:
            who = full_name(paths[module], layer)
            for name, value in values.items():
                changed = once_more(own, layer, who, name, value, units, steps, rows)
                own._edits = {**own._edits, layer: changed}
    return model


def _copied(model: _Model) -> _Model:
    """A copy of the modules that has its own edits, and shares all parameters and buffers."""
    shared = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    with _Computed():
        return copy.deepcopy(model, shared)


@final
class _Computed(TorchFunctionMode):
    """While active, `deepcopy` shares computed (non-leaf) tensors, which torch refuses to copy.

    Examples are the weights that `weight_norm` and pruning compute at each call, or a state that a model
    stores.
    """

    def __torch_function__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        computed = func is Tensor.__deepcopy__ and not args[0].is_leaf
        return args[0] if computed else func(*args, **(kwargs or {}))


def once_more(
    module: Recurrent,
    layer: str,
    who: str,
    name: str,
    new: New,
    units: Which | None = None,
    steps: Which | None = None,
    rows: Which | None = None,
) -> Edited:
    """The edits of a layer with one more added. Arguments and errors are as for `edit`."""
    before = module._edits_here.get(layer) or Edited(module._equations())
    cell = before.cell
    if name not in module.cell.values:
        known = ", ".join(module.cell.values)
        raise ValueError(f"edit: {who!r} ({cell.name}) has no value {name!r}. It has {known}.")
    called = before.name_of(name)
    if cell.values[called].op == "project":
        raise ValueError(f"edit: {name!r} of {who!r} is projected. Edit the values that it is computed from.")
    mask, H = _free_name(cell), module.hidden_size
    values, chosen_units = _given(name, new, H), chosen(units, H, f"edit: units of {who!r}")
    if values is not None and values.dim() == 1:
        chosen_units *= ~values.isnan().cpu()
    given = "" if values is None else f"{mask}_given"
    new_cell = edited(cell, called, _node(cell, called, new, given), mask, given)
    names = {value: f"{mask}_{value}" for value in module.cell.values if f"{mask}_{value}" in new_cell.values}
    edits = (*before.edits, Edit(name, chosen_units, steps, rows, values))
    return Edited(new_cell, edits, {**before.called, **names})


def _found(model: nn.Module, where: str | Sequence[str]) -> dict[Layer, list[str]]:
    """The layers that `where` selects, grouped by module."""
    patterns = [where] if isinstance(where, str) else where
    modules = layers_of(model, "edit")
    found: dict[Layer, list[str]] = {}
    known = []
    for path, module in modules.items():
        for layer in module._layer_names:
            known.append(full_name(path, layer))
            if any(fnmatchcase(known[-1], pattern) for pattern in patterns):
                found.setdefault(module, []).append(layer)
                if not isinstance(module, Recurrent):
                    raise ValueError(
                        f"edit: {known[-1]!r} is a single step; edit needs layers over sequences."
                    )
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise ValueError(f"edit: no layer has the name {pattern!r}. There are {', '.join(known)}.")
    return found


def _free_name(cell: Cell) -> str:
    """A new name that is not part of any name in the cell."""
    taken = " ".join([*cell.values, *cell.states, *(p.name for p in cell.parameters)])
    return next(f"edit_{n}" for n in count() if f"edit_{n}" not in taken)


def _node(cell: Cell, name: str, new: New, given: str) -> Node:
    """The new value as a node."""
    if given:
        return Graph().leaf("gate", given, "x")
    if isinstance(new, FunctionType):
        return of_value(cell, name, new)
    if not isinstance(new, Real) or not math.isfinite(new):
        raise TypeError(
            f"edit: {name} must be a finite number, a function or a tensor of values. Got {new!r}."
        )
    return Graph().constant(float(new))


def _given(name: str, new: New, H: int) -> Tensor | None:
    """A copy of the given values, or None if the new value is not a tensor."""
    if not isinstance(new, Tensor):
        return None
    if new.dim() not in (1, 3) or new.size(-1) != H:
        raise ValueError(
            f"edit: the values of {name} must have shape (hidden_size,) = ({H},) or (steps, rows, {H}). "
            f"Got {tuple(new.shape)}."
        )
    if new.isinf().any():
        raise ValueError(f"edit: the values of {name} must be finite. Got infinities.")
    return new.detach().clone()
