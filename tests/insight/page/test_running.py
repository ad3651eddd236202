# mypy: allow-untyped-defs, allow-incomplete-defs
"""The page runs the model: what the reader types, drags, pastes or holds gives what Python gives."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gatewise
from gatewise import cells
from tests.insight.page.conftest import Opened, settle
from tests.insight.page.pages import (
    CELLS,
    LENGTHS,
    TEXTS,
    Reader,
    data_of,
    ids_of,
    layer_of,
    sequence,
)
from tests.insight.page.test_browser import choose, chosen, go_to, numbers_of
from tests.insight.page.test_tracing import Classifier
from tests.random_cells.quickly import compiling_quickly
from tests.tabs import faults

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.usefixtures("relaxed")

MINUS = "\N{MINUS SIGN}"


def started(page: Page) -> None:
    """Wait until the network runs in the page."""
    page.wait_for_selector("#try-live:visible")
    settle(page)


def seen_in_python(model: nn.Module, x: Any, *more: Any) -> dict[str, dict[str, Tensor]]:
    """Every value of every layer, without an axis of rows."""
    with torch.no_grad(), gatewise.watch(model.eval()) as seen:
        model(x, *more)
    return {layer: {name: values[name][:, 0] for name in values.names} for layer, values in seen.items()}


# The names and numbers in the table at each unit and step, chosen in the page: a choice by Playwright takes
# three times as long.
SHOWN = """async ([units, steps]) => {
    const choose = (control, value, event) => {
        control.value = value;
        control.dispatchEvent(new Event(event));
    };
    const [unit, at, shown] = [document.getElementById("unit"), document.getElementById("at"), []];
    for (const number of units) {
        choose(unit, [...unit.options].find((option) => option.text === number).value, "change");
        for (const step of steps) {
            choose(at, step, "input");
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            const rows = [...document.querySelectorAll("#values tr")];
            shown.push(rows.map((row) => [row.querySelector("th").textContent,
                [...row.querySelectorAll("td")].at(-1).querySelector("data")?.value ?? "nan"]));
        }
    }
    return shown;
}"""


def check_all(
    page: Page, wanted: dict[str, dict[str, Tensor]], units: list[int], steps: list[int], signs: bool = True
) -> None:
    """Compare the table of numbers with Python, bit by bit, at the given units and steps.

    Without `signs` a zero may have another sign, as `gatewise.edit` says.
    """
    assert page.locator("#row option:checked").inner_text() == "yours"
    for layer, values in wanted.items():
        if page.locator("#layer").is_visible():
            choose(page, layer=layer)
        shown = page.evaluate(SHOWN, [list(map(str, units)), steps])
        for (unit, step), numbers in zip(product(units, steps), shown, strict=True):
            assert numbers
            for name, now in numbers:
                found, value = np.float32(float(now)), values[name][step, unit].numpy()
                same = found.tobytes() == value.tobytes() or (found == value == 0 and not signs)
                assert same, (layer, name, unit, step)


def answers(page: Page) -> dict[str, list[float]]:
    """By output, the numbers in its row of the table of answers."""
    script = """rows => rows.map(row => [row.querySelector("th").textContent,
        ...[...row.querySelectorAll("data")].map(number => number.value)])"""
    return {name: list(map(float, values)) for name, *values in page.eval_on_selector_all("#best tr", script)}


@pytest.mark.parametrize("name", ["layers", "text", "two", "plain"])
def test_it_computes_its_first_sequence_to_the_bit(opened: Opened, pages: dict[str, Path], name: str) -> None:
    data = data_of(pages[name])
    row = [length := data["lengths"][0] if data["lengths"] else data["all_steps"]][0]
    count = sum(row * value["shape"][2] for layer in data["layers"] for value in layer["values"])
    with opened(pages[name]) as page:
        started(page)
        said = page.inner_text("#try-bits")
    assert f"computed sequence 0 again: all {count:,} numbers of its layers equal Python" in said
    assert length == row


def reader() -> Reader:
    torch.manual_seed(0)
    return Reader()


@pytest.mark.parametrize("text", ["(c(b)a)", "a", "b(a)" * 20, "~!x"])
def test_a_typed_text_gives_what_python_gives(opened: Opened, pages: dict[str, Path], text: str) -> None:
    model, ids = reader(), torch.tensor([[ord(letter)] for letter in text])
    scores = model(ids)[:, 0].detach()
    with opened(pages["text"]) as page:
        started(page)
        page.fill("#typed", text)
        settle(page)
        check_all(page, seen_in_python(model, ids), [0, 5], [0, len(text) // 2, len(text) - 1])
        assert page.locator("#text span").all_inner_texts() == list(text)
        found = [values[0] for values in answers(page).values()]
        np.testing.assert_allclose(found, scores[-1], rtol=1e-5, atol=1e-6)
        page.click("#restart")
        settle(page)
        assert page.locator("#row option").count() == len(TEXTS)


def test_words_that_the_network_does_not_know_are_named_and_left_out(opened: Opened, tmp_path: Path) -> None:
    texts = [["the", "<b>cat</b>", "sat"], ["a", "cat", "ran"]]
    words = sorted({word for text in texts for word in text})
    ids = torch.tensor([[words.index(word) for word in text] for text in texts]).T
    gatewise.look(reader(), ids, tmp_path / "words.html", tokens=texts)
    with opened(tmp_path / "words.html") as page:
        started(page)
        page.fill("#typed", " the cat  <i>mat</i> ran ")
        settle(page)
        assert page.inner_text("#typed-words").startswith("The network does not know \u201c<i>mat</i>\u201d")
        assert page.locator("#text span").all_inner_texts() == ["the", "cat", "ran"]
        assert page.locator("#try i, #try b").count() == 0
        page.fill("#typed", "   ")
        assert page.inner_text("#typed-words").startswith("There is no text yet.")
        page.fill("#typed", "nothing known")
        settle(page)
        assert page.locator("#text span").all_inner_texts() == ["the", "cat", "ran"]
        known = torch.tensor([[words.index(word)] for word in ["the", "cat", "ran"]])
        check_all(page, seen_in_python(reader(), known), [2], [0, 1, 2])


def test_letters_may_stand_for_vectors(opened: Opened, tmp_path: Path) -> None:
    table, model = torch.eye(3), layer_of(cells.gru)
    texts = ["abcab", "ccba"]
    x = torch.zeros(5, 2, 3)
    for row, text in enumerate(texts):
        x[: len(text), row] = table[["abc".index(letter) for letter in text]]
    gatewise.look(model, x, tmp_path / "letters.html", lengths=[5, 4], tokens=texts)
    with opened(tmp_path / "letters.html") as page:
        started(page)
        page.fill("#typed", "bbbacc")
        settle(page)
        typed = table[["abc".index(letter) for letter in "bbbacc"]][:, None]
        check_all(page, seen_in_python(model, typed), [0, 4], list(range(6)))


def table(page: Page) -> Tensor:
    """The numbers in the table of the input ``[T, 1, I]``."""
    page.evaluate("document.getElementById('table-part').open = true")
    settle(page)
    rows = [list(map(float, line.split("\t"))) for line in page.input_value("#table").split("\n")[1:]]
    return torch.tensor(rows, dtype=torch.float32)[:, None]


def test_a_dragged_curve_gives_what_python_gives(opened: Opened, pages: dict[str, Path]) -> None:
    model = layer_of(cells.lstm, 6, 12, num_layers=2, bidirectional=True)
    with opened(pages["layers"]) as page:
        started(page)
        choose(page, row="0 (30 steps), to 29:00")
        before = table(page)
        np.testing.assert_array_equal(before, sequence(30, 3, 6)[:, :1])
        box = page.locator("#curve").bounding_box()
        assert box is not None
        page.locator("#curve").scroll_into_view_if_needed()
        box = page.locator("#curve").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 100, steps=4)
        page.mouse.up()
        settle(page)
        after = table(page)
        changed = (after != before)[:, 0].nonzero()
        assert set(changed[:, 1].tolist()) == {0}
        assert len(changed) in range(5, 9)
        values = after[changed[:, 0], 0, 0]
        assert (values.diff() <= 0).all()
        check_all(page, seen_in_python(model, after), [3, 11], [0, int(changed[0, 0]), 29])


def test_the_number_of_a_step_can_be_typed(opened: Opened, pages: dict[str, Path]) -> None:
    model, x = layer_of(cells.lstm, 6, 12, num_layers=2, bidirectional=True), sequence(30, 3, 6)[:12, 1:2]
    with opened(pages["layers"]) as page:
        started(page)
        choose(page, row="1 (12 steps), to 11:00")
        page.select_option("#curve-input", label="wind <b>")
        go_to(page, 7)
        page.fill("#curve-number", "-2.5")
        settle(page)
        x = x.clone()
        x[7, 0, 1] = -2.5
        check_all(page, seen_in_python(model, x), [0], [0, 6, 7, 11])


@pytest.mark.parametrize("separator", ["\t", ",", ";"])
def test_pasted_rows_give_what_python_gives(opened: Opened, pages: dict[str, Path], separator: str) -> None:
    model = layer_of(cells.lstm, 6, 12, num_layers=2, bidirectional=True)
    x = torch.randn(17, 1, 6, generator=torch.Generator().manual_seed(5)).round(decimals=3)
    names = ["c", "temperature (°C)", "extra", "wind <b>", "e", "d", "f"]
    order = [2, 0, None, 1, 4, 3, 5]
    lines = [separator.join(names)]
    for row in x[:, 0]:
        numbers = [f"{0.0 if k is None else float(row[k]):.3f}" for k in order]
        comma = separator == ";"
        lines.append(separator.join(number.replace(".", ",") if comma else number for number in numbers))
    with opened(pages["layers"]) as page:
        started(page)
        page.click("#table-part summary")
        page.fill("#table", "\r\n".join(lines) + "\r\n\r\n")
        settle(page)
        assert page.inner_text("#table-words") == "Read: 17 steps."
        check_all(page, seen_in_python(model, x), [1], [0, 16])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "There are no rows yet."),
        ("a,b,c,d,e,f", "There are names, but no rows of numbers yet."),
        ("1,2,3,4,5", "Line 1 must have 6 numbers. It has 5."),
        ("1 2 3 4 5 6\n1 2 3 4 5 six", "Line 2 must have a number for f. It has \u201csix\u201d."),
        ("1,2,3,4,5,6\n1,2,,4,5,6", "Line 2 must have a number for c. It has \u201c\u201d."),
        ("1,2,3,4,5,1e40", "Line 1 must have a number for f. It has \u201c1e40\u201d."),
        ("1 2 3 4 5 6\n" * 5001, "There may be 5000 rows at most. There are 5001."),
        ("1\t\t3\t4\t5\t6\n1\t2\t3\t4\t5\t6", "Line 1 must have a number for wind <b>. It has \u201c\u201d."),
        ("1 2 3 4 5 #N/A\n1 2 3 4 5 6", "Line 1 must have a number for f. It has \u201c#N/A\u201d."),
        ("1\t2\t3\t4\t5\t6\n\t\t\t\t\t\n1\t2\t3\t4\t5\t6", "Line 2 must have 6 numbers. It has 1."),
        ("1\t2\t3\t4\t1,234\t0.5", "Line 1 must have a number for e. It has \u201c1,234\u201d."),
        ("<img src=x>,2,3,4,5,6\n1,2,3,4,5,<b>", "Line 2 must have a number for f. It has \u201c<b>\u201d."),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_read_are_told_by_line(
    opened: Opened, pages: dict[str, Path], text: str, said: str
) -> None:
    with opened(pages["layers"]) as page:
        started(page)
        page.click("#table-part summary")
        page.evaluate(PASTE, text or " ")
        settle(page)
        assert page.inner_text("#table-words") == said
        assert page.locator("#row option:checked").inner_text() != "yours"
        assert page.locator("#try img").count() == 0


def test_a_classifier_of_both_directions_answers_to_whole_texts(opened: Opened, tmp_path: Path) -> None:
    """With a linear map before the layers: what they read is equal up to rounding, and the page says so."""
    torch.manual_seed(0)
    model = Classifier().eval()
    ids = torch.randint(9, (3, 7), generator=torch.Generator().manual_seed(0))
    found = gatewise.look(
        model, (ids, [7, 3, 5]), tmp_path / "p.html", outputs=["no", "<yes>"], probabilities=True
    )
    assert found.notes == ()
    with opened(found.path) as page:
        started(page)
        said = page.inner_text("#try-bits")
        assert "equal Python" in said or "What they read is added up in another order." in said
        page.fill("#typed", "3 1 4 1 5 8 2 6")
        settle(page)
        with torch.no_grad():
            wanted = model(torch.tensor([[3, 1, 4, 1, 5, 8, 2, 6]]), [8])["scores"].softmax(-1)[0]
        shown = answers(page)
        assert shown["no"][0] == pytest.approx(float(wanted[0]), rel=1e-5)
        assert shown["<yes>"][0] == pytest.approx(float(wanted[1]), rel=1e-5)
        assert page.inner_text("#answer-words") == "After the whole sequence."


@pytest.mark.parametrize(
    ("text", "numbers", "said"),
    [
        ("1,5\n-2,5\n3", [1.5, -2.5, 3], "Read: 3 steps."),  # commas are decimal signs
        ("speed\n\u22121,5", [-1.5], "Read: 1 step."),
        ('"gusts","speed"\n"9","1.5"\n8,2', [1.5, 2], "Read: 2 steps."),
        ("\ufeff\n1.5\r\n\r\n2\n\n", [1.5, 2], "Read: 2 steps."),
        ("pace\n1\n2", [1, 2], "Read: 2 steps. The first line has other names than the inputs: "
         "the columns are read in their order."),
    ],
)  # fmt: skip
def test_a_column_as_spreadsheets_write_it(
    opened: Opened, series: Path, text: str, numbers: list[float], said: str
) -> None:
    with opened(series) as page:
        started(page)
        page.click("#table-part summary")
        page.evaluate(PASTE, text)
        settle(page)
        assert page.inner_text("#table-words") == said
        assert page.get_attribute("#at", "max") == str(len(numbers) - 1)
        for t, number in enumerate(numbers):
            go_to(page, t)
            assert float(page.input_value("#curve-number")) == number


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of one input with a name, in float64."""
    path = tmp_path_factory.mktemp("series") / "series.html"
    gatewise.look(layer_of(cells.gru, 1).double(), sequence(9, 1, 1).double(), path, feature_names=["speed"])
    return path


def test_a_model_in_float64_is_said_to_be_one(opened: Opened, series: Path) -> None:
    with opened(series) as page:
        started(page)
        assert "The model computes in float64, the page in float32." in page.inner_text("#try-bits")


def test_an_input_that_is_not_a_number_is_read_as_in_python(opened: Opened, tmp_path: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    x = sequence(9, 1, 3)
    x[4, 0, 1] = torch.nan
    gatewise.look(layer_of(cells.lstm), x, tmp_path / "nan.html")
    with opened(tmp_path / "nan.html") as page:
        started(page)
        assert "all 270 numbers of its layers equal Python" in page.inner_text("#try-bits")
        assert page.inner_text("#flow-words") == "The derivatives are not finite numbers."
        assert Axe().run(page).response["violations"] == []


def test_numbers_beyond_float32_are_not_taken(opened: Opened, series: Path) -> None:
    with opened(series) as page:
        started(page)
        page.fill("#curve-number", "1e39")
        hold(page, "z", 1, 1e39, 0, 3)
        assert page.locator("#held li").count() == 0
        hold(page, "z", 1, 0.5, 0, 3)
        page.fill("#held input", "-1e39")
        settle(page)
        assert page.locator("#held li").count() == 1
        assert all(np.isfinite(values).all() for values in answers(page).values())


# Playwright's fill takes minutes for thousands of lines; pasting them takes a second.
PASTE = """text => {
    const field = document.getElementById("table");
    field.focus();
    field.value = text;
    field.dispatchEvent(new Event("input"));
}"""


def hold(page: Page, name: str, unit: int | None, number: float, first: int, last: int) -> None:
    page.select_option("#hold-value", name)
    if unit is not None:
        choose(page, unit=str(unit))
    page.select_option("#hold-unit", "1" if unit is None else "0")
    for field, value in (("number", number), ("first", first), ("last", last)):
        page.fill(f"#hold-{field}", str(value))
    page.click("#hold button[type=submit]")
    settle(page)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_what_is_held_gives_what_edit_gives(opened: Opened, cell: gatewise.Cell, tmp_path: Path) -> None:
    """Every value that can be held, each on top of those before."""
    model, x = layer_of(cell), sequence(7, 2, 3)
    gatewise.look(model, x, tmp_path / "page.html")
    edited: nn.Module = model
    with compiling_quickly(), opened(tmp_path / "page.html") as page:
        started(page)
        choose(page, row="0")
        names = page.locator("#hold-value option").all_inner_texts()
        assert set(names) == {name for name, node in cell.values.items() if node.op != "gate"}
        for k, name in enumerate(names):
            unit, number, first = (None if k % 2 else 3), 0.25 * k - 0.5, k % 3
            hold(page, name, unit, number, first, first + 2)
            units = None if unit is None else [unit]
            edited = gatewise.edit(edited, "l0", {name: number}, units=units, steps=slice(first, first + 3))
            check_all(page, seen_in_python(edited, x[:, :1]), [3, 1], [0, 2, 3, 6], signs=False)
        assert page.locator("#held li").count() == len(names)


def test_both_directions_of_a_stack_are_held_at_once_and_let_go(
    opened: Opened, pages: dict[str, Path]
) -> None:
    model, x = layer_of(cells.lstm, 6, 12, num_layers=2, bidirectional=True), sequence(30, 3, 6)[:, :1]
    with opened(pages["layers"]) as page:
        started(page)
        choose(page, row="0 (30 steps), to 29:00", layer="l0_reverse")
        hold(page, "f", 5, 1.0, 10, 19)
        choose(page, layer="l1")
        choose(page, unit="2")
        page.click("#silence")
        settle(page)
        edited = gatewise.edit(model, "l0_reverse", f=1.0, units=[5], steps=slice(10, 20))
        edited = gatewise.edit(edited, "l1", h=0.0, units=[2])
        check_all(page, seen_in_python(edited, x), [5, 2], [0, 9, 10, 20, 29])
        found, plain = edited(x)[0].detach()[:, 0], model(x)[0].detach()[:, 0]
        go_to(page, 12)
        for name, (now, without) in answers(page).items():
            k = int(name.removeprefix("output "))
            assert np.float32(now) == found[12, k]
            assert np.float32(without) == plain[12, k]
        page.locator("#held li button").first.click()
        settle(page)
        edited = gatewise.edit(model, "l1", h=0.0, units=[2])
        check_all(page, seen_in_python(edited, x), [5], [0, 15])


def test_the_ledger_of_a_sequence_of_the_readers_adds_up_to_its_memory(
    opened: Opened, pages: dict[str, Path]
) -> None:
    """Also where a gate or the memory itself is held, which nothing before can pass."""
    model, ids = reader(), torch.tensor([[ord(letter)] for letter in "(ab)c(a)"])
    with opened(pages["text"]) as page:
        started(page)
        page.fill("#typed", "(ab)c(a)")
        choose(page, unit="2")
        with torch.no_grad(), gatewise.watch(model) as seen:
            model(ids)
        wanted = seen["lstm.l0"].ledger("c").written[:, 0, 2]
        parts = {}
        for row in page.locator("#parts tr").all():
            number = re.match(r"step (\d+)", row.inner_text())
            assert number is not None
            parts[int(number.group(1))] = float(row.locator("data").get_attribute("value") or "nan")
        for step, part in parts.items():
            assert part == pytest.approx(float(wanted[step]), abs=1e-6)
        hold(page, "c", 2, 0.5, 3, 4)
        words = page.inner_text("#ledger-words")
        missing = re.search(r"miss the state by (\S+)\.", words)
        assert missing is not None
        assert float(missing.group(1).replace(MINUS, "-").rstrip(".")) < 1e-6
        assert "step 4" in page.locator("#parts").inner_text()
        assert "step 2" not in page.locator("#parts tr").nth(0).inner_text()


def test_a_damaged_weight_is_noticed(opened: Opened, pages: dict[str, Path], tmp_path: Path) -> None:
    text = pages["plain"].read_text("utf-8")
    weight = data_of(pages["plain"])["running"]["layers"]["l0"]["weights"]["weight_hh"]["data"]
    changed = ("A" if weight[2] != "A" else "B").join([weight[:2], weight[3:]])
    page_of = tmp_path / "damaged.html"
    page_of.write_text(text.replace(weight, changed), "utf-8")
    with opened(page_of) as page:
        started(page)
        said = page.inner_text("#try-bits")
    assert re.search(r"\d+ of the 35 numbers of its layers differ from Python\S*, by \S+ at most", said)


def test_kernels_that_round_twice_say_how_far_off_they_are(
    opened: Opened, pages: dict[str, Path], tmp_path: Path
) -> None:
    """Kernels without relaxed SIMD, as Safari runs them: the last bits differ, and the page says how far."""
    text = pages["layers"].read_text("utf-8")
    (cell,) = data_of(pages["layers"])["running"]["cells"].values()
    code = cell["versions"]["plain"]["code"]
    page_of = tmp_path / "plain.html"
    page_of.write_text(text.replace(code["relaxed"], code["plain"]), "utf-8")
    with opened(page_of) as page:
        started(page)
        said = page.inner_text("#try-bits")
    found = re.search(
        r"(\S+) of the 8,640 numbers of its layers differ from Python\S*, by (\S+) at most", said
    )
    assert found is not None
    assert 0 < float(found.group(2).replace(MINUS, "-").rstrip(".")) < 1e-5


def test_a_damaged_kernel_leaves_the_page_as_it_was(
    opened: Opened, pages: dict[str, Path], tmp_path: Path
) -> None:
    text = pages["plain"].read_text("utf-8")
    (cell,) = data_of(pages["plain"])["running"]["cells"].values()
    for code in cell["versions"]["plain"]["code"].values():
        text = text.replace(code, code[:40] + "A" * (len(code) - 40))
    page_of = tmp_path / "damaged.html"
    page_of.write_text(text, "utf-8")
    with opened(page_of) as page:
        page.wait_for_function("document.getElementById('try-bits').textContent.includes('does not run')")
        assert page.locator("#try-live").is_hidden()
        assert page.locator(".card").count() == 1


def test_a_model_that_does_not_fit_is_left_out_with_a_sentence(opened: Opened, tmp_path: Path) -> None:
    found = gatewise.look(
        layer_of(cells.rnn, 300, 400), sequence(5, 1, 300), tmp_path / "p.html", megabytes=1
    )
    (note,) = [note for note in found.notes if "run" in note]
    assert note == (
        "The page does not run the model: its 280,800 weights do not fit into half of 1 MB. "
        "Give look a larger megabytes."
    )
    assert found.megabytes < 1
    assert data_of(found.path)["running"] is None
    assert "wasm-unsafe-eval" not in found.path.read_text("utf-8")
    with opened(found.path) as page:
        assert page.locator("#try").is_hidden()
        assert page.locator(".card").count() == 1


def test_the_policy_gains_webassembly_and_nothing_else(pages: dict[str, Path]) -> None:
    policies = re.findall(r'Content-Security-Policy" content="([^"]*)"', pages["text"].read_text("utf-8"))
    (policy,) = policies
    assert re.sub(r"sha256-[A-Za-z0-9+/=]{44}", "sha256", policy) == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256' 'wasm-unsafe-eval'"
    )


class Halves(nn.Module):
    """Two layers; what happens between them is not known."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = layer_of(cells.gru), layer_of(cells.rnn, 5, 4)

    def forward(self, x):
        return self.second(self.first(x)[0] ** 2)[0]


def test_a_layer_that_the_page_cannot_run_keeps_its_pictures(opened: Opened, tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = gatewise.look(Halves(), sequence(7, 2, 3), tmp_path / "p.html")
    assert found.notes == (
        "The page does not run second.l0: its input is computed in a way that this page does not know.",
    )
    with opened(found.path) as page:
        started(page)
        choose(page, layer="second: layer 1")
        assert page.locator(".card").count() == 1
        assert page.inner_text("#hold-not") == "The page does not run second: layer 1."
        choose(page, layer="first: layer 1", row="0")
        page.fill("#curve-number", "3")
        settle(page)
        x = sequence(7, 2, 3)[:, :1].clone()
        x[int(page.input_value("#at")), 0, 0] = 3
        assert chosen(page)[1] == 2
        assert answers(page).keys() == {f"unit {k}" for k in range(5)}
        choose(page, layer="second: layer 1")
        assert "has no numbers for your sequence" in page.inner_text("#step-where")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (375, True)])
@pytest.mark.parametrize("name", ["layers", "text"])
def test_a_sequence_of_the_readers_has_no_faults_and_fits(
    opened: Opened, pages: dict[str, Path], name: str, width: int, dark: bool
) -> None:
    with opened(pages[name], width, dark) as page:
        started(page)
        if name == "text":
            page.fill("#typed", "(((b)a~)c)" * 5)
        else:
            page.click("#table-part summary")
            page.fill("#table", "1 2 3 4 5 6\n" * 40)
        hold(page, "f", 1, 0.5, 2, 6)
        wide = page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth]")
        assert max(wide) <= width
        assert faults(page) == []


def test_everything_that_changes_the_network_works_with_keys_alone(
    opened: Opened, pages: dict[str, Path]
) -> None:
    with opened(pages["layers"]) as page:
        started(page)
        reached = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.id"))
        wanted = {"curve-input", "curve-number", "silence"}
        wanted |= {f"hold-{name}" for name in ("value", "unit", "number", "first", "last")}
        assert wanted <= reached
        page.focus("#curve-number")
        page.keyboard.press("ArrowUp")
        settle(page)
        assert page.locator("#row option:checked").inner_text() == "yours"
        page.focus("#silence")
        page.keyboard.press("Enter")
        settle(page)
        assert page.locator("#held li").count() == 1
        page.focus("#held button")
        page.keyboard.press("Space")
        settle(page)
        assert page.locator("#held li").count() == 0
        page.focus("#restart")
        page.keyboard.press("Enter")
        settle(page)
        assert page.locator("#row option:checked").inner_text() != "yours"


def test_a_text_longer_than_the_page_is_read_up_to_the_limit(opened: Opened, pages: dict[str, Path]) -> None:
    with opened(pages["text"]) as page:
        started(page)
        page.fill("#typed", "(ab)" * 2000)
        settle(page)
        assert page.inner_text("#typed-words") == "It reads the first 5000."
        assert page.get_attribute("#at", "max") == "4999"


def test_shown_parts_of_long_sequences_run_from_the_state_before_them(opened: Opened, tmp_path: Path) -> None:
    """Only the last steps are in the page; it begins in the states that the network had before them."""
    model = layer_of(cells.lstm, 3, 40)
    found = gatewise.look(model, sequence(4000, 2, 3), tmp_path / "p.html", megabytes=2)
    data = data_of(found.path)
    assert data["first"] > 0
    with opened(found.path) as page:
        started(page)
        assert "numbers of its layers equal Python" in page.inner_text("#try-bits")
        page.fill("#curve-number", "0.5")
        settle(page)
        step = int(page.input_value("#at"))
        x = sequence(4000, 2, 3)[:, :1].clone()
        x[data["first"] + step, 0, 0] = 0.5
        wanted = seen_in_python(model, x)["l0"]
        unit = int(page.locator("#unit option:checked").inner_text())
        for t in (step, min(step + 5, data["steps"] - 1)):
            go_to(page, t)
            for name, (_, now) in numbers_of(page).items():
                assert np.float32(now) == wanted[name][data["first"] + t, unit]


def test_pages_from_ids_alone_are_typed_as_numbers(opened: Opened, tmp_path: Path) -> None:
    gatewise.look(reader(), ids_of(TEXTS), tmp_path / "p.html", lengths=LENGTHS)
    with opened(tmp_path / "p.html") as page:
        started(page)
        page.fill("#typed", "40 97 41 128")
        settle(page)
        assert "does not know \u201c128\u201d" in page.inner_text("#typed-words")
        check_all(page, seen_in_python(reader(), torch.tensor([[40], [97], [41]])), [1], [0, 2])
