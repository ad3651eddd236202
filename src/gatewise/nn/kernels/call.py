"""What a scan asks of the kernels, apart from its tensors, and these in one sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from gatewise.language import Cell
from gatewise.nn.walk.packed_steps import PackedSteps
from gatewise.nn.walk.packing import Packing
from gatewise.nn.walk.random import Chance
from gatewise.nn.walk.walk import Walk, Weights


class Call(NamedTuple):
    """What a scan is asked to do, apart from its tensors."""

    cell: Cell
    reverse: bool
    batch_first: bool
    record: tuple[str, ...]
    biased: bool
    reset: Tensor | None
    batch_sizes: Tensor | None
    given: bool  # whether initial states are
    chance: Chance | None
    padding: Packing | None = None  # x and output lie padded; what is kept besides, packed
    layer: int = 0  # of a stack whose layers overlap
    restart: tuple[Tensor, ...] | None = None  # what reset rows begin from, if not from the initial states
    inner: bool = False  # its output is not handed out; else backward reads one of its own

    @classmethod
    def of(cls, walk: Walk) -> Call:
        """The call that makes a walk, from whose own initial states reset rows begin."""
        assert walk.restart is None
        biased, given = walk.weights.bias_ih is not None, walk.states is not None
        return cls(
            walk.cell, walk.reverse, walk.batch_first, tuple(walk.record), biased,
            walk.reset, walk.batch_sizes, given, walk.chance, walk.padding, inner=walk.inner,
        )  # fmt: skip

    @property
    def lane(self) -> int:
        """Calls that run side by side, directions or layers, have scratch memory of different lanes."""
        return 2 * self.layer + self.reverse

    @property
    def tensors(self) -> int:
        """How many tensors it takes."""
        linear = (1 + self.biased) * bool(self.cell.linears)
        weights = 2 + 2 * self.biased + len(self.cell.vectors) + self.cell.projects + linear
        return 1 + weights + len(self.cell.states) * self.given

    @property
    def steps(self) -> PackedSteps | None:
        """How packed steps are walked over, if they are packed."""
        if self.padding is not None:
            return self.padding.steps(self.reverse)
        return None if self.batch_sizes is None else PackedSteps(self.batch_sizes, self.reverse)

    def unpack(self, tensors: Sequence[Tensor]) -> tuple[Tensor, Weights, tuple[Tensor, ...]]:
        """x, weights and states from their flat sequence (the inverse of `flat`)."""
        x, weight_ih, weight_hh, *rest = tensors
        bias_ih, bias_hh = (rest.pop(0), rest.pop(0)) if self.biased else (None, None)
        vectors = tuple(rest[: len(self.cell.vectors)])
        del rest[: len(vectors)]
        weight_hr = rest.pop(0) if self.cell.projects else None
        weight_linear = rest.pop(0) if self.cell.linears else None
        bias_linear = rest.pop(0) if self.cell.linears and self.biased else None
        weights = Weights(
            weight_ih, weight_hh, bias_ih, bias_hh, vectors, weight_hr, weight_linear, bias_linear
        )
        return x, weights, tuple(rest)


def resets(calls: Sequence[Call]) -> list[Tensor]:
    """The reset masks of calls, all of which have one or none has: backward reads them too."""
    return [call.reset for call in calls if call.reset is not None]


def with_resets(calls: Sequence[Call], masks: Sequence[Tensor]) -> list[Call]:
    """Calls with their reset masks; none where there are none."""
    if not masks:
        return list(calls)
    return [call._replace(reset=mask) for call, mask in zip(calls, masks, strict=True)]


def flat(x: Tensor, weights: Weights, states: Sequence[Tensor]) -> list[Tensor]:
    """The tensors of a call in one sequence, as autograd wants them."""
    return [x, *weights.flat, *states]
