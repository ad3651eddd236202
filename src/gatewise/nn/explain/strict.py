"""`strict`: an error instead of a silent slow path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import final

from torch import Tensor

from gatewise.language import Cell
from gatewise.nn.walk.listening import INTERPRETER, TORCH, KernelCall, Listener, listening
from gatewise.nn.walk.obstacles import Obstacle
from gatewise.nn.walk.walk import Weights


@contextmanager
def strict() -> Iterator[None]:
    """Refuse slow paths in this thread while the context is open.

    The slow paths are the eager interpreter and torch's own operators, in forward and in backward, and copies
    that make the input, a state or a weight contiguous.

    Raises:
        RuntimeError: a call would take a slow path. The error names the cell, the reason and the remedy.

    Example:
        >>> import gatewise, torch
        >>> layer = gatewise.nn.GRU(3, 16)
        >>> with gatewise.strict():
        ...     _ = layer(torch.randn(5, 2, 3))
        >>> with gatewise.strict():
        ...     _ = layer(torch.randn(3, 2, 5).transpose(0, 2))
        Traceback (most recent call last):
        RuntimeError: strict: gru (3 inputs, 16 units) would copy the input: make it contiguous first.
    """
    with listening(_Refusing()):
        yield


_IN_WORDS = {INTERPRETER: "the eager interpreter", TORCH: "torch's own operator"}


@final
class _Refusing(Listener):
    def scan(self, cell: Cell, x: Tensor, weights: Weights, obstacles: Sequence[Obstacle], way: str) -> None:
        if obstacles:
            units, inputs = weights.weight_ih.shape
            who = _named(cell, inputs, units // len(cell.input_gates))
            reasons = "; ".join(f"{obstacle.reason} ({obstacle.remedy})" for obstacle in obstacles)
            raise RuntimeError(f"strict: {who} would run in {_IN_WORDS[way]}: {reasons}.")

    def kernel(self, call: KernelCall) -> None:
        for name in call.copied:
            who = _named(call.cell, call.inputs, call.units)
            raise RuntimeError(f"strict: {who} would copy {name}: make it contiguous first.")


def _named(cell: Cell, I: int, H: int) -> str:
    return f"{cell.name} ({I} inputs, {H} units)"
