"""How `look` runs a model: as it is used, and as a function from an input to one number a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from gatewise.insight.watch import layers_of
from gatewise.nn.layer import Layer

SQUARES = "the sum of squares of the last output"


@final
@dataclass(frozen=True)
class Run:
    """A model with its input.

    Attributes:
        model: in evaluation mode.
        x: ``[T, B, I]``, ``[B, T, I]`` with `batch_first`; of token ids ``[T, B]``, ``[B, T]``.
        lengths: ``[B]``, the steps of each row, if they differ.
        batch_first: which of the two.
        call: runs the model on an input.
        output: of what `call` gives, one number a row, ``[B]``.
    """

    model: nn.Module
    x: Tensor
    lengths: Sequence[int] | None
    batch_first: bool
    call: Callable[[Tensor], Any]
    output: Callable[[Any], Tensor]

    @property
    def steps(self) -> int:
        """T."""
        return self.x.size(1 if self.batch_first else 0)

    @property
    def rows(self) -> int:
        """B."""
        return self.x.size(0 if self.batch_first else 1)

    def score(self, x: Tensor) -> Tensor:
        """One number a row, ``[B]``."""
        return self.output(self.call(x))

    def explained(self) -> tuple[Callable[[Tensor], Tensor], Tensor, bool]:
        """What to attribute the score to: a function of a tensor, that tensor, and whether it is batch-first.

        That is the input; of token ids what they become on their way into the first recurrent layer.

        Raises:
            ValueError: the first layer is not given a padded batch.
        """
        if self.x.is_floating_point():
            return self.score, self.x, self.batch_first
        layer, given = self._first_input()
        if given.dim() != 3:
            raise ValueError("the first recurrent layer is given no padded batch")

        def score(vectors: Tensor) -> Tensor:
            with _given(layer, vectors):
                return self.score(self.x)

        return score, given, bool(getattr(layer, "batch_first", False))

    def _first_input(self) -> tuple[Layer, Tensor]:
        found: list[tuple[Layer, Tensor]] = []

        def keep(module: nn.Module, args: tuple[Any, ...]) -> None:
            assert isinstance(module, Layer)
            found.append((module, getattr(args[0], "data", args[0]).detach()))

        hooks = [layer.register_forward_pre_hook(keep) for layer in layers_of(self.model, "look").values()]
        try:
            with torch.no_grad():
                self.call(self.x)
        finally:
            for hook in hooks:
                hook.remove()
        return found[0]


def run_of(
    model: nn.Module,
    x: Tensor,
    lengths: Sequence[int] | Tensor | None,
    batch_first: bool | None,
    call: Callable[[Tensor], Any] | None,
    output: Callable[[Any], Tensor] | None,
) -> Run:
    """The arguments of `look`, checked; an input without a batch becomes one row."""
    first = next(iter(layers_of(model, "look").values()))
    if not isinstance(x, Tensor):
        raise TypeError(f"look: x must be a tensor. Got {type(x).__name__}.")
    rows_first = bool(getattr(first, "batch_first", False)) if batch_first is None else batch_first
    dims, came = 3 if x.is_floating_point() else 2, list(x.shape)
    if x.dim() == dims - 1:
        x = x.unsqueeze(0 if rows_first else 1)
    if x.dim() != dims or not x.numel():
        raise ValueError(f"look: x must be [T, B, I], or token ids [T, B], with steps and rows. Got {came}.")
    rows = x.size(0 if rows_first else 1)
    ends = None if lengths is None else [int(length) for length in lengths]
    steps = x.size(1 if rows_first else 0)
    if ends is not None and (len(ends) != rows or not 1 <= max(ends) <= steps or min(ends) < 0):
        wanted = f"one for each of {rows} rows, from 0 to {steps} steps, not all 0"
        raise ValueError(f"look: lengths must be {wanted}. Got {ends}.")
    given = {} if ends is None else {"lengths": ends}
    return Run(
        model, x.detach(), ends, rows_first, call or (lambda x: model(x, **given)),
        output or squares_of_last(ends, rows_first),
    )  # fmt: skip


@contextmanager
def _given(layer: Layer, vectors: Tensor) -> Iterator[None]:
    """The layer is given this and not what it is called with."""
    hook = layer.register_forward_pre_hook(lambda module, args: (vectors, *args[1:]))
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """In evaluation mode, and afterwards each module as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def squares_of_last(lengths: Sequence[int] | None, batch_first: bool) -> Callable[[Any], Tensor]:
    """The sum of squares of what a model gives for each row, at its last step if it gives steps."""

    def output(returned: Any) -> Tensor:
        found = _first_tensor(returned)
        if found.dim() == 3:
            found = found if batch_first else found.transpose(0, 1)  # [B, T, O]
            ends = torch.full((len(found),), found.size(1)) if lengths is None else torch.as_tensor(lengths)
            found = found[torch.arange(len(found)), (ends - 1).clamp_min(0)]
        return found.flatten(1).square().sum(1) if found.dim() > 1 else found.square()

    return output


def _first_tensor(returned: Any) -> Tensor:
    while isinstance(returned, tuple | list) and returned:
        returned = returned[0]
    if not isinstance(returned, Tensor):
        kind = type(returned).__name__
        raise ValueError(f"look: output must say which number to explain, the model gives a {kind}.")
    return returned
