"""The scene of the changed cell in the live page: the learner writes equations, which then train."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.learn.conftest import Lesson, check_accessible
from tests.learn.pupil import guess
from tests.tabs import until

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

# The LSTM without its output gate, and a memory that is halved at each step.
OWN = """def mine(h, c, *, i, f, g):
    i, f, g = sigmoid(i), sigmoid(f), tanh(g)
    c = 0.5 * f * c + i * g
    h = tanh(c)
    return h, c"""
KEPT = 'lesson.scenes.get("change").kept.own.trials'


def written(page: Page, text: str) -> None:
    """Write a text in place of the one that is there, and wait until it is compiled."""
    page.fill("textarea", text)
    page.wait_for_selector(f"pre:has-text({text.splitlines()[2].strip()!r}) >> nth=-1")


def test_equations_of_the_learner_are_compiled_and_train(live: Lesson) -> None:
    with live("change") as page:
        written(page, OWN)
        assert page.locator("textarea").get_attribute("aria-invalid") == "false"
        assert page.evaluate(f"{KEPT}.changed.trainer.kernels.values.includes('f')")
        page.locator("form.question label").first.click()
        page.locator("form.question button").first.click()
        page.locator("button.main:visible", has_text="Start").click()
        until(page, f"{KEPT}.changed.trainer.losses.length > 3")
        losses = page.evaluate(f"[{KEPT}.original, {KEPT}.changed].map(({{ trainer }}) => trainer.losses[0])")
        assert all(0 < loss < 2 for loss in losses)
        assert losses[0] != losses[1]
        check_accessible(page)


def test_a_wrong_line_is_named_and_the_cell_before_it_stays(live: Lesson) -> None:
    with live("change") as page:
        written(page, OWN)
        page.fill("textarea", OWN.replace("h = tanh(c)", "h = tanh(d)"))
        page.wait_for_selector('textarea[aria-invalid="true"]')
        said = page.locator(".said", has_text="Line 4").inner_text()
        assert said.startswith("Line 4: There is no 'd' here. Declare it after the star.")
        assert page.evaluate(f"{KEPT}.changed.trainer.kernels.cell") == "mine"
        check_accessible(page)
        page.fill("textarea", OWN.replace("0.5", "0.25"))
        page.wait_for_selector('textarea[aria-invalid="false"]')
        assert page.locator(".said", has_text="Line 4").count() == 0


def test_it_says_that_a_text_is_being_compiled(live: Lesson) -> None:
    held: list[Route] = []
    with live("change") as page:
        page.route("**/compile", lambda route: held.append(route))
        page.fill("textarea", OWN)
        page.wait_for_selector(".said:has-text('Python compiles your cell')")
        while not held:
            page.wait_for_timeout(20)
        held[0].continue_()
        page.unroute("**/compile")
        edited(page, "own")
        assert page.locator(".said", has_text="Python compiles").count() == 0


def test_what_was_written_survives_a_change_of_language(live: Lesson) -> None:
    with live("change") as page:
        written(page, OWN)
        page.select_option("#language", "zh")
        page.wait_for_selector('section[data-scene="change"][data-ready]')
        assert page.input_value("textarea") == OWN
        assert page.evaluate(f"{KEPT}.changed.trainer.kernels.cell") == "mine"


def edit(page: Page, place: int) -> None:
    # Not `check`, which fails where the page has already chosen the first one again.
    page.locator(".choice input").nth(place).click()


def edited(page: Page, name: str) -> None:
    """Wait until a variant of the palette is there to train, or "own"."""
    for _ in range(200):
        if page.evaluate(f'{KEPT}.edit ?? "own"') == name:
            return
        page.wait_for_timeout(50)
    raise AssertionError(page.evaluate(f"{KEPT}.edit"))


def test_of_two_edits_the_last_one_chosen_stays(live: Lesson) -> None:
    held: list[Route] = []
    with live("change") as page:
        page.route("**/compile", lambda route: held.append(route))
        edit(page, 3)
        edit(page, 2)
        while len(held) < 2:
            page.wait_for_timeout(20)
        for late in reversed(held):  # the answer to the first one comes last
            with page.expect_response("**/compile"):
                late.continue_()
            page.wait_for_timeout(200)
        page.unroute("**/compile")
        edited(page, "lstm_without_input")
        page.wait_for_timeout(200)
        assert page.evaluate(f"{KEPT}.edit") == "lstm_without_input"
        assert page.locator(".choice input").nth(2).is_checked()


def test_an_edit_without_a_server_is_said(live: Lesson) -> None:
    with live("change") as page:
        page.route("**/compile", lambda route: route.fulfill(status=200, body="no JSON"))
        edit(page, 3)
        page.wait_for_selector(".said:has-text('JSON')")
        assert page.locator(".choice input").nth(0).is_checked()
        page.unroute("**/compile")
        edit(page, 3)
        edited(page, "lstm_without_output")


def test_a_loss_that_is_no_number_is_said(live: Lesson) -> None:
    with live("change") as page:
        page.fill("textarea", "def mine(h, *, g):\n    g = tanh(g) - 5\n    return log(g)")
        edited(page, "own")
        guess(page)
        page.get_by_role("button", name="One step").click()
        page.get_by_role("button", name="One step").click()
        said = page.locator(".said", has_text="Your cell:").inner_text()
        assert "Your cell: stopped at batch 1: the loss is no longer a number." in said
