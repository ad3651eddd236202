"""Packed sequences as the kernels walk over them, and what enters each step."""

from __future__ import annotations

from functools import cached_property
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Table: TypeAlias = NDArray[Any]  # of int64


@final
class PackedSteps:
    """The steps of packed sequences ``[N, ...]`` in the order in which they are walked.

    The tables are NumPy's, which takes less time than torch for so few numbers.

    Attributes:
        counts, starts: ``[T + 1]``, for each step how many rows it has and where they begin.
    """

    def __init__(self, batch_sizes: Tensor, reverse: bool) -> None:
        self.reverse = reverse
        self._sizes: Table = batch_sizes.numpy()
        self._starts: Table = self._sizes.cumsum() - self._sizes
        turn = slice(None, None, -1 if reverse else 1)
        self.counts, self.starts = (np.append(table[turn], 0) for table in (self._sizes, self._starts))

    @cached_property
    def rows(self) -> Table:
        """``[N]``: the row at each place."""
        return self._places - self._starts.repeat(self._sizes)

    @cached_property
    def before(self) -> Table:
        """``[N]``: the place of the same row one step of the walk before, -1 where there is none."""
        sizes = self._sizes
        if self.reverse:
            following = np.append(sizes[1:], 0)
            before: Table = self._places + sizes.repeat(sizes)
            before[self.rows >= following.repeat(sizes)] = -1
            return before
        before = self._places - np.append(0, sizes[:-1]).repeat(sizes)
        before[: sizes[0]] = -1
        return before

    @cached_property
    def last(self) -> Table:
        """``[B]``: the place of each row's last step of the walk."""
        rows = np.arange(self._sizes[0])
        if self.reverse:
            return rows
        lengths = len(self._sizes) - np.searchsorted(self._sizes[::-1], rows, side="right")
        last: Table = self._starts[lengths - 1] + rows
        return last

    @property
    def _places(self) -> Table:
        return np.arange(self._sizes.sum())
