"""Quick runs of the benchmarks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))  # benchmarks are run from the root, not installed


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing rests between contenders; torch's number of threads is as before."""
    monkeypatch.setattr("benchmarks.measure._REST", 0.0)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
