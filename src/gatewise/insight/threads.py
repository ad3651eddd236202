"""The number of threads of analyses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Context manager and decorator in which torch computes on one thread.

    Analyses are many small operations, step after step. They gain nothing from a second thread, which by
    default spins (OpenMP's wait policy) between two operations and takes a core from the first one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
