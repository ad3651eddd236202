from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import gatewise
from gatewise import Cell, cells
from tests.insight.page.pages import (
    CELLS,
    LENGTHS,
    TEXTS,
    Reader,
    array,
    data_of,
    ids_of,
    layer_of,
    leaky,
    named,
    sequence,
    two,
)

OPERATIONS: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "tanh": np.tanh,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "zoneout": lambda old, new, rate: rate * old + (1 - rate) * new, "dropout": lambda a, rate: a,
}  # fmt: skip


def evaluate(term: Any, values: dict[str, Any], entering: dict[str, Any], vectors: dict[str, Any]) -> Any:
    """Evaluate a term of the page on arrays ``[T, B, H]``."""
    if not isinstance(term, list):
        return term
    op, *args = term
    for kind, known in (("v", values), ("s", entering), ("p", vectors)):
        if op == kind:
            return known[args[0]]
    return OPERATIONS[op](*(evaluate(arg, values, entering, vectors) for arg in args))


def entering_of(layer: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The states before each step, as the page computes them."""
    begins = array(layer["begins"])[..., None]
    found = {}
    for state, start in layer["states"].items():
        after, outside = values[state], array(start["before"])[None]
        before = (
            np.concatenate([after[1:], outside])
            if layer["reverse"]
            else np.concatenate([outside, after[:-1]])
        )
        found[state] = np.where(begins > 0, array(start["initial"])[None], before)
    return found


def values_of(layer: dict[str, Any]) -> dict[str, Any]:
    return {part["name"]: array(part) for part in [*layer["values"], *layer["extras"]]}


@pytest.mark.usefixtures("relaxed")
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_the_page_has_the_numbers_of_the_recording(cell: Cell, tmp_path: Path) -> None:
    layer, x, lengths = layer_of(cell, num_layers=2, bidirectional=True), sequence(7, 4, 3), [7, 0, 3, 5]
    gatewise.look(layer, x, tmp_path / "p.html", lengths=lengths)
    with gatewise.watch(layer) as seen:
        layer(x, lengths=lengths)
    data = data_of(tmp_path / "p.html")
    assert [part["name"] for part in data["layers"]] == list(seen) == ["l0", "l0_reverse", "l1", "l1_reverse"]
    for part in data["layers"]:
        recorded = {n: v for n, v in seen[part["name"]]._values.items() if not re.search("_bar(_|$)", n)}
        assert [value["name"] for value in part["values"]] == list(recorded)
        for name, values in recorded.items():
            np.testing.assert_array_equal(array(named(part["values"], name)), values.detach().numpy())


def check_memories(part: dict[str, Any], values: dict[str, Any], entering: dict[str, Any]) -> None:
    """Check that keeping and writing gives each state, and that ledgers give what is left of each write."""
    vectors = {name: array(vector) for name, vector in part["vectors"].items()}
    begins = array(part["begins"])[..., None]
    for kept in part["kept"]:
        state = values[kept["state"]]
        keep, write = (
            np.broadcast_to(evaluate(kept[what], values, entering, vectors), state.shape)
            for what in ("keep", "write")
        )
        np.testing.assert_allclose(keep * entering[kept["state"]] + write, state, atol=2e-6)
        if kept["ledger"] is None:
            continue
        left = array(part["states"][kept["state"]]["initial"]).astype(np.float64)
        initial = left
        for t in range(len(state))[:: -1 if part["reverse"] else 1]:
            after = keep[t] * np.where(begins[t], initial, left) + write[t]
            left = np.where(np.isfinite(state[t]), after, left)
        ran = np.isfinite(state).any((0, 2))
        parts = np.nansum(array(kept["ledger"]), 0) + array(kept["start"])
        np.testing.assert_allclose(parts[ran], left[ran], atol=5e-6)
        np.testing.assert_allclose(array(kept["total"])[ran], left[ran], atol=5e-6)
        assert kept["residual"] < 1e-5


def check_terms(part: dict[str, Any]) -> None:
    values = values_of(part)
    entering = entering_of(part, values)
    vectors = {name: array(vector) for name, vector in part["vectors"].items()}
    for line in part["lines"]:
        found = evaluate(line["term"], values, entering, vectors)
        np.testing.assert_allclose(found, values[line["name"]], atol=2e-6, err_msg=line["name"])
    check_memories(part, values, entering)


@pytest.mark.usefixtures("relaxed")
@pytest.mark.parametrize("cell", [c for c in CELLS if c.name != "rnn"], ids=lambda cell: cell.name)
def test_terms_states_and_ledgers_hold_in_the_numbers_of_the_page(cell: Cell, tmp_path: Path) -> None:
    layer, lengths = layer_of(cell, bidirectional=True), [9, 4, 1]
    gatewise.look(layer, sequence(9, 3, 3), tmp_path / "p.html", lengths=lengths)
    for part in data_of(tmp_path / "p.html")["layers"]:
        assert part["kept"]
        check_terms(part)


@pytest.mark.usefixtures("relaxed")
@pytest.mark.parametrize(
    "options",
    [{"zoneout": (0.1, 0.3)}, {"learn_initial_state": True}, {"recurrent_dropout": 0.3}, {"proj_size": 2}],
    ids=lambda options: next(iter(options)),
)
def test_options_of_layers(options: dict[str, Any], tmp_path: Path) -> None:
    layer = layer_of(cells.lstm, **options)
    gatewise.look(layer, sequence(9, 3, 3), tmp_path / "p.html")
    (part,) = data_of(tmp_path / "p.html")["layers"]
    if "proj_size" in options:
        assert [value["shape"] for value in part["values"] if value["name"] in "hc"] == [[9, 3, 2], [9, 3, 5]]
        assert part["output"] == {
            "state": "h", "projected": True, "term": ["mul", ["v", "o"], ["tanh", ["v", "c"]]]
        }  # fmt: skip
        part["lines"] = [line for line in part["lines"] if line["name"] != "h"]
    check_terms(part)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_resets_and_initial_states(bidirectional: bool, tmp_path: Path) -> None:
    layer, x = layer_of(cells.gru, bidirectional=bidirectional), sequence(9, 3, 3)
    start, reset = sequence(1 + bidirectional, 3, 5), sequence(9, 3) > 0.5
    gatewise.look(layer, x, tmp_path / "p.html", call=lambda x: layer(x, start, reset=reset))
    for k, part in enumerate(data_of(tmp_path / "p.html")["layers"]):
        np.testing.assert_array_equal(array(part["states"]["h"]["initial"]), start[k].numpy())
        check_terms(part)


@pytest.mark.usefixtures("relaxed")
def test_every_memory_of_a_cell_is_on_the_page(tmp_path: Path) -> None:
    gatewise.look(layer_of(two), sequence(6, 2, 3), tmp_path / "p.html")
    (layer,) = data_of(tmp_path / "p.html")["layers"]
    assert [(kept["state"], kept["gate"]) for kept in layer["kept"]] == [("a", "f"), ("b", "what keeps b")]
    assert layer["kept"][1]["keep"] == ["sub", 1.0, ["v", "f"]]


@pytest.mark.usefixtures("relaxed")
def test_values_missing_in_the_recording_are_recorded_in_addition(tmp_path: Path) -> None:
    layer, x = layer_of(leaky), sequence(6, 2, 3)
    gatewise.look(layer, x, tmp_path / "p.html")
    with gatewise.watch(layer) as seen:
        layer(x)
    (part,) = data_of(tmp_path / "p.html")["layers"]
    values = seen["l0"]
    written = values.d * torch.tanh(values.a_bar + values.b_bar_x)
    np.testing.assert_allclose(
        array(named(part["extras"], "write of m")), written.detach().numpy(), atol=1e-6
    )


@pytest.mark.parametrize("batch_first", [False, True])
def test_attributions_are_of_the_named_output(batch_first: bool, tmp_path: Path) -> None:
    layer, x = layer_of(cells.gru, batch_first=batch_first), sequence(8, 3, 3)
    given = x.transpose(0, 1) if batch_first else x

    def third(returned: tuple[Tensor, Tensor]) -> Tensor:
        return returned[1][0, :, 2]

    page = gatewise.look(layer, given, tmp_path / "p.html", output=third, output_name="unit 2's last word")
    data = data_of(tmp_path / "p.html")
    shares = array(data["shares"]["features"])
    np.testing.assert_allclose(array(data["inputs"]), x.numpy())
    np.testing.assert_allclose(shares.sum(-1), array(data["shares"]["steps"]), atol=1e-6)
    with torch.no_grad():
        scores, base = (layer(z)[1][0, :, 2].numpy() for z in (given, torch.zeros_like(given)))
    np.testing.assert_allclose(shares.sum((0, 2)), scores - base, atol=1e-4)
    np.testing.assert_allclose(array(data["shares"]["scores"]), scores, atol=1e-6)
    assert any("unit 2's last word" in sentence for sentence in page.findings)


def test_without_a_named_output_the_squares_of_the_last_output_are_explained(tmp_path: Path) -> None:
    layer, x, lengths = layer_of(cells.lstm), sequence(8, 3, 3), [8, 2, 5]
    gatewise.look(layer, x, tmp_path / "p.html", lengths=lengths)
    data = data_of(tmp_path / "p.html")
    with torch.no_grad():
        last = layer(x, lengths=lengths)[1][0][0]
    np.testing.assert_allclose(array(data["shares"]["scores"]), last.square().sum(1).numpy(), rtol=1e-5)
    assert data["explained"] == "the sum of squares of the last output"


def test_the_gradient_flow_is_of_the_same_output(tmp_path: Path) -> None:
    layer, x = layer_of(cells.lstm), sequence(8, 3, 3)
    gatewise.look(layer, x, tmp_path / "p.html", output=lambda returned: returned[0][-1, :, 1])
    (part,) = data_of(tmp_path / "p.html")["layers"]
    h = torch.zeros(8, 3, 5, requires_grad=True)  # an offset for every output
    states: Any = None
    for t in range(8):
        _, states = layer(x[t : t + 1], states)
        states = (states[0] + h[t], states[1])
    (states[0][0, :, 1]).sum().backward()
    assert h.grad is not None
    np.testing.assert_allclose(array(part["flow"]["h"]), h.grad.norm(dim=2).numpy(), atol=1e-6)
    assert part["flow_residual"] < 1e-5


def test_text_is_attributed_through_its_embedding(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, ids = Reader(), ids_of(TEXTS)
    page = gatewise.look(
        model, ids, tmp_path / "p.html", lengths=LENGTHS, tokens=TEXTS, title="Reads",
        output=lambda scores: scores[-1, :, 0],
    )  # fmt: skip
    data = data_of(tmp_path / "p.html")
    assert data["tokens"] == [list(text) for text in TEXTS]
    assert data["inputs"] is None
    assert data["shares"]["features"] is None
    with torch.no_grad():
        score = model(ids, LENGTHS)[-1, :, 0]
        base = model.head(model.lstm(torch.zeros(9, 3, 4), lengths=LENGTHS)[0])[-1, :, 0]
    sums = np.nansum(array(data["shares"]["steps"]), 0)
    np.testing.assert_allclose(sums, (score - base).numpy(), atol=1e-4)
    assert any("“" in sentence for sentence in page.findings)


def test_a_model_that_packs_its_rows(tmp_path: Path) -> None:
    class Packs(Reader):
        def forward(self, ids: Tensor, lengths: list[int] | None = None) -> Tensor:
            assert lengths is not None
            packed = pack_padded_sequence(self.embed(ids), torch.tensor(lengths), enforce_sorted=False)
            scores: Tensor = self.head(self.lstm(packed)[1][0][0])
            return scores

    page = gatewise.look(Packs(), ids_of(TEXTS), tmp_path / "p.html", lengths=LENGTHS)
    assert page.notes == ()
    data = data_of(tmp_path / "p.html")
    (layer,) = data["layers"]
    assert np.isfinite(array(data["shares"]["steps"])).sum(0).tolist() == LENGTHS
    assert np.isfinite(array(layer["values"][0])).sum((0, 2)).tolist() == [6 * n for n in LENGTHS]


def test_one_row_needs_no_batch(tmp_path: Path) -> None:
    layer, x = layer_of(cells.lstm), sequence(8, 1, 3)
    gatewise.look(layer, x[:, 0], tmp_path / "one.html", title="t")
    gatewise.look(layer, x, tmp_path / "batch.html", title="t")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "batch.html").read_bytes()


@pytest.mark.usefixtures("relaxed")
def test_cells_with_the_same_name_have_their_own_equations(tmp_path: Path) -> None:
    below, above, last = (layer_of(cells.lstm, n, 5, zoneout=rate) for n, rate in ((3, 0), (5, 0.1), (5, 0)))
    model = nn.ModuleList([below, above, last])
    gatewise.look(model, sequence(4, 2, 3), tmp_path / "p.html", call=lambda x: last(above(below(x)[0])[0]))
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    blocks = dict(re.findall(r'data-cell="(.*?)">(.*?)</div>', text))
    data = data_of(tmp_path / "p.html")
    assert [layer["equations"] for layer in data["layers"]] == ["lstm 1", "lstm 2", "lstm 1"]
    assert {key: "zoneout" in block for key, block in blocks.items()} == {"lstm 1": False, "lstm 2": True}


def test_the_model_is_not_changed(tmp_path: Path) -> None:
    layer = layer_of(cells.lstm, num_layers=2, dropout=0.5)
    model = nn.ModuleDict({"layer": layer, "other": nn.Linear(1, 1).eval()})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pages = [tmp_path / "a.html", tmp_path / "b.html"]
    for path in pages:
        gatewise.look(model, sequence(5, 2, 3), path, call=lambda x: layer(x))
    assert [module.training for module in (model, layer, model["other"])] == [True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert pages[0].read_bytes() == pages[1].read_bytes()  # no random number was drawn


def test_two_layers_of_128_units_over_500_steps_are_at_most_10_megabytes(tmp_path: Path) -> None:
    page = gatewise.look(
        layer_of(cells.lstm, 16, 128, num_layers=2), sequence(500, 3, 16), tmp_path / "p.html"
    )
    assert (tmp_path / "p.html").stat().st_size <= 10e6
    assert page.megabytes == (tmp_path / "p.html").stat().st_size / 1e6
    data = data_of(tmp_path / "p.html")
    assert array(data["layers"][1]["values"][0]).shape == (500, 1, 128)
    assert data["notes"] == list(page.notes)
    assert page.notes[0] == "Shown are the first 1 of 3 sequences."


def test_the_page_says_that_it_shows_a_part_of_a_large_recording(tmp_path: Path) -> None:
    layer, x = layer_of(cells.gru, 3, 64, bidirectional=True), sequence(700, 2, 3)
    page = gatewise.look(layer, x, tmp_path / "p.html", megabytes=1.3, lengths=[650, 700])
    assert page.megabytes <= 1.3
    data = data_of(tmp_path / "p.html")
    first, shown = data["first"], len(data["layers"][0]["units"])
    assert first + data["steps"] == 650
    assert 32 <= shown < 64
    assert page.notes[:3] == (
        "Shown are the first 1 of 2 sequences.",
        f"Shown are the steps {first} to 649 of 700.",
        f"Shown are those {shown} of up to 64 units whose states move most.",
    )
    with gatewise.watch(layer) as seen:
        layer(x, lengths=[650, 700])
    for part in data_of(tmp_path / "p.html")["layers"]:
        recorded = seen[part["name"]].h.detach().numpy()
        cut = recorded[first:650, :1][..., part["units"]]
        np.testing.assert_array_equal(array(named(part["values"], "h")), cut)
        moves = np.nanvar(recorded.astype(np.float64), (0, 1))
        assert set(part["units"]) == set(np.argsort(-moves)[:shown].tolist())
        entering = entering_of(part, values_of(part))["h"]
        before = np.concatenate([np.zeros_like(recorded[:1]), recorded, np.zeros_like(recorded[:1])])
        before = before[2:] if part["reverse"] else before[:-2]
        before[649 if part["reverse"] else 0, 0] = 0  # the start of row 0
        np.testing.assert_array_equal(entering, before[first:650, :1][..., part["units"]])


def test_text_of_the_user_is_never_markup(tmp_path: Path) -> None:
    evil, half = "</script><img src=x onerror=alert(1)>", "\ud83d"  # half of a character
    page = gatewise.look(
        layer_of(cells.lstm), sequence(4, 1, 3), tmp_path / "p.html", title=evil, output_name=evil,
        output=lambda returned: returned[1][0][0, :, 0], feature_names=[evil, "b", "${data}"],
        tokens=[[evil, "<!--", "<script>", "\u2028"]], times=[[evil, evil, evil, half]],
    )  # fmt: skip
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "<img" not in text
    assert "<!--" not in text
    assert text.count("</script>") == 2
    assert text.count("<script") == 2
    data = data_of(tmp_path / "p.html")
    assert data["tokens"] == [[evil, "<!--", "<script>", "\u2028"]]
    assert data["times"] == [[evil, evil, evil, half]]
    assert data["inputs"]["names"] == [evil, "b", "${data}"]
    assert page.path == tmp_path / "p.html"


def test_the_page_loads_nothing_from_outside(tmp_path: Path) -> None:
    gatewise.look(layer_of(cells.lstm), sequence(4, 1, 3), tmp_path / "p.html")
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    found = re.findall(r"""(?:src|href)\s*=\s*["'](?!#)([^"']*)|@import|url\(|fetch\(|XMLHttpRequest""", text)
    assert found == ["data:,"]
    assert set(re.findall(r"https?://[^\s\"'<)]+", text)) == {"http://www.w3.org/2000/svg"}


def test_findings_name_the_step_that_a_unit_remembers(tmp_path: Path) -> None:
    layer = layer_of(cells.lstm, 1, 2)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        weight, bias = layer.get_parameter("weight_ih_l0"), layer.get_parameter("bias_ih_l0")
        bias[:4] = torch.tensor([-12.0, -12.0, 12.0, -12.0])  # writes nothing; unit 0 keeps, unit 1 forgets
        weight[0, 0], weight[4, 0] = 30.0, 3.0  # unit 0 writes where the input is 1
    x = torch.zeros(40, 2, 1)
    x[7, 1] = 1
    tokens = [["."] * 40, ["."] * 7 + ["("] + ["."] * 32]
    page = gatewise.look(layer, x, tmp_path / "p.html", tokens=tokens)
    assert page.findings[0].startswith(
        "l0: unit 0 remembers step 7 “(” of sequence 1: of the +0.995 in its c at the end, the largest part, "
        "+0.995, was written there and kept for 32 steps (all steps' parts sum to the state; residual "
    )
    assert page.findings[1].startswith(
        "l0: unit 0 remembers longest: more than half of its c is still there after all 40 steps"
    )
    assert str(page).splitlines()[1] == page.findings[0]
    (place,) = [f for f in data_of(tmp_path / "p.html")["findings"] if f["step"] == 7 and f["unit"] == 0]
    assert (place["layer"], place["row"]) == ("l0", 1)
    assert place["brief"] == (
        "The oldest memory here: at the end of sequence 1, unit 0 still holds what it wrote at step 7 “(”, "
        "32 steps before."
    )
    page = gatewise.look(layer, x, tmp_path / "p.html", tokens=tokens, row_names=["the first", "the other"])
    assert page.findings[0].startswith("l0: unit 0 remembers step 7 “(” of the other: of the +0.995 in its c")
    assert data_of(tmp_path / "p.html")["row_names"] == ["the first", "the other"]


IDS = "x must be [T, B, I], or token ids [T, B], with steps and rows. Got"
ROWS = "lengths must be one for each of 2 rows, from 0 to 5 steps, not all 0. Got"
THEIRS = "the recurrent layers are torch's (the model itself); gatewise.accelerate(model) swaps them"


@pytest.mark.parametrize(
    ("change", "kind", "sentence"),
    [
        ({"x": [1.0]}, TypeError, "x has no tensor in it."),
        ({"x": torch.zeros(4)}, ValueError, f"{IDS} [4]."),
        ({"x": torch.zeros(0, 2, 3)}, ValueError, f"{IDS} [0, 2, 3]."),
        ({"model": nn.Linear(3, 3)}, ValueError, "the model has no recurrent layer of gatewise"),
        ({"model": nn.LSTM(3, 3)}, ValueError, THEIRS),
        ({"model": "lstm"}, TypeError, "model must be a torch.nn.Module. Got str."),
        ({"lengths": [5]}, ValueError, f"{ROWS} [5]."),
        ({"row_names": ["a"]}, ValueError, "row_names must be 2, one for each row. Got 1."),
        ({"lengths": [0, 0]}, ValueError, f"{ROWS} [0, 0]."),
        ({"lengths": [6, 1]}, ValueError, f"{ROWS} [6, 1]."),
        (
            {"tokens": ["abcde", "abc"]}, ValueError,
            "tokens must be as many as the steps of each row, [5, 5]. Got [5, 3].",
        ),
        (
            {"times": ["abcde"]}, ValueError,
            "times must be as many as the steps of each row, [5, 5]. Got [5].",
        ),
        ({"feature_names": ["a"]}, ValueError, "feature_names must be 3, one for each input. Got 1."),
        ({"megabytes": 0.2}, ValueError, "megabytes must leave room for one step of the network. Got 0.2."),
        (
            {"output": lambda returned: returned[0]}, ValueError,
            "output must return one number for each row, [2]. Got [5, 2, 5].",
        ),
        ({"call": lambda x: {"h": x}}, ValueError, "no layer walks the 5 steps of x. Layers that ran: none."),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_in_one_sentence(
    change: dict[str, Any], kind: type[Exception], sentence: str, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"model": layer_of(cells.lstm), "x": sequence(5, 2, 3), **change}
    with pytest.raises(kind) as caught:
        gatewise.look(given.pop("model"), given.pop("x"), tmp_path / "p.html", **given)
    assert str(caught.value) == f"look: {sentence}"
    assert list(tmp_path.iterdir()) == []
