"""Batches that are computed side by side, each on a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Batch = TypeVar("Batch")
Answer = TypeVar("Answer")


def side_by_side(
    compute: Callable[[Batch], Answer], batches: Iterable[Batch], threads: int
) -> Iterable[Answer]:
    """``compute(batch)`` for each batch in order, on this many threads. Kernels run without the GIL.

    The bits of a row do not depend on its batch, so they do not depend on the number of threads.

    Raises:
        ValueError: `threads` is not a whole number of at least 1.
    """
    if not hasattr(type(threads), "__index__") or threads < 1:
        raise ValueError(f"threads must be a whole number of at least 1. Got {threads!r}.")
    if threads == 1:
        return map(compute, batches)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(compute, batches))
