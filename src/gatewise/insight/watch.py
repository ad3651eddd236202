"""`watch`: records every named value of every recurrent layer while the network computes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import final

import torch
from torch import Tensor, nn

from gatewise.insight import memory, notebook
from gatewise.insight.passage import Passage
from gatewise.insight.values import Values
from gatewise.nn.modules.edited import Which
from gatewise.nn.modules.layer import Layer, Recorded
from gatewise.nn.modules.step import Step


@final
class LayerValues(Values):
    """`Values` that `watch` recorded, with the analyses of `gatewise.insight.memory` as methods."""

    def _repr_html_(self) -> str:
        """What a Jupyter notebook shows: a picture of each gate and state."""
        return notebook.shown([self])

    def ledger(self, state: str | None = None) -> memory.Ledger:
        """As `gatewise.insight.memory.ledger`."""
        return memory.ledger(self, state)

    def half_life(self, state: str | None = None) -> memory.HalfLife:
        """As `gatewise.insight.memory.half_life`."""
        return memory.half_life(self, state)

    def time_scale(self, state: str | None = None) -> memory.TimeScale:
        """As `gatewise.insight.memory.time_scale`."""
        return memory.time_scale(self, state)

    def saturation(self) -> memory.Saturation:
        """As `gatewise.insight.memory.saturation`."""
        return memory.saturation(self)


@final
class Seen(Mapping[str, LayerValues]):
    """The recorded values by layer: ``seen["encoder.l0"].f``. Iterating gives the names of the layers."""

    def __init__(self) -> None:
        self._layers: dict[str, LayerValues] = {}

    def __getitem__(self, layer: str) -> LayerValues:
        if layer not in self._layers:
            known = ", ".join(self._layers) or "none yet; call the model inside the with block"
            raise KeyError(f"no layer {layer!r} was seen. Seen: {known}")
        return self._layers[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def _repr_html_(self) -> str:
        """What a Jupyter notebook shows: a picture of each gate and state."""
        return notebook.shown(self._layers.values())

    def __repr__(self) -> str:
        return "\n".join(map(repr, self._layers.values())) or "<nothing seen>"


@contextmanager
def watch(
    model: nn.Module,
    names: str | Sequence[str] | None = None,
    layers: str | Sequence[str] | None = None,
    units: Which | None = None,
    steps: Which | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    grad: bool = False,
) -> Iterator[Seen]:
    """Context manager that records the named values of all gatewise layers in `model`, in this thread.

    A layer is named by the path of its module and ``l0``, ``l1``, ...; the second direction of a
    bidirectional layer is ``l0_reverse``. The values come from the same scan as the output. A later call of a
    layer replaces the values of an earlier one. All values of a call share one block of memory: clone a value
    that you want to keep without the others. Outside the context nothing is recorded, at no cost. Calls in
    other threads are not recorded.

    Args:
        model: any torch module that contains gatewise layers.
        names: the values to record, such as ``["f", "c"]``; by default all.
        layers: the layers, by name or pattern, such as ``"encoder.*"``; by default all.
        units: the units to record, as a slice or indices of the last axis.
        steps: the steps to record, as a slice or indices of the first axis.
        device: the device of the recorded values.
        dtype: the element type of the recorded values.
        grad: whether gradients flow through the values to input and weights. The values then come from a
            second run by the eager interpreter. Otherwise they are detached.

    Raises:
        TypeError: `model` is not a module.
        ValueError: the model has no gatewise layer, or a name of a layer or value does not exist.

    Example:
        >>> import gatewise, torch
        >>> layer = gatewise.nn.LSTM(3, 8)
        >>> with gatewise.watch(layer, names=["f", "c"]) as seen:
        ...     output, _ = layer(torch.randn(5, 2, 3))
        >>> list(seen), seen["l0"].names, seen["l0"].f.shape
        (['l0'], ('f', 'c'), torch.Size([5, 2, 8]))
    """
    found = layers_of(model, "watch")
    chosen = _Chosen(_listed(names), _listed(layers), units, steps, device, dtype, grad)
    _all_known(found, chosen)
    seen = Seen()
    with ExitStack() as stack:
        for path, module in found.items():
            recorded = [] if grad else [name for name in module.cell.values if chosen.takes(name)]
            stack.enter_context(module.recording(_keeper(seen, path, module, chosen), recorded))
        yield seen


def layers_of(model: nn.Module, who: str) -> dict[str, Layer]:
    """The gatewise layers in a model, by path.

    Raises:
        TypeError: `model` is not a module.
        ValueError: the model has no gatewise layer.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{who}: model must be a torch.nn.Module. Got {type(model).__name__}.")
    found = {path: module for path, module in model.named_modules() if isinstance(module, Layer)}
    if not found:
        raise ValueError(f"{who}: {_nothing_to_watch(model)}")
    return found


def full_name(path: str, layer: str) -> str:
    """The name of a layer in a model: ``encoder.l0``."""
    return f"{path}.{layer}" if path else layer


@dataclass(frozen=True)
class _Chosen:
    """The arguments of `watch`."""

    names: Sequence[str] | None
    layers: Sequence[str] | None
    units: Which | None
    steps: Which | None
    device: torch.device | str | None
    dtype: torch.dtype | None
    grad: bool

    def takes(self, name: str) -> bool:
        return self.names is None or name in self.names

    def sees(self, layer: str) -> bool:
        return self.layers is None or any(fnmatchcase(layer, pattern) for pattern in self.layers)

    def part(self, value: Tensor) -> Tensor:
        """The recorded part of a value ``[T, B, H]``."""
        part = value if self.grad else value.detach()
        part = part if self.steps is None else part[self.steps]
        part = part if self.units is None else part[..., self.units]
        part = part.to(device=self.device, dtype=self.dtype)
        shared = part.numel() < value.numel() and part._is_view()
        return part.clone() if shared else part  # so that the memory of the other values is freed


def _keeper(seen: Seen, path: str, module: Layer, chosen: _Chosen) -> Callable[[Recorded], None]:
    def keep(recorded: Recorded) -> None:
        name = full_name(path, recorded.layer)
        if not chosen.sees(name):
            return
        passage, values = Passage.of(name, recorded), recorded.values
        if chosen.grad:
            values = passage.compute(passage.values(recorded.cell.values))
        kept = {n: chosen.part(value) for n, value in values.items() if chosen.takes(n)}
        single = isinstance(module, Step)
        seen._layers[name] = LayerValues(name, recorded.cell, kept, None if single else passage.snapshot())

    return keep


def _all_known(found: Mapping[str, Layer], chosen: _Chosen) -> None:
    """Refuse names of layers and values that do not exist."""
    known = [full_name(path, layer) for path, module in found.items() for layer in module._layer_names]
    for pattern in chosen.layers or ():
        if not any(fnmatchcase(name, pattern) for name in known):
            raise ValueError(f"watch: no layer has the name {pattern!r}. There are {', '.join(known)}.")
    values = list(dict.fromkeys(name for module in found.values() for name in module.cell.values))
    for name in chosen.names or ():
        if name not in values:
            raise ValueError(f"watch: no layer has a value {name!r}. There are {', '.join(values)}.")


def _listed(names: str | Sequence[str] | None) -> Sequence[str] | None:
    return [names] if isinstance(names, str) else names


def _nothing_to_watch(model: nn.Module) -> str:
    theirs = (nn.RNNBase, nn.RNNCellBase)
    paths = [
        path or "the model itself" for path, module in model.named_modules() if isinstance(module, theirs)
    ]
    if not paths:
        return "the model has no recurrent layer of gatewise"
    return f"the recurrent layers are torch's ({', '.join(paths)}); gatewise.accelerate(model) swaps them"
