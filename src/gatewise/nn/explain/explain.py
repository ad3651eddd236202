"""`explain`: how each recurrent layer was computed, why, and what would make it faster."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import nn

from gatewise.nn.explain.found import Explained, Kernel, in_bytes
from gatewise.nn.explain.notes import Notes
from gatewise.nn.explain.theirs import Theirs
from gatewise.nn.walk.listening import listening


@final
@dataclass(frozen=True, repr=False)
class Explanation:
    """The result of `explain` for each layer. It prints as a table, with remarks and advice below."""

    layers: tuple[Explained, ...]

    def __getitem__(self, name: str) -> Explained:
        for layer in self.layers:
            if layer.name == name:
                return layer
        known = ", ".join(layer.name for layer in self.layers) or "none"
        raise KeyError(f"no layer {name!r} was explained. Explained: {known}")

    def __repr__(self) -> str:
        if not self.layers:
            return "The model has no recurrent layers."
        below = _below(self.layers)
        return "\n".join([*_aligned([_HEAD, *map(_row, self.layers)]), *([""] if below else []), *below])


def explain(module: nn.Module, /, *inputs: Any, **kwargs: Any) -> Explanation:
    """Call ``module(*inputs, **kwargs)`` once and report how each recurrent layer in it was computed.

    The call has all effects of an ordinary call: dropout draws random numbers, and running statistics are
    updated. If a layer is called several times, the report is about its last call. Recurrent modules of
    `torch.nn` are reported too. A model from `torch.compile` is called uncompiled, with the same kernels.
    Calls from other threads are not reported.

    Args:
        module: a model or a layer.
        inputs: the arguments of the call.
        kwargs: the keyword arguments of the call.

    Returns:
        An `Explanation`, with one `Explained` for each layer and direction.

    Raises:
        TypeError: `module` is not a module.

    Example:
        >>> import gatewise, torch
        >>> layer = gatewise.nn.LSTM(3, 16).bfloat16()
        >>> explanation = gatewise.explain(layer, torch.randn(5, 2, 3).bfloat16())
        >>> explanation["l0"].runs_in
        'torch'
        >>> explanation["l0"].obstacles[0].reason
        'its tensors are torch.bfloat16'
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"explain: model must be a torch.nn.Module. Got {type(module).__name__}.")
    notes, theirs = Notes(module), Theirs(module)
    with listening(notes), theirs.heard(), _uncompiled():
        module(*inputs, **kwargs)
    return Explanation((*notes.layers(), *theirs.layers()))


@contextmanager
def _uncompiled() -> Iterator[None]:
    """Run models from `torch.compile` uncompiled: the compiled graph calls kernels, but has no layers."""
    set_stance = getattr(torch.compiler, "set_stance", None)  # since torch 2.6
    with _STANCE, set_stance("force_eager") if set_stance else nullcontext():
        yield


# The stance of torch is global. If two threads set it at the same time, the old stance would be lost.
_STANCE = threading.RLock()


_HEAD = ("layer", "cell", "runs in", "type", "input", "H", "lanes", "threads", "chunk", "kept")


def _row(layer: Explained) -> tuple[str, ...]:
    shape = " x ".join(map(str, layer.input_shape))
    row = (layer.name, layer.what, layer.runs_in, layer.dtype, shape, str(layer.hidden_size or ""))
    if layer.kernel is None:
        return (*row, "", "", "", "")
    k = layer.kernel
    return (*row, str(k.width), _threads(k), str(k.chunk), in_bytes(k.kept_gates + k.kept_states))


def _threads(kernel: Kernel) -> str:
    if kernel.side_by_side > 1:
        return f"{kernel.side_by_side} side by side"
    divided = f" by {'units' if kernel.by_units else 'rows'}" if kernel.threads > 1 else ""
    return f"{kernel.threads}{divided}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _below(layers: Iterable[Explained]) -> list[str]:
    """Reasons, remarks and advice: each sentence once, after the names of its layers."""
    about: dict[str, list[str]] = {}
    for layer in layers:
        for sentence in _sentences(layer):
            about.setdefault(sentence, []).append(layer.name)
    return [f"{_few(names)}: {sentence}" for sentence, names in about.items()]


def _sentences(layer: Explained) -> Iterator[str]:
    yield from (f"not compiled, since {found.reason}: {found.remedy}" for found in layer.obstacles)
    yield from layer.remarks
    remedies = {obstacle.remedy for obstacle in layer.obstacles}
    yield from (sentence for sentence in layer.faster if sentence not in remedies)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 4 else f"{names[0]} and {len(names) - 1} others"
