"""Packed sequences in the order in which kernels walk over them."""

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

    The tables are NumPy arrays, because NumPy takes less time than torch for few numbers.

    Attributes:
        counts: ``[T + 1]``, the number of rows of each step, in the order of the walk; 0 at the end.
        starts: ``[T + 1]``, the position of the first row of each step, in the same order.
    """

    def __init__(self, batch_sizes: Tensor, reverse: bool) -> None:
        self.reverse = reverse
        self._sizes: Table = batch_sizes.numpy()
        self._starts: Table = self._sizes.cumsum() - self._sizes
        turn = slice(None, None, -1 if reverse else 1)
        self.counts, self.starts = (np.append(table[turn], 0) for table in (self._sizes, self._starts))

    @cached_property
    def rows(self) -> Table:
        """``[N]``: the row at each position of the packed data."""
        return self._places - self._starts.repeat(self._sizes)

    @cached_property
    def before(self) -> Table:
        """``[N]``: the position of the same row one step earlier in the walk, or -1 at its first step."""
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
        """``[B]``: the position of each row's last step of the walk."""
        rows = np.arange(self._sizes[0])
        if self.reverse:
            return rows
        lengths = len(self._sizes) - np.searchsorted(self._sizes[::-1], rows, side="right")
        last: Table = self._starts[lengths - 1] + rows
        return last

    @property
    def _places(self) -> Table:
        return np.arange(self._sizes.sum())
