"""`explain`: which path every recurrent layer took, why, and what would be faster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

from torch import nn

from gatewise.nn.accelerate import accelerate
from gatewise.nn.listening import listening
from gatewise.nn.notes import TORCH, Explained, Kernel, Notes


@final
@dataclass(frozen=True)
class Explanation:
    """What `explain` found, layer by layer; prints as a table and the advice below it."""

    layers: tuple[Explained, ...]

    def __getitem__(self, name: str) -> Explained:
        for layer in self.layers:
            if layer.name == name:
                return layer
        known = ", ".join(layer.name for layer in self.layers) or "none"
        raise KeyError(f"no layer {name!r} was explained. Explained: {known}")

    def __str__(self) -> str:
        if not self.layers:
            return "The model has no recurrent layers."
        return "\n".join([*_aligned([_HEAD, *map(_row, self.layers)]), *_remarks(self.layers)])


def explain(module: nn.Module, x: Any, hx: Any = None, **kwargs: Any) -> Explanation:
    """Call ``module(x)`` once and say how each recurrent layer in it was computed.

    It is a call like any other: dropout draws its numbers and statistics are updated. Of a layer that is
    called several times the last call is explained. Recurrent modules of `torch.nn` are named too.

    Args:
        module: a model, or a layer.
        x: its input.
        hx: its second argument, if given.
        kwargs: its other arguments.

    Raises:
        TypeError: `module` is no module.

    Example:
        >>> import gatewise, torch
        >>> layer = gatewise.nn.LSTM(3, 16).bfloat16()
        >>> explanation = gatewise.explain(layer, torch.randn(5, 2, 3).bfloat16())
        >>> explanation["l0"].runs_in
        'eager interpreter'
        >>> explanation["l0"].obstacles[0].reason
        'its tensors are torch.bfloat16'
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"explain: expected a torch.nn.Module, got {type(module).__name__}")
    notes = Notes(module)
    with listening(notes):
        module(x, **kwargs) if hx is None else module(x, hx, **kwargs)
    return Explanation((*notes.layers(), *_of_torch(module)))


def _of_torch(module: nn.Module) -> Iterable[Explained]:
    rows = accelerate.report(module).rows
    return (
        Explained(row.path, row.module, TORCH, faster=(f"left to torch: {row.why}",))
        for row in rows
        if row.runs_in == "torch"
    )


_HEAD = ("layer", "cell", "runs in", "type", "input", "H", "lanes", "threads", "chunk", "kept")


def _row(layer: Explained) -> tuple[str, ...]:
    shape = " x ".join(map(str, layer.input_shape))
    row = (layer.name, layer.what, layer.runs_in, layer.dtype, shape, str(layer.hidden_size or ""))
    if layer.kernel is None:
        return (*row, "", "", "", "")
    k = layer.kernel
    kept = _in_bytes(k.kept_gates + k.kept_states)
    return (*row, str(k.width), _threads(k), str(k.chunk), kept)


def _threads(kernel: Kernel) -> str:
    if kernel.side_by_side > 1:
        return f"{kernel.side_by_side} by directions"
    divided = f" by {'units' if kernel.by_units else 'rows'}" if kernel.threads > 1 else ""
    return f"{kernel.threads}{divided}"


def _in_bytes(n: int) -> str:
    return f"{n / 1e6:.1f} MB" if n >= 1e5 else f"{n / 1e3:.1f} kB" if n else "nothing"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _remarks(layers: Iterable[Explained]) -> list[str]:
    """Reasons and advice, each once, with the layers that it is about."""
    about: dict[str, list[str]] = {}
    for layer in layers:
        for obstacle in layer.obstacles:
            about.setdefault(f"not compiled, since {obstacle.reason}", []).append(layer.name)
        for sentence in layer.faster:
            about.setdefault(sentence, []).append(layer.name)
    return [f"{_few(names)}: {sentence}" for sentence, names in about.items()]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 4 else f"{names[0]} and {len(names) - 1} others"
