"""Packed sequences as the kernels walk over them, and what enters each step."""

from __future__ import annotations

from functools import cached_property
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F


@final
class PackedSteps:
    """The steps of packed sequences ``[N, ...]`` in the order in which they are walked.

    Attributes:
        counts, starts: ``[T + 1]``, for each step how many rows it has and where they begin.
    """

    def __init__(self, batch_sizes: Tensor, reverse: bool) -> None:
        self.batch_sizes = batch_sizes
        self.reverse = reverse
        starts = batch_sizes.cumsum(0) - batch_sizes
        tables = (batch_sizes.flip(0), starts.flip(0)) if reverse else (batch_sizes, starts)
        self.counts, self.starts = (F.pad(table, (0, 1)) for table in tables)

    @cached_property
    def rows(self) -> Tensor:
        """``[N]``: the row at each place."""
        sizes = self.batch_sizes
        return torch.arange(int(sizes.sum()), device="cpu") - (sizes.cumsum(0) - sizes).repeat_interleave(
            sizes
        )

    @cached_property
    def before(self) -> Tensor:
        """``[N]``: the place of the same row one step of the walk before, -1 where there is none."""
        sizes = self.batch_sizes
        steps = torch.arange(len(sizes), device="cpu").repeat_interleave(sizes)
        places = torch.arange(len(steps), device="cpu")
        if not self.reverse:
            return torch.where(steps > 0, places - sizes[steps - 1], -1)
        following = F.pad(sizes[1:], (0, 1))
        return torch.where(self.rows < following[steps], places + sizes[steps], -1)

    @cached_property
    def last(self) -> Tensor:
        """``[B]``: the place of each row's last step of the walk."""
        sizes = self.batch_sizes
        rows = torch.arange(int(sizes[0]), device="cpu")
        if self.reverse:
            return rows
        steps = len(sizes) - 1 - torch.searchsorted(sizes.flip(0), rows, right=True)
        return sizes.cumsum(0)[steps] - sizes[steps] + rows
