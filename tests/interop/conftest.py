from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def _networks_from_files_are_compiled(quickly: None) -> None:
    """Networks from files run over few steps."""
