"""A page that runs kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.compiler.wasm.browser import MAPS, Machine

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def machine(browser: Browser) -> Iterator[Machine]:
    if not MAPS.exists():
        pytest.skip("only Linux tells where the memory of a process is")
    page = browser.new_page()
    yield Machine(page)
    page.close()
