"""`watch`: every named value of every recurrent layer, step by step, as the network computes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import final

from torch import Tensor, nn

from gatewise.language import Cell
from gatewise.nn.layer import Layer, Recorded


@final
class Values:
    """What one layer computed in its last call: each name of its cell as an attribute, ``[T, B, H]``.

    Pre-activations are called ``i_bar``, gates ``i``, states ``h``; `names` lists them. Tensors are detached.
    Past the end of a row (packed input) they are NaN.
    """

    def __init__(self, layer: str, cell: Cell, values: Mapping[str, Tensor]) -> None:
        self._layer = layer
        self._cell = cell
        self._values = {name: value.detach() for name, value in values.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values."""
        return tuple(self._values)

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("__"):  # asked by copy and pickle before there are any values
            raise AttributeError(name)
        if name not in self._values:
            known = ", ".join(self._values)
            raise AttributeError(
                f"{self._layer!r} ({self._cell.name}) has no value {name!r}. It has {known}."
            )
        return self._values[name]

    def __dir__(self) -> list[str]:
        return ["names", *self._values]

    def __repr__(self) -> str:
        shapes = {tuple(value.shape) for value in self._values.values()}
        return f"<{self._layer} ({self._cell.name}): {', '.join(self._values)}; {sorted(shapes)}>"


@final
class Seen(Mapping[str, Values]):
    """What was seen, by layer: ``seen["encoder.l0"].f``. Iterating gives the names of the layers."""

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

    def _put(self, path: str, recorded: Recorded) -> None:
        name = f"{path}.{recorded.layer}" if path else recorded.layer
        self._layers[name] = Values(name, recorded.cell, recorded.values)


@contextmanager
def watch(model: nn.Module) -> Iterator[Seen]:
    """Keep every named value of every gatewise layer in `model` while the context is open.

    Layers are called by the path of their module and ``l0``, ``l1``, ...; the second direction of a
    bidirectional layer ``l0_reverse``. The values come from the same scan as the output. A later call takes
    the place of an earlier one. Outside the context nothing is kept.

    Raises:
        TypeError: `model` is no module.
        ValueError: it has no gatewise layer.

    Example:
        >>> import gatewise, torch
        >>> layer = gatewise.nn.LSTM(3, 8)
        >>> with gatewise.watch(layer) as seen:
        ...     output, _ = layer(torch.randn(5, 2, 3))
        >>> list(seen), seen["l0"].f.shape
        (['l0'], torch.Size([5, 2, 8]))
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"watch: expected a torch.nn.Module, got {type(model).__name__}")
    layers = [(path, module) for path, module in model.named_modules() if isinstance(module, Layer)]
    if not layers:
        raise ValueError(_nothing_to_watch(model))
    seen = Seen()
    with ExitStack() as stack:
        for path, module in layers:
            stack.enter_context(module.recording(partial(seen._put, path)))
        yield seen


def _nothing_to_watch(model: nn.Module) -> str:
    theirs = (nn.RNNBase, nn.RNNCellBase)
    paths = [
        path or "the model itself" for path, module in model.named_modules() if isinstance(module, theirs)
    ]
    if not paths:
        return "watch: the model has no recurrent layer of gatewise"
    return (
        f"watch: the recurrent layers are torch's ({', '.join(paths)}); gatewise.accelerate(model) swaps them"
    )
