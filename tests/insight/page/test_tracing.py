# mypy: allow-untyped-defs, allow-incomplete-defs
"""What the page finds out about a model: what feeds its layers, and what reads them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gatewise
from gatewise.insight.page.run import run_of
from gatewise.insight.page.tracing import Signal, Traced, traced
from tests.insight.page.pages import sequence


def trace(model: nn.Module, x: Any, lengths: list[int] | None = None, call: Any = None) -> Traced:
    torch.manual_seed(0)
    return traced(run_of(model.eval(), x, lengths, None, call, None))


def path(signal: Signal | None) -> str:
    """How a signal is computed, as text."""
    if signal is None:
        return "unknown"
    inner = ", ".join(path(part) for part in signal.of)
    called = f"{signal.op} {signal.about}" if signal.op == "layer" else signal.op
    return f"{called}({inner})" if inner else called


def test_a_layer_reads_the_input_and_is_the_output() -> None:
    found = trace(gatewise.nn.LSTM(3, 4), sequence(6, 2, 3))
    assert path(found.layers["l0"]) == path(found.output) == "layer l0(source)"


def test_stacked_layers_in_both_directions_read_each_other() -> None:
    layer = gatewise.nn.GRU(3, 4, num_layers=2, bidirectional=True, batch_first=True)
    found = trace(layer, sequence(2, 6, 3))
    below = "cat(layer l0(source), layer l0_reverse(source))"
    assert path(found.layers["l1"]) == f"layer l1({below})"
    assert path(found.layers["l1_reverse"]) == f"layer l1_reverse({below})"
    assert path(found.output) == f"cat(layer l1({below}), layer l1_reverse({below}))"


class Classifier(nn.Module):
    """Ids to classes, from the last states of both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.squeeze = nn.Embedding(9, 5), nn.Linear(5, 3)
        self.lstm = gatewise.nn.LSTM(3, 4, bidirectional=True, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))

    def forward(self, ids, lengths):
        vectors = self.squeeze(self.embed(ids))
        packed = pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        return {"scores": self.head(torch.cat([h[0], h[1]], -1))}


def test_a_classifier_of_packed_texts_is_followed_from_ids_to_scores() -> None:
    ids = torch.randint(9, (3, 7), generator=torch.Generator().manual_seed(0))
    found = trace(Classifier(), (ids, [7, 3, 5]))
    before = "linear(embedding(source))"
    ends = f"cat(last(layer lstm.l0({before})), first(layer lstm.l0_reverse({before})))"
    assert path(found.output) == f"linear(relu(linear({ends})))"
    assert found.unknown == {}


def test_an_affine_map_of_the_output_is_found_with_what_comes_from_outside() -> None:
    class Forecast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = gatewise.nn.RNN(3, 4), nn.Linear(4, 5)

        def forward(self, x):
            return self.head(self.rnn(x)[0][-1:]) * 2.5 + torch.tensor([[1.0], [7.0]])

    found = trace(Forecast(), sequence(6, 2, 3))
    assert path(found.output) == "affine(linear(last(layer rnn.l0(source))))"
    assert found.output is not None
    factor, summand = found.output.about
    assert factor.tolist() == pytest.approx([2.5] * 5, rel=1e-4)
    assert summand[:, 0].tolist() == pytest.approx([1.0, 7.0], rel=1e-4)


@pytest.mark.parametrize(("steps", "rows"), [(6, 1), (2, 1), (6, 2)])
@pytest.mark.parametrize("ids", [False, True], ids=["numbers", "ids"])
def test_a_function_that_is_affine_in_two_calls_alone_is_not_taken_for_affine(
    steps: int, rows: int, ids: bool
) -> None:
    """One row gives two equations for the two unknowns of each output, which every function fulfils."""

    class Scores(nn.Module):
        def __init__(self, last) -> None:
            super().__init__()
            self.embed, self.rnn, self.head = nn.Embedding(9, 3), gatewise.nn.RNN(3, 4), nn.Linear(4, 5)
            self.last = last

        def forward(self, x):
            return self.last(self.head(self.rnn(self.embed(x) if ids else x)[1][-1]))

    numbers = torch.Generator().manual_seed(0)
    x = torch.randint(9, (steps, rows), generator=numbers) if ids else sequence(steps, rows, 3)
    assert trace(Scores(lambda y: torch.softmax(y, -1)), x).output is None
    scaled = trace(Scores(lambda y: 3 * y + 1), x).output
    assert path(scaled).startswith("affine(linear(last(layer") or (ids and steps == 2)


def test_padded_texts_are_compared_up_to_their_ends() -> None:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = gatewise.nn.RNN(3, 4), nn.Linear(4, 5)

        def forward(self, x, lengths):
            packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
            return self.head(pad_packed_sequence(self.rnn(packed)[0])[0])

    found = trace(Tagger(), (sequence(9, 3, 3), torch.tensor([4, 1, 9])))
    assert path(found.output) == "linear(layer rnn.l0(source))"


class Odd(nn.Module):
    """Two layers with something between them that is not a module."""

    def __init__(self, between) -> None:
        super().__init__()
        self.first, self.second = gatewise.nn.RNN(3, 3), gatewise.nn.RNN(3, 3)
        self.between = between

    def forward(self, x):
        return self.second(self.between(self.first(x)[0]))[0]


def test_what_is_not_known_is_said_and_what_follows_from_it_is_not_computed() -> None:
    found = trace(Odd(lambda h: h * h.mean()), sequence(6, 2, 3))
    assert list(found.layers) == ["first.l0"]
    assert found.unknown == {"second.l0": "its input is computed in a way that this page does not know"}
    assert found.output is None
    assert list(trace(Odd(lambda h: h + 0), sequence(6, 2, 3)).layers) == ["first.l0", "second.l0"]


def test_equal_numbers_by_chance_are_told_apart_by_the_second_call() -> None:
    """An input that reads the same in both directions of the features would fit two explanations."""
    x = sequence(6, 2, 1).expand(6, 2, 3).contiguous()
    found = trace(Odd(lambda h: h.flip(-1)), x)
    assert list(found.layers) == ["first.l0"]


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda m, x: m(x, reset=torch.eye(6, 2) > 0), "it is reset within sequences"),
        (lambda m, x: m(x, x[:1, :, :1].expand(1, -1, 4).contiguous()), "it begins in a state"),
    ],
)
def test_layers_that_the_page_cannot_run_are_told_why(call: Any, why: str) -> None:
    model = gatewise.nn.RNN(3, 4)
    found = trace(model, sequence(6, 2, 3), call=lambda x: call(model, x))
    assert found.unknown["l0"].startswith(why)
    assert not found.layers


def test_an_edited_model_is_told_so() -> None:
    edited = gatewise.edit(gatewise.nn.RNN(3, 4), "l0", h=0.0, units=[1])
    assert trace(edited, sequence(6, 2, 3)).unknown == {"l0": "it is edited"}
