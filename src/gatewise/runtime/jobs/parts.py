"""Parts of a forecaster for what is known besides the past: inputs ahead, and attributes of a series.

Shapes: ``B`` forecasts, ``H`` hidden units, ``K`` steps of the horizon, ``F`` inputs whose future is known,
``Z`` numbers and ``C`` categories that describe a series.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs.affine import Affine
from gatewise.runtime.jobs.naive import Whole

MOST_WIDTH = 8  # most numbers for a category


def width(size: int) -> int:
    """How many numbers stand for a category of `size` classes."""
    return min(MOST_WIDTH, -(-size // 2))


@final
class Ahead:
    """What the inputs of a step ahead change of its forecast, given what the network remembers.

    Args:
        context, known, out: the weights ``[M, H]`` and ``[M]``, ``[M, F]``, and ``[1, M + F]``.
    """

    def __init__(self, context: tuple[Array, Array], known: Array, out: Array) -> None:
        self._context, self._known, self._out = Affine(*context), Affine(known), Affine(out)

    def __call__(self, output: Array, ahead: Array) -> Array:
        """From ``output [B, H]`` and ``ahead [B, K, F]`` to ``[B, K]``."""
        hidden = np.maximum(self._context(output)[:, None] + self._known(ahead), 0)
        changes: Array = self._out(np.concatenate([hidden, ahead], axis=-1))[..., 0]
        return changes


def attributes(tables: Sequence[Array], numbers: NDArray[np.float32], categories: Whole) -> Array:
    """The attributes of a series as inputs ``[E]``: numbers as they are, and the row of each category."""
    rows = [table[category] for table, category in zip(tables, categories, strict=True)]
    return np.concatenate([numbers, *rows], dtype=np.float32)
