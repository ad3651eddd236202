from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Small networks are not faster on two threads, and much slower if other programs use the cores."""
