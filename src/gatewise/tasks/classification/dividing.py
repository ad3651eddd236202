"""The validation part, and the test part of a file. Without torch, so that bad files are refused at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def split(encoded: Array, share: float, seed: int) -> tuple[Array, Array]:
    """The rows for training and for validation: of each class the same share, but at least one for training.

    Rows with several labels are shared out as one class. Without any validation row, a single class may be
    left out of it; if no class has two rows, all rows are in both parts.
    """
    rng = np.random.default_rng([seed, 1])
    classes = encoded if encoded.ndim == 1 else np.zeros(len(encoded), np.int64)
    order = rng.permutation(len(classes))
    validated: list[int] = []
    for k in np.unique(classes):
        rows = order[classes[order] == k]
        validated += rows[: min(round(share * len(rows)), len(rows) - 1)].tolist()
    every = np.arange(len(classes))
    if not validated:
        if len(every) < 3:
            return every, every
        validated = [int(order[0])]
    rest = np.setdiff1d(every, validated)
    return rest, np.sort(np.array(validated))
