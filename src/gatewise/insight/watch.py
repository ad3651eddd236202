"""`watch`: records every named value of every recurrent layer while the network computes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

from gatewise.insight.passage import Passage
from gatewise.language import Cell
from gatewise.nn.modules.edited import Which
from gatewise.nn.modules.layer import Layer, Recorded
from gatewise.nn.modules.step import Step

if TYPE_CHECKING:
    from gatewise.insight.memory import HalfLife, Ledger, Saturation, TimeScale


@final
class Values:
    """The values of one layer in its last call: each name of its cell is an attribute, ``[T, B, H]``.

    Pre-activations have names like ``i_bar``, gates like ``i``, states like ``h``; `names` lists all. Values
    are NaN past the end of a row. ``values["h"]`` works for every name, even one that this class uses itself
    (a state named ``names``).
    """

    def __init__(
        self, layer: str, cell: Cell, values: Mapping[str, Tensor], passage: Passage | None = None
    ) -> None:
        self._layer = layer
        self._cell = cell
        self._values = dict(values)
        self._passage = passage

    @property
    def layer(self) -> str:
        """The name of the layer."""
        return self._layer

    @property
    def cell(self) -> Cell:
        """The equations of the layer."""
        return self._cell

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values."""
        return tuple(self._values)

    @property
    def passage(self) -> Passage:
        """The recorded run, with its input, weights and states.

        Raises:
            ValueError: a single step was recorded.
        """
        if self._passage is None:
            raise ValueError(f"{self._layer!r} is a single step; this needs a layer over a sequence.")
        return self._passage

    def ledger(self, state: str | None = None) -> Ledger:
        """As `gatewise.insight.memory.ledger`."""
        from gatewise.insight.memory import ledger

        return ledger(self, state)

    def half_life(self, state: str | None = None) -> HalfLife:
        """As `gatewise.insight.memory.half_life`."""
        from gatewise.insight.memory import half_life

        return half_life(self, state)

    def time_scale(self, state: str | None = None) -> TimeScale:
        """As `gatewise.insight.memory.time_scale`."""
        from gatewise.insight.memory import time_scale

        return time_scale(self, state)

    def saturation(self) -> Saturation:
        """As `gatewise.insight.memory.saturation`."""
        from gatewise.insight.memory import saturation

        return saturation(self)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._values:
            known = ", ".join(self._values)
            raise KeyError(f"{self._layer!r} ({self._cell.name}) has no value {name!r}. It has {known}.")
        return self._values[name]

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("__"):  # copy and pickle ask for these before any values exist
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *self._values]

    def __repr__(self) -> str:
        shapes = {tuple(value.shape) for value in self._values.values()}
        return f"<{self._layer} ({self._cell.name}): {', '.join(self._values)}; {sorted(shapes)}>"


@final
class Seen(Mapping[str, Values]):
    """The recorded values by layer: ``seen["encoder.l0"].f``. Iterating gives the names of the layers."""

    def __init__(self) -> None:
        self._layers: dict[str, Values] = {}

    def __getitem__(self, layer: str) -> Values:
        if layer not in self._layers:
            known = ", ".join(self._layers) or "none yet; call the model inside the with block"
            raise KeyError(f"no layer {layer!r} was seen. Seen: {known}")
        return self._layers[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

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
        seen._layers[name] = Values(name, recorded.cell, kept, None if single else passage.snapshot())

    return keep


def _all_known(found: Mapping[str, Layer], chosen: _Chosen) -> None:
    """Refuse names of layers and values that do not exist."""
    known = [full_name(path, layer) for path, module in found.items() for layer in module._layer_names]
    for pattern in chosen.layers or ():
        if not any(fnmatchcase(name, pattern) for name in known):
            raise ValueError(f"watch: no layer is called {pattern!r}. There are {', '.join(known)}.")
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
