"""What a learner does on a page of the lesson."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.learn.conftest import settle

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


def guess(page: Page, place: int = 0) -> Locator:
    """Answer the question that comes first; returns what the page says then."""
    question = page.locator(".question:not(.check)").first
    question.locator("input").nth(place).check()
    question.locator("button").click()
    settle(page)
    return question.locator(".verdict")


def answer(page: Page, given: str) -> Locator:
    """Answer the check: with a choice by its text, or with a number. Returns what the page says then."""
    check = page.locator(".check")
    if check.locator("input[type=radio]").count():
        check.get_by_label(given, exact=True).check()
    else:
        check.locator("input").fill(given)
    check.locator("button").click()
    settle(page)
    return check.locator(".verdict")


def choose(page: Page, place: int) -> str:
    """Answer the check with the choice at a place. Returns what the page says then."""
    check = page.locator("form.check")
    check.locator("input").nth(place).check()
    check.get_by_role("button").click()
    settle(page)
    return check.locator(".verdict").inner_text()


def hasten(page: Page) -> None:
    """Let training draw the page once a second, instead of at each frame."""
    page.evaluate(
        "() => { const now = performance.now.bind(performance); performance.now = () => now() / 100; }"
    )


def slide(page: Page, label: str, value: float) -> None:
    """Move the slider whose label begins so."""
    slider = page.locator(".slider", has_text=label).locator("input")
    slider.evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", str(value)
    )
    settle(page)


def table(page: Page) -> list[list[str]]:
    """The true numbers, opened."""
    numbers = page.locator("details", has=page.locator("table"))
    if numbers.get_attribute("open") is None:
        numbers.locator("summary").click()
    settle(page)
    rows = numbers.locator("tbody tr").all()
    return [row.locator("th, td").all_inner_texts() for row in rows]


def plain(text: str) -> float:
    """A number as the page writes it."""
    return float(text.replace("\u2212", "-").replace(",", ""))


def done(page: Page, scene: str) -> bool:
    """Whether the list of scenes marks a scene as done, and the page has kept that."""
    listed = page.locator(f'#scenes a[href="#{scene}"].done').count() == 1
    kept = page.evaluate("(scene) => scene in lesson.progress.done", scene)
    assert listed == kept
    return listed


def overflows(page: Page) -> bool:
    """Whether the page is wider than its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))
