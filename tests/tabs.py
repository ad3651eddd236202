"""Tabs of the browser that tests use one after another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# How long a test waits for what must come, in milliseconds; a machine may be busy with something else.
LONG = 120_000
# Pages without an address have no storage.
EMPTY = "() => { try { localStorage.clear(); sessionStorage.clear(); } catch { } }"


@dataclass
class Tabs:
    """Lends tabs, and takes them back empty.

    A context of its own has a process of its own, and needs a second of computing to show a page; a tab
    that is used again needs a third of that. A tab in which a test failed is closed.
    """

    browser: Browser
    _free: list[Page] = field(default_factory=list)

    @contextmanager
    def open(
        self, width: int = 1280, height: int = 800, *, dark: bool = False, calm: bool = False
    ) -> Iterator[Page]:
        """An empty tab of a size in pixels, whose system is set to dark colours or to little motion."""
        page = self._free.pop() if self._free else self._new()
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if calm else "no-preference",
        )
        try:
            yield page
            page.evaluate(EMPTY)
            page.mouse.move(0, 0)
            page.goto("about:blank")
        except BaseException:
            page.context.close()
            raise
        self._free.append(page)

    def _new(self) -> Page:
        context = self.browser.new_context(locale="en-US")
        context.set_default_timeout(LONG)
        return context.new_page()


@contextmanager
def heard(page: Page) -> Iterator[tuple[list[str], list[str]]]:
    """What a page prints and its errors, and the addresses that it asks for, while the context is open."""
    said: list[str] = []
    asked: list[str] = []
    listeners: dict[Any, Any] = {
        "console": lambda message: said.append(message.text),
        "pageerror": lambda error: said.append(str(error)),
        "request": lambda request: asked.append(request.url),
    }
    for event, listener in listeners.items():
        page.on(event, listener)
    yield said, asked
    for event, listener in listeners.items():
        page.remove_listener(event, listener)


def until(page: Page, condition: str) -> None:
    """Wait until an expression is true, also in a page whose policy forbids `page.wait_for_function`."""
    for _ in range(LONG // 50):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"After {LONG} ms this is not true: {condition}")


def faults(page: Page) -> list[tuple[str, Any, str]]:
    """The faults of accessibility that axe calls serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        (fault["id"], node["target"], node["failureSummary"])
        for fault in found
        for node in fault["nodes"]
        if fault["impact"] in ("serious", "critical")
    ]
