"""The lesson in a real browser."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from gatewise.learn.page import html
from gatewise.learn.palette import palette
from gatewise.learn.server import Server
from tests.tabs import Tabs, heard

if TYPE_CHECKING:
    from playwright.sync_api import Page

Lesson: TypeAlias = "Callable[..., Any]"


@pytest.fixture(scope="session")
def lesson_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static page with the kernels that Chromium uses, written once for all processes of a run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path = folder / "lesson.html"
    with open(folder / "lesson.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            path.write_text(html(cells=palette(["relaxed"])), encoding="utf-8")
    return path


@pytest.fixture
def lesson(tabs: Tabs, lesson_page: Path) -> Lesson:
    """Open a scene of the static page, and wait until it is ready.

    ``with lesson("forgets", width=375, language="zh", dark=True, notation="book") as page: ...``. Afterwards,
    assert that the page printed nothing, had no error, and asked for nothing.
    """
    return partial(opened, tabs, lesson_page.as_uri(), set())


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server of the lesson."""
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def live(tabs: Tabs, server: Server) -> Lesson:
    """As `lesson`, but the page is that of a server, which compiles for it."""
    return partial(opened, tabs, server.address, {f"{server.address}compile"})


@contextmanager
def opened(
    tabs: Tabs,
    address: str,
    allowed: set[str],
    scene: str = "order",
    *,
    width: int = 1280,
    language: str = "en",
    dark: bool = False,
    notation: str = "seed",
    calm: bool = False,
) -> Iterator[Page]:
    """A scene of the page at an address, which may ask for the addresses in `allowed`."""
    chosen = f"{address}?language={language}&notation={notation}"
    with tabs.open(width, dark=dark, calm=calm) as page, heard(page) as (said, asked):
        page.goto(f"{chosen}#{scene}")
        ready(page, scene)
        yield page
        settle(page)
    assert said == []
    assert {url.partition("#")[0] for url in asked} <= {chosen, "data:,", *allowed}


def ready(page: Page, scene: str) -> None:
    """Wait until a scene is built and drawn."""
    page.wait_for_selector(f'section[data-scene="{scene}"][data-ready], .failed')
    settle(page)


def settle(page: Page) -> None:
    """Wait until everything is drawn."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def check_accessible(page: Page) -> None:
    """Assert that axe finds nothing in the page, and that the page is not wider than its window."""
    from axe_playwright_python.sync_playwright import Axe

    wide = page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]")
    assert max(wide) == wide[2]
    found = Axe().run(page).response["violations"]
    assert [
        (fault["id"], node["target"], node["failureSummary"]) for fault in found for node in fault["nodes"]
    ] == []
