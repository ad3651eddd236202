from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.random_cells.quickly import compiling_quickly


@pytest.fixture(scope="module", autouse=True)
def _quickly() -> Iterator[None]:
    """Compile quickly, since networks from files run over few steps."""
    with compiling_quickly():
        yield
