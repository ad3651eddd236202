"""What belongs to the tensors of a walk, by name, and as the flat sequences that autograd and operators want.

Each kind is made of an iterator, from which it takes what it holds: so the parts of several walks, or of
several kinds, in one sequence are taken from one iterator.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar, final

from torch import Tensor

from gatewise.nn.walk.walk import Walk

_T = TypeVar("_T")


@final
class Each(NamedTuple, Generic[_T]):
    """Something for each of `Walk.tensors`: a gradient, or whether it is needed."""

    x: _T
    weights: tuple[_T, ...]  # in the order of `Weights.flat`
    states: tuple[_T, ...]
    resets: tuple[_T, ...]  # one for the mask, if there is one

    @classmethod
    def of(cls, walk: Walk, things: Iterator[_T]) -> Each[_T]:
        """The next of `things`."""
        return cls(
            next(things),
            tuple(next(things) for _ in walk.weights.flat),
            tuple(next(things) for _ in walk.states or ()),
            () if walk.reset is None else (next(things),),
        )

    @property
    def flat(self) -> list[_T]:
        """In the order of `Walk.tensors`."""
        return [self.x, *self.weights, *self.states, *self.resets]


@final
class ByResults(NamedTuple):
    """The gradients of results, None for zeros. Recorded values have none."""

    output: Tensor | None
    states: tuple[Tensor | None, ...]

    @classmethod
    def of(cls, walk: Walk, gradients: Iterator[Tensor | None]) -> ByResults:
        """The next of `gradients`, of which those of recorded values are left out."""
        found = cls(next(gradients), tuple(next(gradients) for _ in walk.cell.states))
        for _ in walk.record:
            next(gradients)
        return found

    @property
    def flat(self) -> list[Tensor | None]:
        """In the order of `Scanned.differentiable`."""
        return [self.output, *self.states]


@final
class Tape(NamedTuple):
    """What forward saves for backward: gates, means, and each state at every step, the output first."""

    gates: Tensor
    means: Tensor
    states: tuple[Tensor, ...]

    @classmethod
    def of(cls, walk: Walk, tensors: Iterator[Tensor]) -> Tape:
        """The next of `tensors`."""
        return cls(next(tensors), next(tensors), tuple(next(tensors) for _ in walk.cell.states))

    @property
    def flat(self) -> list[Tensor]:
        """All of them."""
        return [self.gates, self.means, *self.states]


def evenly(things: Sequence[Any], parts: int) -> list[Sequence[Any]]:
    """As many things for each part."""
    count = len(things) // parts
    return [things[part * count : (part + 1) * count] for part in range(parts)]
