"""Order matters: the tagger of the first scene."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import gatewise.learn.page
from gatewise import cells
from gatewise.tasks.synthetic.network import Network
from tests.learn.conftest import Lesson, settle
from tests.learn.pupil import answer, done, guess, plain, table

WORDS = "I will leave reach Taipei Paris Rome on Monday Friday and then".split()


def shares(sentence: str) -> list[list[float]]:
    """The shares of the labels after each word, in Python."""
    network = Network(cells.rnn, len(WORDS), 5, 5, {})
    network.load_state_dict(load_file(gatewise.learn.page._DATA / "tagger.safetensors"))
    words = torch.tensor([[WORDS.index(word)] for word in sentence.split()])
    with torch.no_grad():
        states, _ = network.layer(F.one_hot(words, len(WORDS)).float())
        found: list[list[float]] = network.readout(states)[:, 0].softmax(-1).tolist()
    return found


def test_the_labels_are_those_of_the_trained_network(lesson: Lesson) -> None:
    sentence = "reach Taipei leave Paris on Monday"
    with lesson("order", calm=True) as page:
        guess(page)
        rows = table(page)
        assert [row[0] for row in rows] == sentence.split()
        for row, known in zip(rows, shares(sentence), strict=True):
            large = [k for k, number in enumerate(row[-5:]) if "\u00d7" not in number]
            assert [plain(row[-5 + k]) for k in large] == pytest.approx([known[k] for k in large], rel=1e-3)


def test_words_that_change_places_change_labels(lesson: Lesson) -> None:
    with lesson("order", calm=True) as page:
        labels = page.locator(".order-label")
        assert labels.nth(1).inner_text() == "place of departure"
        assert page.locator(".order-word").first.is_disabled()
        assert "Right." in guess(page, 3).inner_text()
        assert labels.all_inner_texts() == [
            "other", "destination", "other", "place of departure", "other", "day of departure",
        ]  # fmt: skip
        words = page.locator(".order-word")
        words.nth(0).click()
        words.nth(2).click()
        settle(page)
        assert words.all_inner_texts() == "leave Taipei reach Paris on Monday".split()
        assert labels.nth(5).inner_text() == "day of arrival"
        assert "Monday: day of departure \u2192 day of arrival." in page.locator(".said").inner_text()


def test_before_a_verb_the_network_hesitates(lesson: Lesson) -> None:
    with lesson("order", calm=True) as page:
        guess(page)
        page.locator(".order-word").nth(0).click()
        page.locator(".order-tray button", has_text="then").click()
        settle(page)
        assert page.locator(".order-word").first.inner_text() == "then"
        assert page.locator(".order-label").nth(1).inner_text() == "place of departure or destination?"


def test_the_check_asks_for_the_word_that_decided(lesson: Lesson) -> None:
    with lesson("order", calm=True) as page:
        guess(page)
        assert "Not quite." in answer(page, "Paris").inner_text()
        assert not done(page, "order")
        assert "Right." in answer(page, "reach").inner_text()
        assert done(page, "order")


def test_words_are_read_one_after_another(lesson: Lesson) -> None:
    with lesson("order") as page:
        guess(page)
        page.get_by_role("button", name="Read it word by word").click()
        page.wait_for_selector(".unheard")
        page.wait_for_selector(".order-sentence:not(:has(.unheard))")


def test_the_keyboard_alone_is_enough(lesson: Lesson) -> None:
    with lesson("order", calm=True) as page:
        page.locator(".question:not(.check) input").first.focus()
        for key in ("ArrowDown", "ArrowDown", "ArrowDown", "Enter"):
            page.keyboard.press(key)
        settle(page)
        page.locator(".order-word").first.focus()
        page.keyboard.press("Enter")
        assert page.locator(".order-word[aria-pressed=true]").count() == 1
        page.keyboard.press("Escape")
        assert page.locator(".order-word[aria-pressed=true]").count() == 0
        page.keyboard.press("Enter")
        for key in ("Tab", "Tab", "Enter"):
            page.keyboard.press(key)
        settle(page)
        assert page.locator(".order-word").all_inner_texts()[:3] == "leave Taipei reach".split()
        page.locator(".check input").first.focus()
        for key in ("ArrowDown", "ArrowDown", "Enter"):
            page.keyboard.press(key)
        settle(page)
        assert done(page, "order")
