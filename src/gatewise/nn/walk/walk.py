"""What goes into a scan and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from gatewise.language import Cell
from gatewise.nn.walk.packing import Packing
from gatewise.nn.walk.random import Chance


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


class Walk(NamedTuple):
    """One layer in one direction over a sequence: what `gatewise.nn.scan.scan_together` is asked to do."""

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

    @property
    def tensors(self) -> list[Tensor]:
        """All that kernels read of it, the input first."""
        reset = () if self.reset is None else (self.reset,)
        return [self.x, *(self.states or ()), *self.weights.flat, *reset]

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

    def padded(self, walk: Walk) -> Scanned:
        """What was found by the packed walk in place of this one, padded."""
        packing = walk.padding
        assert packing is not None
        recorded = {name: packing.pad_with_nan(values) for name, values in self.recorded.items()}
        return Scanned(packing.pad(self.output, walk.batch_first), self.states, recorded)
