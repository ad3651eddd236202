"""Arguments of `look`: models of several inputs, and unusual numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import gatewise
from gatewise import Cell, cells
from gatewise import nn as ours
from tests.insight.page.pages import data_of

T, B, I, H = 6, 3, 4, 5
LENGTHS = [2, 6, 4]
WORDS = [["a"] * n for n in LENGTHS]


class Classifier(nn.Module):
    """A model of token ids ``[B, T]`` and lengths, passed in one of three ways, which returns scores."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.way, self.embed = way, nn.Embedding(11, I)
        self.rnn, self.head = ours.LSTM(I, H, batch_first=True), nn.Linear(H, 2)

    def scores(self, ids: Tensor, lengths: Tensor) -> Tensor:
        x = self.embed(ids)
        if self.way == "packed":
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            (h, _) = self.rnn(input=packed)[1]
        else:
            (h, _) = self.rnn(x, lengths=lengths)[1]
        found: Tensor = self.head(h[-1])
        return found

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.way == "one":  # argument
            (batch,) = args
            batch = [*batch.values()] if isinstance(batch, dict) else batch
            return {"logits": self.scores(*batch), "loss": None}
        return self.scores(*args, **kwargs)


class OneArgument(Classifier):
    def forward(self, batch: Any) -> Any:
        return super().forward(batch)


def ids() -> Tensor:
    torch.manual_seed(3)
    return torch.randint(11, (B, T))


def told(page: Any, path: Path) -> Any:
    return page.findings, data_of(path)["lengths"], data_of(path)["shares"]["steps"]


@pytest.mark.parametrize("way", ["lengths", "packed", "one"])
@pytest.mark.parametrize("form", ["tuple", "list", "dict"])
def test_ids_and_lengths(way: str, form: str, tmp_path: Path) -> None:
    model = (OneArgument if way == "one" else Classifier)(way)
    lengths, path = torch.tensor(LENGTHS), tmp_path / "page.html"
    inputs: Any = {"ids": ids(), "lengths": lengths} if form == "dict" else (ids(), lengths)
    given: Any = [*inputs] if form == "list" else inputs
    page = gatewise.look(model, given, path, tokens=WORDS)
    assert data_of(path)["lengths"] == LENGTHS
    plain = Classifier("lengths")
    expected = gatewise.look(
        plain, ids(), path, call=lambda x: plain(x, lengths), lengths=LENGTHS, tokens=WORDS
    )
    assert page.notes == expected.notes == ()
    assert [one.split("(the")[0] for one in page.findings] == [
        one.split("(the")[0] for one in expected.findings
    ]


def test_a_packed_sequence(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer, x, path = ours.GRU(I, H), torch.randn(T, B, I), tmp_path / "page.html"
    packed = pack_padded_sequence(x, torch.tensor(LENGTHS), enforce_sorted=False)
    page = gatewise.look(layer, packed, path)
    assert data_of(path)["lengths"] == LENGTHS
    assert page.findings == gatewise.look(layer, x, path, lengths=LENGTHS).findings


def test_wrong_inputs_are_refused(tmp_path: Path) -> None:
    layer = ours.GRU(I, H)
    with pytest.raises(TypeError, match=r"look: x must be a tensor, or inputs with one among them. Got str"):
        gatewise.look(layer, "text", tmp_path / "page.html")
    with pytest.raises(TypeError, match="look: x has no tensor in it"):
        gatewise.look(layer, ([1, 2], 3), tmp_path / "page.html")


@pytest.mark.parametrize("own", [False, True])
def test_the_page_uses_the_name_of_the_output(own: bool, tmp_path: Path) -> None:
    layer, x = ours.GRU(I, H), torch.randn(T, B, I)
    output: Any = (lambda found: found[0][-1].sum(1)) if own else None
    page = gatewise.look(layer, x, tmp_path / "page.html", output=output, output_name="the demand")
    assert any("What matters most for the demand is" in one for one in page.findings)


NAN, INF = float("nan"), float("inf")
NUMBERS: dict[str, Any] = {
    "nan at a step": lambda x: x[3].fill_(NAN),
    "nan first": lambda x: x[0].fill_(NAN),
    "nan last": lambda x: x[-1].fill_(NAN),
    "nan in a row": lambda x: x[:, 1].fill_(NAN),
    "nan everywhere": lambda x: x.fill_(NAN),
    "infinite at a step": lambda x: x[2].fill_(-INF),
    "huge": lambda x: x.mul_(1e30),
    "zeros": lambda x: x.zero_(),
    "the same": lambda x: x.fill_(1),
    "one step": lambda x: x.resize_(1, B, I),
    "one row": lambda x: x.resize_(T, 1, I),
    "one number": lambda x: x.resize_(1, 1, I),
}


@pytest.mark.parametrize("cell", [cells.lstm, cells.gru, cells.rnn], ids=lambda cell: cell.name)
@pytest.mark.parametrize("what", NUMBERS)
def test_a_page_of_any_numbers(what: str, cell: Cell, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer, x = ours.Recurrent(cell, I, 1 if "one" in what else 3), torch.randn(T, B, I)
    NUMBERS[what](x)
    page = gatewise.look(layer, x, tmp_path / "page.html")
    assert not any(re.search(r"nan%|nan steps|nan \(", sentence) for sentence in page.findings)
    assert any("not a finite number everywhere" in note for note in page.notes) == (not x.isfinite().all())
    with gatewise.watch(layer) as seen:
        layer(x)
    found = [
        str(gatewise.connectivity(lambda x: layer(x)[0], x)),
        str(gatewise.decompose(layer, x, slice(2))),
    ]
    if cell is not cells.rnn:
        found += [str(seen["l0"].ledger()), str(seen["l0"].half_life()), str(seen["l0"].time_scale())]
    found += [str(gatewise.rank_units(layer, lambda: layer(x)[0].sum(), by="activity"))]
    assert all(found)
