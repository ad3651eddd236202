"""Values that belong to the tensors of a walk: by name, and as flat lists for autograd and operators.

Each class here is made from an iterator, from which it takes as many items as it needs. So one iterator can
hold the items of several walks, and of several classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar, final

from torch import Tensor

from gatewise.nn.walk.walk import Walk

_T = TypeVar("_T")


@final
class Each(NamedTuple, Generic[_T]):
    """A value for each of `Walk.tensors`: its gradient, or whether a gradient is needed."""

    x: _T
    weights: tuple[_T, ...]  # in the order of `Weights.flat`
    states: tuple[_T, ...]
    resets: tuple[_T, ...]  # one for the mask, if there is one

    @classmethod
    def of(cls, walk: Walk, things: Iterator[_T]) -> Each[_T]:
        """Take the values from an iterator."""
        return cls(
            next(things),
            tuple([next(things) for _ in walk.weights.flat]),
            tuple([next(things) for _ in walk.states or ()]),
            () if walk.reset is None else (next(things),),
        )

    @property
    def flat(self) -> list[_T]:
        """All values, in the order of `Walk.tensors`."""
        return [self.x, *self.weights, *self.states, *self.resets]


@final
class ByResults(NamedTuple):
    """The gradients with respect to results; None for zeros. Recorded values have no gradient."""

    output: Tensor | None
    states: tuple[Tensor | None, ...]

    @classmethod
    def of(cls, walk: Walk, gradients: Iterator[Tensor | None]) -> ByResults:
        """Take the gradients from an iterator, and skip those of recorded values."""
        found = cls(next(gradients), tuple([next(gradients) for _ in walk.cell.states]))
        for _ in walk.record:
            next(gradients)
        return found

    @property
    def flat(self) -> list[Tensor | None]:
        """All gradients, in the order of `Scanned.differentiable`."""
        return [self.output, *self.states]


@final
class Tape(NamedTuple):
    """The tensors saved for backward: gates, means, and each state at every step, the output first."""

    gates: Tensor
    means: Tensor
    states: tuple[Tensor, ...]

    @classmethod
    def of(cls, walk: Walk, tensors: Iterator[Tensor]) -> Tape:
        """Take the tensors from an iterator."""
        return cls(next(tensors), next(tensors), tuple([next(tensors) for _ in walk.cell.states]))

    @property
    def flat(self) -> list[Tensor]:
        """All tensors as a list."""
        return [self.gates, self.means, *self.states]


def evenly(things: Sequence[Any], parts: int) -> list[Sequence[Any]]:
    """Divide a sequence into parts of equal length."""
    count = len(things) // parts
    return [things[part * count : (part + 1) * count] for part in range(parts)]
