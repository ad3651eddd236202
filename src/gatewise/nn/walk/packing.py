"""Rows of different lengths as packed data: for each step the rows that have it, longest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewise.nn.walk import rows
from gatewise.nn.walk.packed_steps import PackedSteps


@final
@dataclass(frozen=True)
class Packing:
    """The positions of the rows of a padded batch in packed data (the layout of `PackedSequence`).

    Attributes:
        T, B: the sizes of the padded batch.
        batch_sizes: ``[steps]``, the number of rows of each step. There is at least one step, which may have
            no rows.
        order: ``[B0]``, for each packed row its number in the batch. Rows without steps are left out.
    """

    T: int
    B: int
    batch_sizes: Tensor
    order: Tensor

    def steps(self, reverse: bool) -> PackedSteps:
        """The steps in the order of a walk. They are computed once, for forward and backward."""
        known = self._steps.get(reverse)
        if known is None:
            known = self._steps[reverse] = PackedSteps(self.batch_sizes, reverse)
        return known

    @cached_property
    def _steps(self) -> dict[bool, PackedSteps]:
        return {}

    @cached_property
    def size(self) -> int:
        """N, the sum of the lengths of all rows."""
        return int(self.batch_sizes.sum())

    @classmethod
    def of_lengths(cls, lengths: Tensor, T: int) -> Packing:
        """The packing of rows with ``lengths [B]``, each at most T."""
        falling, order = lengths.sort(descending=True, stable=True)
        steps = max(1, int(falling[0])) if len(falling) else 1
        batch_sizes = (torch.arange(steps, device="cpu")[:, None] < falling).sum(1)
        return cls(T, len(lengths), batch_sizes, order[: int(batch_sizes[0])])

    @classmethod
    def of(cls, packed: PackedSequence) -> Packing:
        """The packing of a `PackedSequence`. It does not change if the sequence is changed later.

        Raises:
            RuntimeError: the parts of the sequence do not fit each other.
        """
        batch_sizes = rows.batch_sizes(packed.batch_sizes, len(packed.data)).clone()
        B = int(batch_sizes[0])
        order = rows.row_order(packed.sorted_indices, packed.unsorted_indices, B)
        return cls(len(batch_sizes), B, batch_sizes, order)

    def pack(self, padded: Tensor, batch_first: bool) -> Tensor:
        """Pack ``padded [T, B, ...]`` (``[B, T, ...]`` with `batch_first`) into data ``[N, ...]``."""
        return padded.flatten(0, 1).index_select(0, self._places(batch_first).to(padded.device))

    def pad(self, data: Tensor, batch_first: bool) -> Tensor:
        """Pad packed ``data [N, H]`` to ``[T, B, H]`` (``[B, T, H]``), zeros past the end of each row."""
        sizes = (self.B, self.T) if batch_first else (self.T, self.B)
        places = self._places(batch_first).to(data.device)
        # All positions differ. Adding has the fastest gradient and, unlike copying, a vmap rule.
        padded = data.new_zeros(self.B * self.T, data.size(1)).index_add_(0, places, data)
        return padded.view(*sizes, data.size(1))

    def pad_with_nan(self, data: Tensor) -> Tensor:
        """Pad packed ``data [N, H]`` to ``[T, B, H]``, with NaN past the end of each row."""
        running = self.pad(data.new_ones(len(data), 1), batch_first=False)
        return self.pad(data, batch_first=False).masked_fill(running == 0, torch.nan)

    def pack_states(self, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """From states ``[L*D, B, H]`` those of the rows with steps, ``[L*D, B0, H]``, in packed order."""
        return tuple(state.index_select(1, self.order.to(state.device)) for state in states)

    def pad_states(self, finals: Sequence[Tensor], initial: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The batch's final states from ``[L*D, B0, H]``. A row without steps keeps its initial state."""
        if len(self.order) == self.B:
            back = self.order.argsort().to(finals[0].device)
            return tuple(final.index_select(1, back) for final in finals)
        before = initial or [final.new_zeros(len(final), self.B, final.size(2)) for final in finals]
        pairs = zip(before, finals, strict=True)
        rows = self.order[:, None].to(finals[0].device)
        return tuple(state.scatter(1, rows.expand_as(final), final) for state, final in pairs)

    def _places(self, batch_first: bool) -> Tensor:
        """``[N]``: the position of each packed row in a padded batch with its first two axes flattened."""
        step, row = self.steps_and_rows
        return row * self.T + step if batch_first else step * self.B + row

    @cached_property
    def steps_and_rows(self) -> tuple[Tensor, Tensor]:
        """``[N]`` each: the step and the row of the batch at each position of packed data."""
        running = torch.arange(len(self.order), device="cpu") < self.batch_sizes[:, None]
        step, packed_row = running.nonzero(as_tuple=True)
        return step, self.order[packed_row]


def like(layout: PackedSequence, data: Tensor) -> PackedSequence:
    """A `PackedSequence` of `data` with the packing of `layout`."""
    return PackedSequence(data, layout.batch_sizes, layout.sorted_indices, layout.unsorted_indices)
