"""What goes into a scan and what comes out of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatewise.language import Cell
from gatewise.nn.walk.packed_steps import PackedSteps
from gatewise.nn.walk.packing import Packing
from gatewise.nn.walk.random import Chance

_BLANK = torch.empty(0, device="cpu")


class Weights(NamedTuple):
    """The parameters of one layer in one direction, as `torch.nn` lays them out.

    ``weight_ih [Gx*H, I]``, ``weight_hh [Gh*H, P or H]``, ``bias_ih [Gx*H]``, ``bias_hh [Gh*H]``, ``vectors``
    each ``[H]``, ``weight_hr [P, H]``, ``weight_linear [N*H, H]``, ``bias_linear [N*H]``; Gx and Gh count the
    cell's `input_gates` and `state_gates`, N its `linears`.
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None = None
    bias_hh: Tensor | None = None
    vectors: tuple[Tensor, ...] = ()
    weight_hr: Tensor | None = None
    weight_linear: Tensor | None = None
    bias_linear: Tensor | None = None

    @property
    def flat(self) -> list[Tensor]:
        """Those there are, in one sequence."""
        parts = (*self[:4], *self.vectors, *self[5:])
        return [part for part in parts if part is not None]

    def filled(self, tensors: Iterator[Tensor]) -> Weights:
        """Weights of the same kind, the next of `tensors`, which are in the order of `flat`."""
        parts = [
            tuple([next(tensors) for _ in part]) if isinstance(part, tuple)
            else None if part is None else next(tensors)
            for part in self
        ]  # fmt: skip
        return Weights(*parts)  # type: ignore[arg-type]  # each field keeps its kind

    def emptied(self) -> Weights:
        """Weights of the same kind without elements, to be `filled`."""
        parts = [
            (_BLANK,) * len(part) if isinstance(part, tuple) else None if part is None else _BLANK
            for part in self
        ]
        return Weights(*parts)  # type: ignore[arg-type]  # each field keeps its kind

    @classmethod
    def blank(cls, cell: Cell, biased: bool) -> Weights:
        """Those that a cell has, without elements, to be `filled`."""
        bias, linear = _BLANK if biased else None, _BLANK if cell.linears else None
        return cls(
            _BLANK, _BLANK, bias, bias, (_BLANK,) * len(cell.vectors), _BLANK if cell.projects else None,
            linear, None if linear is None else bias,
        )  # fmt: skip


class Walk(NamedTuple):
    """One layer in one direction over a sequence: what `gatewise.nn.scan.scan_together` is asked to do.

    It stays whole on its way to the kernels. Where autograd or an operator of torch wants the tensors by
    themselves, in one sequence, the walk goes beside them as a `blank`, and is `filled` behind that place.
    """

    cell: Cell
    x: Tensor
    weights: Weights
    states: tuple[Tensor, ...] | None = None
    reverse: bool = False
    batch_first: bool = False
    record: Sequence[str] = ()
    reset: Tensor | None = None
    batch_sizes: Tensor | None = None
    chance: Chance | None = None  # what is random in the cell; none: as outside of training
    restart: tuple[Tensor, ...] | None = None  # what reset rows begin from; none: from `states`
    padding: Packing | None = None  # with `batch_sizes`: x, output and values come padded all the same
    inner: bool = False  # its output is not handed out, so nobody changes it in place
    lengths: Tensor | None = None  # of padded rows, where a tracer cannot know them; else `batch_sizes`
    layer: int = 0  # of a stack whose layers overlap

    @property
    def arguments(self) -> list[Tensor]:
        """The tensors that may want a gradient: input, weights and initial states."""
        return [self.x, *self.weights.flat, *(self.states or ())]

    @property
    def tensors(self) -> list[Tensor]:
        """All that kernels read: the `arguments`, and the mask of resets if there is one."""
        return self.arguments if self.reset is None else [*self.arguments, self.reset]

    def blank(self) -> Walk:
        """The walk without its `tensors`: each has one without elements in its place."""
        assert self.restart is None
        return self._replace(
            x=_BLANK,
            weights=self.weights.emptied(),
            states=None if self.states is None else (_BLANK,) * len(self.states),
            reset=None if self.reset is None else _BLANK,
        )

    def filled(self, tensors: Iterator[Tensor]) -> Walk:
        """The walk with the next of `tensors` in the place of its own."""
        return self._replace(
            x=next(tensors),
            weights=self.weights.filled(tensors),
            states=None if self.states is None else tuple([next(tensors) for _ in self.states]),
            reset=None if self.reset is None else next(tensors),
        )

    @classmethod
    def without_tensors(cls, cell: Cell, biased: bool, given: bool, **more: Any) -> Walk:
        """A `blank` walk. `given` says whether it has initial states; `more` are other fields."""
        states = (_BLANK,) * len(cell.states) if given else None
        return cls(cell, _BLANK, Weights.blank(cell, biased), states, **more)

    @property
    def biased(self) -> bool:
        """Whether gates have biases."""
        return self.weights.bias_ih is not None

    @property
    def steps_and_rows(self) -> tuple[int, int]:
        """T and B, packed the rows of the first step."""
        if self.batch_sizes is not None:
            return len(self.batch_sizes), int(self.batch_sizes[0])
        first, second = self.x.shape[:2]
        return (second, first) if self.batch_first else (first, second)

    @property
    def units(self) -> int:
        """H."""
        return self.weights.weight_ih.size(0) // len(self.cell.input_gates)

    @property
    def packed_steps(self) -> PackedSteps | None:
        """How packed steps are walked over, if they are packed."""
        if self.padding is not None:
            return self.padding.steps(self.reverse)
        return None if self.batch_sizes is None else PackedSteps(self.batch_sizes, self.reverse)

    def packed(self) -> Walk:
        """The walk over packed data in place of this one over padded data."""
        assert self.padding is not None
        x = self.padding.pack(self.x, self.batch_first)
        return self._replace(x=x, batch_first=False, padding=None)


class Scanned(NamedTuple):
    """What a scan gives.

    ``output [T, B, H]``, the final ``states`` each ``[B, H]``, and ``recorded`` by name, each ``[T, B, H]``.
    """

    output: Tensor
    states: tuple[Tensor, ...]
    recorded: dict[str, Tensor]

    @property
    def differentiable(self) -> list[Tensor]:
        """Those that have a gradient: the output and the final states."""
        return [self.output, *self.states]

    @property
    def flat(self) -> list[Tensor]:
        """All in one sequence, as `scanned` takes it."""
        return [self.output, *self.states, *self.recorded.values()]

    def padded(self, walk: Walk) -> Scanned:
        """What was found by the packed walk in place of this one, padded."""
        packing = walk.padding
        assert packing is not None
        recorded = {name: packing.pad_with_nan(values) for name, values in self.recorded.items()}
        return Scanned(packing.pad(self.output, walk.batch_first), self.states, recorded)


def scanned(walk: Walk, tensors: Iterator[Tensor]) -> Scanned:
    """What a walk gives, of the next of `tensors`."""
    output, states = next(tensors), tuple([next(tensors) for _ in walk.cell.states])
    return Scanned(output, states, {name: next(tensors) for name in walk.record})
