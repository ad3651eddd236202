"""Pages for a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from unittest import mock

import pytest
import torch

import gatewise
from gatewise import cells
from gatewise.compiler.wasm.target import RELAXED
from tests.insight.page.pages import LENGTHS, TEXTS, Reader, ids_of, layer_of, sequence, two
from tests.tabs import Tabs, heard

if TYPE_CHECKING:
    from playwright.sync_api import Page

Opened: TypeAlias = "Callable[..., Any]"


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of layers in both directions, a model of text, a cell with two memories, and one without any."""
    folder = tmp_path_factory.mktemp("pages")
    paths = {name: folder / f"{name}.html" for name in ("layers", "text", "two", "plain")}
    names = ["temperature (°C)", "wind <b>", "c", "d", "e", "f"]
    gatewise.look(
        layer_of(cells.lstm, 6, 12, num_layers=2, bidirectional=True), sequence(30, 3, 6), paths["layers"],
        lengths=[30, 12, 0], feature_names=names, times=[[f"{t:02d}:00" for t in range(30)]] * 3,
    )  # fmt: skip
    torch.manual_seed(0)
    gatewise.look(Reader(), ids_of(TEXTS), paths["text"], lengths=LENGTHS, tokens=TEXTS)
    gatewise.look(layer_of(two), sequence(7, 2, 3), paths["two"])
    gatewise.look(layer_of(cells.rnn), sequence(7, 2, 3), paths["plain"])
    return paths


@pytest.fixture
def relaxed() -> Iterator[None]:
    """Pages of one test have only the kernels that Chromium uses; those of `pages` have all."""
    with mock.patch("gatewise.insight.page.running.TARGETS", {"relaxed": RELAXED}):
        yield


@pytest.fixture
def opened(tabs: Tabs) -> Opened:
    """Open a page. Afterwards, assert that it printed nothing, had no error, and loaded nothing."""

    @contextmanager
    def open_page(path: Path, width: int = 1280, dark: bool = False) -> Iterator[Page]:
        with tabs.open(width, dark=dark) as page, heard(page) as (said, asked):
            page.goto(path.as_uri())
            settle(page)
            yield page
            settle(page)
        assert said == []
        assert set(asked) <= {path.as_uri(), "data:,"}

    return open_page


def settle(page: Page) -> None:
    """Wait until everything is drawn."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
