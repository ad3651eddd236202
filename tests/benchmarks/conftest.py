"""Quick runs of the benchmarks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No pauses between the contenders; torch's number of threads is restored."""
    monkeypatch.setattr("benchmarks.measure._REST", 0.0)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
