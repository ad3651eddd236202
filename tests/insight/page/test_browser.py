# mypy: allow-untyped-defs, allow-incomplete-defs
"""The page in a real browser."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import gatewise
from gatewise import Vector, cell, sigmoid, tanh
from tests.insight.page.conftest import Opened, settle
from tests.insight.page.pages import array, data_of, named
from tests.selection import with_rest
from tests.tabs import LONG, faults

if TYPE_CHECKING:
    from playwright.sync_api import Page


pytestmark = pytest.mark.usefixtures("relaxed")


@cell
def constructor(toString, hasOwnProperty, *, valueOf, length: Vector, name, prototype):
    """A cell in which every name is also a name of JavaScript."""
    valueOf = sigmoid(valueOf)
    __proto__ = tanh(name)
    isPrototypeOf = sigmoid(prototype + length * hasOwnProperty)
    hasOwnProperty = valueOf * hasOwnProperty + (1 - valueOf) * __proto__
    toString = isPrototypeOf * tanh(hasOwnProperty)
    return toString, hasOwnProperty


BY, MINUS = "\N{MULTIPLICATION SIGN}", "\N{MINUS SIGN}"


# Layers of the page by the words that it has for them.
TITLES = {
    "l0": "layer 1",
    "l0_reverse": "layer 1, backwards",
    "l1": "layer 2",
    "l1_reverse": "layer 2, backwards",
}
NAMES = {title: name for name, title in TITLES.items()}


def chosen(page: Page) -> tuple[str, int, int, int]:
    """The layer, row, unit and step that the controls show."""
    layer = page.locator("#layer option:checked").inner_text()
    numbers = [int(page.input_value(f"#{name}")) for name in ("row", "unit", "at")]
    return NAMES.get(layer, layer), numbers[0], numbers[1], numbers[2]


def numbers_of(page: Page) -> dict[str, tuple[float, float]]:
    """By name, a value before and at the step, from the table; NaN where the table has none."""
    script = """rows => rows.map(row => [row.querySelector("th").textContent,
        ...[...row.querySelectorAll("td")].map(cell => cell.querySelector("data")?.value ?? "nan")])"""
    found = page.eval_on_selector_all("#values tr", script)
    return {name: (float(before), float(now)) for name, before, now in found}


def picture(page: Page, canvas: str) -> str:
    found: str = page.evaluate(f"document.getElementById('{canvas}').toDataURL()")
    return found


def choose(page: Page, **what: str) -> None:
    for name, label in what.items():
        page.select_option(f"#{name}", label=TITLES.get(label, label))
    settle(page)


def go_to(page: Page, step: int) -> None:
    page.locator("#at").fill(str(step))
    settle(page)


def check_numbers(page: Page, data: dict[str, Any]) -> None:
    """Compare the table of numbers with the recording, at the position of the controls."""
    name, row, unit, t = chosen(page)
    layer = named(data["layers"], name)
    shown = numbers_of(page)
    assert list(shown) == [value["name"] for value in layer["values"]]
    for value in layer["values"]:
        recorded, (before, now) = array(value), shown[value["name"]]
        assert np.float32(now) == recorded[t, row, unit]
        ends = data["lengths"][row] if data["lengths"] else data["all_steps"]
        previous = t + 1 if layer["reverse"] else t - 1
        if value["kind"] != "state":
            assert np.isnan(before)
        else:
            inside = 0 <= previous < ends
            assert np.float32(before) == (recorded[previous, row, unit] if inside else 0)


def test_the_table_shows_the_recording_at_every_position(opened: Opened, pages: dict[str, Path]) -> None:
    data = data_of(pages["layers"])
    with opened(pages["layers"]) as page:
        for layer in ("l0", "l1_reverse", "l0_reverse"):
            for row, steps in (("0 (30 steps), to 29:00", 30), ("1 (12 steps), to 11:00", 12)):
                choose(page, layer=layer, row=row, unit="7")
                for step in (0, 5, steps - 1):
                    go_to(page, step)
                    assert chosen(page) == (layer, int(row[0]), 7, step)
                    check_numbers(page, data)


def test_the_three_cards_show_the_arithmetic_of_the_step(opened: Opened, pages: dict[str, Path]) -> None:
    data = data_of(pages["layers"])
    values = {value["name"]: array(value) for value in named(data["layers"], "l0")["values"]}
    with opened(pages["layers"]) as page:
        choose(page, layer="l0", unit="3", row="0 (30 steps), to 29:00")
        go_to(page, 9)
        f, i, g, o, c, h = (float(values[name][9, 0, 3]) for name in "figoch")
        old = float(values["c"][8, 0, 3])
        wanted = [(f, old, f * old), (i, g, i * g), (o, np.tanh(c), h)]
        equations = page.locator(".card .equation").all_inner_texts()
        for equation, label, (a, b, product) in zip(
            equations, (f"f {BY} old c", f"i {BY} g", f"o {BY} tanh(c)"), wanted, strict=True
        ):
            start, numbers, result = equation.split(" = ")
            assert start == label
            read = [float(n.strip("()").replace(MINUS, "-")) for n in (*numbers.split(f" {BY} "), result)]
            np.testing.assert_allclose(read, [a, b, product], rtol=6e-3, atol=1e-4)
        assert page.locator(".card h3").all_inner_texts() == ["1Forget", "2Write", "3Speak"]
        page.click("#numbers summary")
        lines = page.locator("#lines p").all_inner_texts()
        assert [line.split(" = ")[:2] for line in lines] == [
            ["h", f"o {BY} tanh(c)"],
            ["c", f"f {BY} old c + i {BY} g"],
        ]


SQUASHED: dict[str, Any] = {"\N{GREEK SMALL LETTER SIGMA}": lambda x: 1 / (1 + np.exp(-x)), "tanh": np.tanh}


@pytest.mark.parametrize("name", ["layers", "plain", "text"])
def test_the_sums_before_the_gates_give_the_recorded_gates(
    opened: Opened, pages: dict[str, Path], name: str
) -> None:
    """Input, previous output and bias add up, and squashed they are what the network computed."""
    data = data_of(pages[name])
    with opened(pages[name]) as page:
        for step in (0, 1, 5):
            go_to(page, step)
            called, row, unit, t = chosen(page)
            layer = next(part for part in data["layers"] if called in (part["name"], "lstm: layer 1"))
            recorded = {value["name"]: array(value)[t, row, unit] for value in layer["values"]}
            rows = page.locator("#sums-rows tr").all_inner_texts()
            assert len(rows) == len(layer["sums"]["gates"])
            for text, gate in zip(rows, layer["sums"]["gates"], strict=True):
                head, *parts, squashed = text.split("\t")
                numbers = [
                    0.0 if part == "\N{EN DASH}" else float(part.replace(MINUS, "-")) for part in parts
                ]
                assert head == gate["name"]
                np.testing.assert_allclose(sum(numbers[:3]), numbers[3], rtol=0.01, atol=0.01)
                value, function, result = squashed.split(" = ")
                assert value == gate["value"]
                assert float(result.replace(MINUS, "-")) == pytest.approx(recorded[value], rel=6e-3, abs=1e-4)
                expected = SQUASHED[function.partition("(")[0]](numbers[3])
                assert expected == pytest.approx(recorded[value], rel=0.02, abs=0.006)


def test_keys_move_step_and_unit(opened: Opened, pages: dict[str, Path]) -> None:
    with opened(pages["layers"]) as page:
        choose(page, layer="l0", row="0 (30 steps), to 29:00", unit="4")
        page.locator("body").click(position={"x": 5, "y": 5})
        places = []
        for key in (
            "Home",
            "ArrowRight",
            "ArrowRight",
            "ArrowLeft",
            "ArrowUp",
            "ArrowDown",
            "ArrowDown",
            "End",
        ):
            page.keyboard.press(key)
            settle(page)
            places.append(chosen(page)[2:])
        assert places == [(4, 0), (4, 1), (4, 2), (4, 1), (5, 1), (4, 1), (3, 1), (3, 29)]
        page.keyboard.press("ArrowRight")
        settle(page)
        assert chosen(page)[3] == 29


def test_everything_can_be_reached_and_used_with_the_keyboard(opened: Opened, pages: dict[str, Path]) -> None:
    with opened(pages["layers"]) as page:
        reached = set()
        for _ in range(120):
            page.keyboard.press("Tab")
            script = "document.activeElement.id || document.activeElement.name || ''"
            reached.add(page.evaluate(script))
        assert {
            "theme",
            "value",
            "order",
            "zoom-in",
            "zoom-all",
            "layer",
            "row",
            "unit",
            "at",
            "play",
        } <= reached
        page.focus("#at")
        before = chosen(page)[3]
        page.keyboard.press("ArrowLeft")
        settle(page)
        assert chosen(page)[3] == before - 1


def test_it_plays(opened: Opened, pages: dict[str, Path]) -> None:
    from playwright.sync_api import expect

    with opened(pages["two"]) as page:
        go_to(page, 0)
        page.click("#play")
        assert page.inner_text("#play") == "Stop"
        expect(page.locator("#at-words")).to_have_text("step 6", timeout=LONG)
        expect(page.locator("#play")).to_have_text("Play", timeout=LONG)


@pytest.mark.parametrize(
    ("control", "label", "canvases"),
    [
        ("layer", "l1", ("heat", "strips", "gate-lines", "state-lines", "ledger", "halves", "flow")),
        ("row", "1 (12 steps), to 11:00", ("heat", "strips", "input-lines", "ledger", "shares", "features")),
        ("unit", "9", ("heat", "gate-lines", "state-lines", "ledger", "halves")),
        ("order", "by half-life", ("heat",)),
        ("theme", "dark", ("heat", "gate-lines", "ledger", "scale")),
    ],
)  # fmt: skip
def test_a_choice_changes_the_pictures(
    control: str, label: str, canvases: tuple[str, ...], opened: Opened, pages: dict[str, Path]
) -> None:
    with opened(pages["layers"]) as page:
        choose(page, layer="l0", row="0 (30 steps), to 29:00", unit="2")
        before = {name: picture(page, name) for name in canvases}
        choose(page, **{control: label})
        assert [name for name in canvases if picture(page, name) == before[name]] == []


def test_the_value_the_step_and_the_zoom_change_the_heat_map(opened: Opened, pages: dict[str, Path]) -> None:
    with opened(pages["layers"]) as page:
        choose(page, layer="l0", row="0 (30 steps), to 29:00")
        pictures = [picture(page, "heat")]
        page.check("input[name=value][value=f]", force=True)
        settle(page)
        pictures.append(picture(page, "heat"))
        assert page.inner_text("#heat-title") == "f of all units, step by step"
        assert page.inner_text("#value-words").startswith("f decides how much of the old c is kept")
        go_to(page, 3)
        pictures.append(picture(page, "heat"))
        page.click("#zoom-in")
        settle(page)
        pictures.append(picture(page, "heat"))
        page.click("#zoom-right")
        settle(page)
        pictures.append(picture(page, "heat"))
        assert len(set(pictures)) == 5
        page.click("#zoom-all")
        settle(page)
        assert picture(page, "heat") == pictures[2]


def test_the_colours_of_the_heat_map_show_the_values(opened: Opened, pages: dict[str, Path]) -> None:
    f = array(named(named(data_of(pages["layers"])["layers"], "l0")["values"], "f"))[:, 0]
    with opened(pages["layers"]) as page:
        choose(page, layer="l0", row="0 (30 steps), to 29:00", unit="0")
        page.check("input[name=value][value=f]", force=True)
        go_to(page, 0)
        script = """() => { const c = document.getElementById("heat"), found = [];
            const { data } = c.getContext("2d").getImageData(0, 0, c.width, c.height);
            const w = (c.width - 62) / 30, h = (c.height - 32) / 12;
            for (let t = 2; t < 30; t++) for (let u = 2; u < 12; u++) {
              const y = Math.floor(c.height - 26 - (u + 0.5) * h);
              const k = 4 * (y * c.width + Math.floor(52 + (t + 0.5) * w));
              found.push(data[k] + data[k + 1]);
            }
            return found; }"""
        light = np.array(page.evaluate(script)).reshape(28, 10)
    order = np.argsort(f[2:, 2:].ravel())
    rising = light.ravel()[order]
    assert (np.diff(rising) >= 0).all()  # in the colour map cividis, red and green rise with the value
    assert rising[-1] - rising[0] > 60


def test_a_click_on_the_heat_map_selects_and_hovering_shows_values(
    opened: Opened, pages: dict[str, Path]
) -> None:
    c = array(named(named(data_of(pages["layers"])["layers"], "l0")["values"], "c"))
    with opened(pages["layers"]) as page:
        choose(page, layer="l0", row="0 (30 steps), to 29:00", unit="0")
        box = page.locator("#heat").bounding_box()
        assert box is not None
        place = {
            "x": 52 + (20.5 / 30) * (box["width"] - 62),
            "y": box["height"] - 26 - (8.5 / 12) * (box["height"] - 32),
        }
        page.hover("#heat", position=place)
        words = page.inner_text("#tip")
        assert words.startswith("step 20, 20:00, unit 8: c = ")
        assert float(words.split(" = ")[1].replace(MINUS, "-")) == pytest.approx(c[20, 0, 8], rel=6e-3)
        page.click("#heat", position=place)
        settle(page)
        assert chosen(page) == ("l0", 0, 8, 20)


def test_words_carry_the_colour_of_the_unit(opened: Opened, pages: dict[str, Path]) -> None:
    h = array(named(data_of(pages["text"])["layers"][0]["values"], "h"))
    with opened(pages["text"]) as page:
        choose(page, row="0 (6 steps)", unit="2")
        page.check("input[name=value][value=h]", force=True)
        settle(page)
        assert page.inner_text("#text") == "a(bc)a"
        tints = page.eval_on_selector_all(
            "#text span", "all => all.map(one => getComputedStyle(one).backgroundColor)"
        )
        reds = [int(tint.removeprefix("rgb(").split(",")[0]) for tint in tints]
        signs = [red >= 196 for red in reds]  # orange has more red than blue
        assert signs == (h[:6, 0, 2] >= 0).tolist()
        shares = array(data_of(pages["text"])["shares"]["steps"])[:6, 0]
        tints = page.eval_on_selector_all(
            "#shares-text span", "all => all.map(one => getComputedStyle(one).backgroundColor)"
        )
        reds = [int(tint.removeprefix("rgb(").split(",")[0]) for tint in tints]
        strong = np.abs(shares) > 0.05 * np.abs(shares).max()
        assert (np.array(reds) >= 196)[strong].tolist() == (shares > 0)[strong].tolist()
        page.click("#text span:nth-child(4)")
        settle(page)
        assert chosen(page)[3] == 3
        assert page.inner_text("#at-words") == "step 3 “c”"


def test_a_cell_of_two_memories_has_both(opened: Opened, pages: dict[str, Path]) -> None:
    with opened(pages["two"]) as page:
        assert page.locator("#memory-state option").all_inner_texts() == ["a", "b"]
        second = page.locator(".card .equation").first.inner_text()
        choose(page, **{"memory-state": "a"})
        first = page.locator(".card .equation").first.inner_text()
        assert (first.split(" = ")[0], second.split(" = ")[0]) == (
            f"f {BY} old a",
            f"(1 {MINUS} f) {BY} old b",
        )


def test_a_cell_without_memory_says_so(opened: Opened, pages: dict[str, Path]) -> None:
    with opened(pages["plain"]) as page:
        assert page.locator(".card h3").all_inner_texts() == ["1Add and squash"]
        assert page.is_visible("#memory-none")
        assert not page.is_visible("#ledger")
        assert not page.is_visible("#saturation")
        check_numbers(page, data_of(pages["plain"]))


def test_a_row_without_steps_says_so(opened: Opened, pages: dict[str, Path]) -> None:
    with opened(pages["layers"]) as page:
        choose(page, row="2 (0 steps)")
        assert page.inner_text("#step-where") == "Sequence 2 has no steps here."
        choose(page, row="1 (12 steps), to 11:00")
        check_numbers(page, data_of(pages["layers"]))


def test_a_click_on_a_finding_shows_its_place(opened: Opened, pages: dict[str, Path]) -> None:
    data = data_of(pages["layers"])
    number, finding = next(
        (n, f) for n, f in enumerate(data["findings"]) if f["step"] is not None and f["unit"] is not None
    )
    with opened(pages["layers"]) as page:
        choose(page, layer="l1", unit="0")
        item = page.locator("#sentences li").nth(number)
        layer = finding["layer"]
        assert item.inner_text() == f"{finding['text'].replace(f'{layer}:', f'{TITLES[layer]}:', 1)} Show"
        item.get_by_role("button").click()
        settle(page)
        assert chosen(page) == (finding["layer"], finding["row"], finding["unit"], finding["step"])


@pytest.mark.parametrize("name", ["layers", "text", "two", "plain"])
@pytest.mark.parametrize(
    ("width", "dark"),
    with_rest(product([1280, 375], [False, True]), lambda width, dark: dark == (width == 375)),
)
def test_the_page_is_accessible_and_does_not_overflow(
    name: str, width: int, dark: bool, opened: Opened, pages: dict[str, Path]
) -> None:
    with opened(pages[name], width, dark) as page:
        page.click("#numbers summary")
        settle(page)
        wide = page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth]")
        assert max(wide) <= width
        assert faults(page) == []


@pytest.mark.parametrize("number", [0.0, float("nan"), float("inf"), 1e30])
def test_any_numbers_and_any_names_are_shown(number: float, opened: Opened, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer, x = gatewise.nn.Recurrent(constructor, 3, 4), torch.randn(6, 2, 3)
    x[2] = number
    path = tmp_path / "page.html"
    gatewise.look(layer, x, path, feature_names=["__proto__", "constructor", "<b>"])
    with opened(path) as page:
        for step in range(6):
            go_to(page, step)
            if number < 1:
                check_numbers(page, data_of(path))
        text = page.inner_text("body")
    assert "hasOwnProperty" in text
    assert "undefined" not in text
    assert "NaN" not in text
