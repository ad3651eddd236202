from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.random_cells.quickly import compiling_quickly


@pytest.fixture(scope="module", autouse=True)
def _quickly() -> Iterator[None]:
    """Networks from files, run over few steps, need right kernels and not fast ones."""
    with compiling_quickly(kept=True):
        yield
