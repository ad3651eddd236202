from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.random_cells.quickly import compiling_quickly


@pytest.fixture(scope="module", autouse=True)
def _quickly(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compile quickly, since edited cells run over few steps. Pages have long sequences: not for them."""
    here = request.path.parent == Path(__file__).parent
    with compiling_quickly() if here else nullcontext():
        yield
