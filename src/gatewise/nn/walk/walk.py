"""The arguments of a scan (`Walk`) and its results (`Scanned`)."""

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
    """The parameters of one layer in one direction, in the layout of `torch.nn`.

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
        """The existing parameters, as one list."""
        parts = (*self[:4], *self.vectors, *self[5:])
        return [part for part in parts if part is not None]

    def filled(self, tensors: Iterator[Tensor]) -> Weights:
        """Weights with the same fields, taken from `tensors`, which are in the order of `flat`."""
        return Weights(
            next(tensors),
            next(tensors),
            None if self.bias_ih is None else next(tensors),
            None if self.bias_hh is None else next(tensors),
            tuple([next(tensors) for _ in self.vectors]),
            None if self.weight_hr is None else next(tensors),
            None if self.weight_linear is None else next(tensors),
            None if self.bias_linear is None else next(tensors),
        )

    def emptied(self) -> Weights:
        """Weights with the same fields, but with empty tensors, to be `filled`."""
        parts = [
            (_BLANK,) * len(part) if isinstance(part, tuple) else None if part is None else _BLANK
            for part in self
        ]
        return Weights(*parts)  # type: ignore[arg-type]  # each field keeps its kind

    @classmethod
    def blank(cls, cell: Cell, biased: bool) -> Weights:
        """The weights that a cell has, with empty tensors, to be `filled`."""
        bias, linear = _BLANK if biased else None, _BLANK if cell.linears else None
        return cls(
            _BLANK, _BLANK, bias, bias, (_BLANK,) * len(cell.vectors), _BLANK if cell.projects else None,
            linear, None if linear is None else bias,
        )  # fmt: skip


class Walk(NamedTuple):
    """One layer in one direction over a sequence: the arguments of `gatewise.nn.scan.scan_together`.

    Autograd and operators of torch need all tensors as one list. Then a `blank` walk is passed beside this
    list, and `filled` with its tensors afterwards.
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
    chance: Chance | None = None  # the random seed; None in evaluation mode
    restart: tuple[Tensor, ...] | None = None  # the states of reset rows, by default `states`
    padding: Packing | None = None  # with `batch_sizes`: x, output and recorded values are padded
    inner: bool = False  # whether only gatewise reads the output
    lengths: Tensor | None = None  # of padded rows, if a tracer cannot know them
    layer: int = 0  # the number of the layer, in a stack whose layers overlap

    @property
    def arguments(self) -> list[Tensor]:
        """The tensors that may require a gradient: input, weights and initial states."""
        return [self.x, *self.weights.flat, *(self.states or ())]

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors that kernels read: the `arguments`, and the reset mask if there is one."""
        return self.arguments if self.reset is None else [*self.arguments, self.reset]

    def blank(self) -> Walk:
        """The walk with an empty tensor instead of each of its `tensors`."""
        assert self.restart is None
        return self._replace(
            x=_BLANK,
            weights=self.weights.emptied(),
            states=None if self.states is None else (_BLANK,) * len(self.states),
            reset=None if self.reset is None else _BLANK,
        )

    def filled(self, tensors: Iterator[Tensor]) -> Walk:
        """The walk with its `tensors` replaced by the next ones of an iterator."""
        return self._replace(
            x=next(tensors),
            weights=self.weights.filled(tensors),
            states=None if self.states is None else tuple([next(tensors) for _ in self.states]),
            reset=None if self.reset is None else next(tensors),
        )

    @classmethod
    def without_tensors(cls, cell: Cell, biased: bool, given: bool, **more: Any) -> Walk:
        """A `blank` walk. `given` tells whether it has initial states; `more` are other fields."""
        states = (_BLANK,) * len(cell.states) if given else None
        return cls(cell, _BLANK, Weights.blank(cell, biased), states, **more)

    @property
    def biased(self) -> bool:
        """Whether gates have biases."""
        return self.weights.bias_ih is not None

    @property
    def steps_and_rows(self) -> tuple[int, int]:
        """T and B. For packed data, B is the number of rows of the first step."""
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
        """The steps of packed data in the order of the walk; None for other data."""
        if self.padding is not None:
            return self.padding.steps(self.reverse)
        return None if self.batch_sizes is None else PackedSteps(self.batch_sizes, self.reverse)

    def packed(self) -> Walk:
        """The same walk over packed data; this one is over padded data."""
        assert self.padding is not None
        x = self.padding.pack(self.x, self.batch_first)
        return self._replace(x=x, batch_first=False, padding=None)


class Scanned(NamedTuple):
    """The results of a scan.

    ``output [T, B, H]``, the final ``states`` each ``[B, H]``, and ``recorded`` by name, each ``[T, B, H]``.
    """

    output: Tensor
    states: tuple[Tensor, ...]
    recorded: dict[str, Tensor]

    @property
    def differentiable(self) -> list[Tensor]:
        """The results with a gradient: the output and the final states."""
        return [self.output, *self.states]

    @property
    def flat(self) -> list[Tensor]:
        """All results as one list, in the order of `scanned`."""
        return [self.output, *self.states, *self.recorded.values()]

    def padded(self, walk: Walk) -> Scanned:
        """The results of the `packed` form of a walk, padded."""
        packing = walk.padding
        assert packing is not None
        recorded = {name: packing.pad_with_nan(values) for name, values in self.recorded.items()}
        return Scanned(packing.pad(self.output, walk.batch_first), self.states, recorded)


def scanned(walk: Walk, tensors: Iterator[Tensor]) -> Scanned:
    """The results of a walk, taken from an iterator of tensors."""
    output, states = next(tensors), tuple([next(tensors) for _ in walk.cell.states])
    return Scanned(output, states, {name: next(tensors) for name in walk.record})
