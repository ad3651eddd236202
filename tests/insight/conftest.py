from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module", autouse=True)
def _edited_cells_are_compiled(request: pytest.FixtureRequest) -> None:
    """Edited cells run over few steps. Pages have long sequences, so they are compiled fully."""
    if request.path.parent == Path(__file__).parent:
        request.getfixturevalue("quickly")
