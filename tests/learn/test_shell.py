"""The frame of the lesson: its list of scenes, what the learner chooses, what is kept of what they did."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gatewise.learn.page import SCENES, html, languages, texts
from gatewise.learn.palette import palette
from tests.learn.conftest import Lesson, check_accessible, ready, settle
from tests.selection import with_rest
from tests.tabs import Tabs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TEXTS = texts()


def title(scene: str, language: str = "en") -> str:
    text: str = TEXTS[language]["scenes"][scene]["title"]
    return text


def shown(page: Page) -> str:
    """The title of the scene on the page."""
    return page.locator("h2").inner_text()


def go(page: Page, scene: str) -> None:
    page.evaluate("(hash) => void (location.hash = hash)", scene)
    ready(page, scene)


@contextmanager
def bare(tabs: Tabs, path: Path) -> Iterator[Page]:
    """The page without choices in its address, whatever it prints."""
    with tabs.open() as page:
        page.goto(path.as_uri())
        ready(page, "order")
        yield page


@pytest.mark.parametrize("scene", SCENES)
def test_each_scene_opens_at_its_address(lesson: Lesson, scene: str) -> None:
    with lesson(scene) as page:
        assert shown(page) == title(scene)
        assert page.title().startswith(title(scene))
        assert page.locator('#scenes a[aria-current="page"]').get_attribute("href") == f"#{scene}"
        assert page.locator(".failed").count() == 0


LOOKS = [
    (1280, "en", False, "seed"),
    (375, "zh", True, "book"),
    (1280, "zh", True, "code"),
    (375, "en", False, "code"),
]


# After a prediction, which shows more, each scene is looked at in two ways (tests of the scenes).
@pytest.mark.parametrize(
    ("scene", "width", "language", "dark", "notation"),
    with_rest(
        [(scene, *look) for look in LOOKS for scene in SCENES],
        lambda scene, *look: LOOKS.index(look) == SCENES.index(scene) % 2,
    ),
)
def test_each_scene_is_accessible_and_fits(
    lesson: Lesson, scene: str, width: int, language: str, dark: bool, notation: str
) -> None:
    with lesson(scene, width=width, language=language, dark=dark, notation=notation) as page:
        if width < 800:
            page.click("#menu")
        for details in page.locator("details").all():
            details.evaluate("(details) => (details.open = true)")
        settle(page)
        check_accessible(page)


def test_scenes_are_chosen_from_the_list_and_one_after_another(lesson: Lesson) -> None:
    with lesson("order") as page:
        assert page.locator("#steps a").count() == 1  # nothing before the first
        for scene in SCENES[1:]:
            page.click("#steps a.next")
            ready(page, scene)
            assert shown(page) == title(scene)
        assert page.locator("#steps a.next").count() == 0
        page.click(f'#scenes a[href="#{SCENES[2]}"]')
        ready(page, SCENES[2])
        page.go_back()
        ready(page, SCENES[-1])
        assert shown(page) == title(SCENES[-1])


def test_the_keyboard_alone_leads_through_the_lesson(lesson: Lesson) -> None:
    with lesson("order") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "scene"
        page.focus(".skip")
        for _ in range(3):
            page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent").endswith(title("sizes"))
        page.keyboard.press("Enter")
        ready(page, "sizes")
        assert page.evaluate("document.activeElement.textContent") == title("sizes")
        page.focus("#steps a.next")
        page.keyboard.press("Enter")
        ready(page, "forgets")
        assert page.evaluate("document.activeElement.textContent") == title("forgets")


def test_on_a_phone_the_list_opens_and_closes(lesson: Lesson) -> None:
    with lesson("unit", width=375) as page:
        assert not page.locator("#scenes").is_visible()
        assert "2/12" in page.locator("#menu").inner_text()
        page.focus("#menu")
        page.keyboard.press("Enter")
        assert page.locator("#menu").get_attribute("aria-expanded") == "true"
        page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        assert not page.locator("#scenes").is_visible()
        assert page.evaluate("document.activeElement.id") == "menu"
        page.keyboard.press("Enter")
        page.click('#scenes a[href="#gates"]')
        ready(page, "gates")
        assert not page.locator("#scenes").is_visible()
        assert page.evaluate("scrollY") == 0


@pytest.mark.parametrize("language", languages())
def test_the_language_is_changed_in_place(lesson: Lesson, language: str) -> None:
    with lesson("gates", language="zh" if language == "en" else "en") as page:
        page.select_option("#language", language)
        ready(page, "gates")
        assert shown(page) == title("gates", language)
        assert page.evaluate("document.documentElement.lang") == language
        assert page.evaluate("document.activeElement.id") == "language"
        assert page.locator("#language option").all_inner_texts() == [
            TEXTS[name]["name"] for name in languages()
        ]


def test_another_language_is_one_more_file(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "texts").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "texts" / f"{name}.json").write_text(json.dumps(text), encoding="utf-8")
    french = {**TEXTS["en"], "name": "Français"}
    (tmp_path / "texts" / "fr.json").write_text(json.dumps(french), encoding="utf-8")
    monkeypatch.setattr("gatewise.learn.page._TEXTS", tmp_path / "texts")
    (tmp_path / "lesson.html").write_text(html(language="fr"), encoding="utf-8")
    page = browser.new_page(locale="zh-CN")
    page.goto((tmp_path / "lesson.html").as_uri())
    assert page.locator("#language option").all_inner_texts() == ["English", "Français", "简体中文"]
    assert page.input_value("#language") == "fr"
    assert page.evaluate("document.documentElement.lang") == "fr"
    page.close()


def test_the_browsers_language_is_the_first_choice(browser: Browser, lesson_page: Path) -> None:
    for locale, language in (("zh-CN", "zh"), ("fr-FR", "en")):
        context = browser.new_context(locale=locale)
        page = context.new_page()
        page.goto(lesson_page.as_uri())
        assert page.evaluate("document.documentElement.lang") == language
        context.close()


def test_choices_are_kept_and_the_lesson_goes_on_where_it_was_left(tabs: Tabs, lesson_page: Path) -> None:
    with bare(tabs, lesson_page) as page:
        page.select_option("#language", "zh")
        page.select_option("#notation", "book")
        page.select_option("#colours", "dark")
        go(page, "race")
        page.goto(lesson_page.as_uri())
        ready(page, "race")
        assert shown(page) == title("race", "zh")
        assert page.input_value("#notation") == "book"
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_colours_are_those_of_the_system_or_chosen(lesson: Lesson) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    with lesson() as page:
        light = page.evaluate(paper)
        page.select_option("#colours", "dark")
        dark = page.evaluate(paper)
        assert dark != light
    with lesson(dark=True) as page:
        assert page.evaluate(paper) == dark
        page.select_option("#colours", "light")
        assert page.evaluate(paper) == light


def test_the_page_says_whether_its_numbers_are_those_of_python(lesson: Lesson) -> None:
    with lesson() as page:
        key = "bits_same" if page.evaluate("lesson.engine.simd.sameBits") else "bits_other"
        assert page.locator("#bits").inner_text() == TEXTS["en"]["shell"][key]


def test_little_motion_is_respected(lesson: Lesson) -> None:
    moves = "getComputedStyle(document.documentElement).scrollBehavior"
    with lesson(calm=True) as page:
        assert page.evaluate(moves) == "auto"
    with lesson() as page:
        assert page.evaluate(moves) == "smooth"


# A scene that is built of everything in the kit, in place of another.
OWN = """
() => void (lesson.scenes.get("home").build = ({ root, kit, done, engine }) => {
  lesson.said = [];
  const said = (name) => (value) => lesson.said.push([name, value]);
  root.append(
    kit.slider({ label: "slide $f$", min: 0, max: 1, value: 0.5, on: said("slider") }),
    kit.choice({ label: "choose", choices: ["a", "b"], value: "a", on: said("choice") }),
    kit.toggle({ label: "switch", on: said("toggle") }),
    kit.input({ label: "type", on: said("input") }),
    kit.button({ label: "**press**", on: () => said("button")(1), main: true }),
    kit.chart({
      label: "rises", on: said("chart"),
      lines: () => [{ name: "line", colour: "state", values: [0, NaN, 1] }],
    }).element,
    kit.numbers({ columns: ["step", "value"], rows: () => [["1", 0.25], ["2", -1e-9]] }),
    kit.formula(["$c$ = $f$ \\u2299 $c_$ + $i$ \\u2299 $g$"]),
    kit.question({
      ask: "guess", choices: ["one", "two"], right: () => 1,
      said: (answer) => `said ${answer}`, then: said("guess"),
    }),
    kit.check({
      ask: "number", number: { tolerance: 0.01 }, right: () => 0.5,
      said: (_, right) => (right ? "yes" : "try again"),
    }),
  );
  kit.kept.count = (kit.kept.count ?? 0) + 1;
  return { hide: () => said("hide")(1), redraw: () => said("redraw")(1) };
})
"""


@contextmanager
def own(lesson: Lesson, **options: Any) -> Iterator[Page]:
    with lesson("order", **options) as page:
        page.evaluate(OWN)
        go(page, "home")
        yield page


def test_a_right_answer_to_the_check_is_kept(lesson: Lesson) -> None:
    with own(lesson) as page:
        check = page.locator("form.check")
        check.locator("button").click()
        assert check.locator(".verdict").inner_text() == TEXTS["en"]["kit"]["type"]
        for typed in ("0.6", "0.5"):
            assert page.locator("#count").inner_text().startswith("0 of 12")
            check.locator("input").fill(typed)
            check.locator("input").press("Enter")
            words = (
                f"{TEXTS['en']['kit']['wrong']} try again"
                if typed == "0.6"
                else f"{TEXTS['en']['kit']['right']} yes"
            )
            assert check.locator(".verdict").inner_text() == words
        assert page.locator("#count").inner_text().startswith("1 of 12")
        assert "done" in page.locator('#scenes a[href="#home"]').inner_text()
        page.reload()
        ready(page, "home")
        assert page.locator("#count").inner_text().startswith("1 of 12")


def test_numbers_are_read_as_people_type_them(lesson: Lesson) -> None:
    with own(lesson, language="zh") as page:
        check = page.locator("form.check")
        # Digits, signs and points as a Chinese keyboard writes them.
        for typed, right in (("\uff10\u3002\uff14", False), ("\uff0d0.5", False), ("0\uff0c5", True)):
            check.locator("input").fill(typed)
            check.locator("button").click()
            mark = TEXTS["zh"]["kit"]["right" if right else "wrong"]
            assert check.locator(".verdict").inner_text() == f"{mark} {'yes' if right else 'try again'}"


def test_a_prediction_is_marked_once(lesson: Lesson) -> None:
    with own(lesson) as page:
        guess = page.locator("form.question").first
        guess.locator("button").click()
        assert guess.locator(".verdict").inner_text() == TEXTS["en"]["kit"]["choose"]
        guess.locator("text=one").click()
        guess.locator("button").click()
        assert guess.locator(".verdict").inner_text() == f"{TEXTS['en']['kit']['wrong']} said 0"
        assert guess.locator("input:enabled").count() == 0
        assert guess.locator(".was-right").inner_text() == "two"
        assert page.evaluate("lesson.said.at(-1)") == ["guess", 0]


def test_a_change_of_language_keeps_what_the_learner_had_set(lesson: Lesson) -> None:
    with own(lesson) as page:
        page.locator("input[type=range]").press("ArrowRight")
        page.locator(".choice label").nth(1).click()
        page.locator("text=switch").click()
        page.get_by_label("type").fill("words")
        page.locator("form.question").first.locator("text=two").click()
        page.locator("form.question button").first.click()
        before = page.evaluate("lesson.said.length")
        assert before >= 5
        page.select_option("#language", "zh")
        ready(page, "home")
        assert page.locator(".slider output").inner_text() == "0.510"
        assert page.locator(".choice input:checked + span").inner_text() == "b"
        assert page.get_by_label("switch").is_checked()
        assert page.get_by_label("type").input_value() == "words"
        assert page.locator(".verdict").first.inner_text() == f"{TEXTS['zh']['kit']['right']} said 1"
        again = [name for name, _ in page.evaluate("lesson.said") if name not in ("redraw", "hide")]
        assert again == ["slider", "choice", "toggle", "input", "guess"]
        assert page.evaluate('lesson.scenes.get("home").kept.own.count') == 2


@pytest.mark.parametrize(
    ("notation", "letters", "label"),
    [
        ("seed", "ct = zf \u2299 ct\u22121 + zi \u2299 z", "slide z\u1da0"),
        ("book", "ct = ft \u2299 ct\u22121 + it \u2299 gt", "slide f\u209c"),
        ("code", "c = f \u2299 c + i \u2299 g", "slide f"),
    ],
)
def test_letters_are_those_of_the_notation(lesson: Lesson, notation: str, letters: str, label: str) -> None:
    with own(lesson, notation=notation) as page:
        page.locator("details summary").nth(1).click()
        assert page.locator(".formula").inner_text().replace("\n", "") == letters
        assert page.evaluate("lesson.letter('f')") == label.split()[1]
        check_accessible(page)


def test_numbers_are_shown_when_asked_for(lesson: Lesson) -> None:
    with own(lesson) as page:
        assert page.locator("tbody tr").count() == 0
        page.locator("details summary").first.click()
        page.locator("tbody td").first.wait_for()
        assert page.locator("tbody td").all_inner_texts() == ["0.25000", "\u22121.0000\u00d710\u207b\u2079"]
        chart = page.locator("canvas").first
        assert chart.get_attribute("aria-label") == "rises"
        box = chart.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + box["width"] - 20, box["y"] + 50)
        assert page.evaluate("lesson.said.at(-1)") == ["chart", 2]


def test_a_scene_is_told_when_it_is_left_and_drawn_again(lesson: Lesson) -> None:
    with own(lesson) as page:
        page.evaluate("lesson.said.length = 0")
        go(page, "order")
        assert page.evaluate("lesson.said") == [["hide", 1]]
        go(page, "home")
        assert page.evaluate("lesson.said") == [["hide", 1], ["redraw", 1]]
        page.set_viewport_size({"width": 900, "height": 700})
        settle(page)
        assert page.evaluate("lesson.said.length") > 2


def test_progress_goes_into_a_file_and_comes_back(
    tabs: Tabs, lesson_page: Path, lesson: Lesson, tmp_path: Path
) -> None:
    with own(lesson) as page:
        page.locator("form.question").first.locator("text=one").click()
        page.locator("form.question button").first.click()
        page.locator("form.check input").fill("0.5")
        page.locator("form.check input").press("Enter")
        with page.expect_download() as saving:
            page.click("#export")
        file = tmp_path / saving.value.suggested_filename
        saving.value.save_as(file)
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["lesson"] == "gatewise.learn"
    assert kept["done"].keys() == {"home"}
    answers = [answer for answer in kept["answers"]["home"] if answer]
    assert answers == [
        {"ask": "guess", "answer": "one", "right": False},
        {"ask": "number", "answer": 0.5, "right": True},
    ]
    with bare(tabs, lesson_page) as page:
        page.set_input_files("#file", file)
        page.wait_for_selector("#kept:not(:empty)")
        assert page.locator("#kept").inner_text() == "Read. Scenes done: 1."
        assert "done" in page.locator('#scenes a[href="#home"]').inner_text()
        page.once("dialog", lambda dialog: dialog.accept())
        page.click("#again")
        assert page.locator("#count").inner_text().startswith("0 of 12")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"done": {}}',
        '{"lesson": "gatewise.learn", "done": 1}',
        '{"lesson": "gatewise.learn"}',
    ],
)
def test_another_file_is_refused(lesson: Lesson, content: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(content, encoding="utf-8")
    with lesson() as page:
        page.set_input_files("#file", tmp_path / "other.json")
        page.wait_for_selector("#kept:not(:empty)")
        assert page.locator("#kept").inner_text() == "other.json is no progress file of this lesson."
        assert page.locator("#count").inner_text().startswith("0 of 12")


def test_a_file_cannot_put_anything_else_into_the_lesson(lesson: Lesson, tmp_path: Path) -> None:
    content = {
        "lesson": "gatewise.learn",
        "done": {"order": "<b>today</b>", "nowhere": "x", "gates": 1, "__proto__": "x"},
        "answers": {"order": "x", "nowhere": []},
    }
    (tmp_path / "mine.json").write_text(json.dumps(content), encoding="utf-8")
    with lesson() as page:
        page.set_input_files("#file", tmp_path / "mine.json")
        page.wait_for_selector("#kept:not(:empty)")
        assert page.evaluate("lesson.progress") == {"done": {"order": "<b>today</b>"}, "answers": {}}
        assert page.locator("b").count() == 0


REFUSED = """
Object.defineProperty(window, "localStorage", { get() { throw new DOMException("no", "SecurityError"); } });
"""


def test_where_nothing_is_kept_the_page_says_so(browser: Browser, lesson_page: Path) -> None:
    context = browser.new_context(locale="en-US")
    context.add_init_script(REFUSED)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(lesson_page.as_uri())
    ready(page, "order")
    assert page.locator("#kept").inner_text() == TEXTS["en"]["shell"]["refused"]
    go(page, "gates")
    page.select_option("#language", "zh")
    assert shown(page) == title("gates", "zh")
    context.close()
    assert said == []


def test_what_is_kept_may_be_broken(tabs: Tabs, lesson_page: Path) -> None:
    with bare(tabs, lesson_page) as page:
        for kept in (
            "{",
            "null",
            "3",
            '{"done": null, "chosen": 1, "last": []}',
            '{"chosen": {"language": "xx"}}',
        ):
            page.evaluate("kept => localStorage.setItem('gatewise.learn', kept)", kept)
            page.goto("about:blank")
            page.goto(lesson_page.as_uri())
            ready(page, "order")
            assert shown(page) == title("order")


def test_a_scene_that_fails_says_so_and_leaves_the_others(tabs: Tabs, lesson_page: Path) -> None:
    with bare(tabs, lesson_page) as page:
        page.evaluate(
            "() => void (lesson.scenes.get('home').build = () => { throw new Error('no numbers'); })"
        )
        page.evaluate("location.hash = 'home'")
        page.wait_for_selector(".failed")
        assert page.locator(".failed").inner_text() == "This scene has stopped: no numbers"
        go(page, "gates")
        assert shown(page) == title("gates")


def test_a_missing_text_is_an_error(lesson: Lesson) -> None:
    with lesson() as page:
        said = page.evaluate(
            "() => { try { lesson.textOf('order', 'nothing') } catch (error) { return error.message } }"
        )
        assert said == 'The text "nothing" of order is missing in en.'


def test_the_static_page_may_ask_for_nothing(lesson_page: Path, lesson: Lesson) -> None:
    text = lesson_page.read_text(encoding="utf-8")
    assert "connect-src" not in text
    assert "default-src 'none'" in text
    assert "http" not in text.partition("</style>")[0].replace("http-equiv", "")
    with lesson() as page:
        assert not page.evaluate("lesson.engine.live")


def test_the_static_page_is_small(lesson_page: Path) -> None:
    """With the kernels for browsers without relaxed SIMD, which are as large, it has at most 3 MB."""
    kernels = len(json.dumps(palette(["relaxed"])))
    assert lesson_page.stat().st_size + kernels < 3e6


@pytest.mark.exhaustive
def test_the_whole_static_page_is_small() -> None:
    assert len(html(cells=palette()).encode()) < 3e6
