"""Errors of layers: the same type and message as torch's, found by making both refuse the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from gatewise import cells
from gatewise import nn as ours

# Takes a class of torch or ours, and does something that both refuse.
Deed: TypeAlias = Callable[[Any], Any]

LAYERS = ["RNN", "LSTM", "GRU"]
STEPS = ["RNNCell", "LSTMCell", "GRUCell"]

ARGUMENTS: dict[str, Deed] = {
    "bias": lambda made: made(3, 4, bias=1),
    "batch-first": lambda made: made(3, 4, batch_first=0),
    "input-size-type": lambda made: made("3", 4),
    "input-size": lambda made: made(0, 4),
    "hidden-size-type": lambda made: made(3, 4.0),
    "hidden-size": lambda made: made(3, -1),
    "num-layers": lambda made: made(3, 4, num_layers=0),
    "num-layers-type": lambda made: made(3, 4, num_layers=1.5),
    "dropout-range": lambda made: made(3, 4, 2, dropout=1.5),
    "dropout-type": lambda made: made(3, 4, 2, dropout=True),
    "dropout-text": lambda made: made(3, 4, 2, dropout="half"),
    "proj-size": lambda made: made(3, 4, proj_size=4),
    "proj-size-negative": lambda made: made(3, 4, proj_size=-1),
}


def hidden(layer: Any, *shape: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Any:
    """A state of this shape, in the form that the layer takes."""
    state = torch.zeros(shape, dtype=dtype, device=device)
    return (state, state) if "LSTM" in type(layer).__name__ else state


def packed(*features: int) -> PackedSequence:
    return pack_padded_sequence(torch.zeros(5, 2, *features), torch.tensor([5, 3]))


CALLS: dict[str, Deed] = {
    "one-dimension": lambda layer: layer(torch.zeros(3)),
    "four-dimensions": lambda layer: layer(torch.zeros(1, 1, 1, 3)),
    "width": lambda layer: layer(torch.zeros(5, 2, 7)),
    "width-without-batch": lambda layer: layer(torch.zeros(5, 7)),
    "double": lambda layer: layer(torch.zeros(5, 2, 3, dtype=torch.float64)),
    "whole-numbers": lambda layer: layer(torch.zeros(5, 2, 3, dtype=torch.int64)),
    "no-steps": lambda layer: layer(torch.zeros(0, 2, 3)),
    "no-steps-no-batch": lambda layer: layer(torch.zeros(0, 3)),
    "elsewhere": lambda layer: layer(torch.zeros(5, 2, 3, device="meta")),
    "no-tensor": lambda layer: layer([1.0, 2.0]),
    "hx-batch": lambda layer: layer(torch.zeros(5, 2, 3), hidden(layer, 1, 3, 4)),
    "hx-layers": lambda layer: layer(torch.zeros(5, 2, 3), hidden(layer, 2, 2, 4)),
    "hx-width": lambda layer: layer(torch.zeros(5, 2, 3), hidden(layer, 1, 2, 5)),
    "hx-dimensions": lambda layer: layer(torch.zeros(5, 2, 3), hidden(layer, 2, 4)),
    "hx-dimensions-without-batch": lambda layer: layer(torch.zeros(5, 3), hidden(layer, 1, 1, 4)),
    "hx-elsewhere": lambda layer: layer(torch.zeros(5, 2, 3), hidden(layer, 1, 2, 4, device="meta")),
    "hx-one-in-a-tuple": lambda layer: layer(torch.zeros(5, 2, 3), (torch.zeros(1, 2, 4),)),
    "hx-three": lambda layer: layer(torch.zeros(5, 2, 3), (torch.zeros(1, 2, 4),) * 3),
}

STEP_CALLS: dict[str, Deed] = {
    "no-dimension": lambda step: step(torch.tensor(1.0)),
    "three-dimensions": lambda step: step(torch.zeros(1, 2, 3)),
    "width": lambda step: step(torch.zeros(2, 7)),
    "double": lambda step: step(torch.zeros(2, 3, dtype=torch.float64)),
    "no-tensor": lambda step: step([1.0, 2.0]),
    "hx-batch": lambda step: step(torch.zeros(2, 3), hidden(step, 3, 4)),
    "hx-width": lambda step: step(torch.zeros(2, 3), hidden(step, 2, 5)),
    "hx-dimensions": lambda step: step(torch.zeros(2, 3), hidden(step, 1, 2, 4)),
    "hx-without-batch": lambda step: step(torch.zeros(2, 3), hidden(step, 4)),
    "hx-with-batch": lambda step: step(torch.zeros(3), hidden(step, 1, 4)),
    "hx-double": lambda step: step(torch.zeros(2, 3), hidden(step, 2, 4, dtype=torch.float64)),
    "hx-other-form": lambda step: step(
        torch.zeros(2, 3),
        torch.zeros(2, 4) if isinstance(hidden(step, 2, 4), tuple) else (torch.zeros(2, 4),),
    ),
    "hx-three": lambda step: step(torch.zeros(2, 3), (torch.zeros(2, 4),) * 3),
}


def refusal(deed: Callable[[], Any]) -> tuple[type[BaseException], str]:
    with pytest.raises(Exception) as caught:
        deed()
    return caught.type, str(caught.value)


@pytest.mark.parametrize("deed", ARGUMENTS.values(), ids=ARGUMENTS.keys())
@pytest.mark.parametrize("kind", LAYERS)
def test_arguments(kind: str, deed: Deed) -> None:
    assert refusal(lambda: deed(getattr(ours, kind))) == refusal(lambda: deed(getattr(torch.nn, kind)))


@pytest.mark.parametrize("deed", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("kind", LAYERS)
def test_calls(kind: str, deed: Deed) -> None:
    mine, theirs = getattr(ours, kind)(3, 4), getattr(torch.nn, kind)(3, 4)
    assert refusal(lambda: deed(mine)) == refusal(lambda: deed(theirs))


@pytest.mark.parametrize("deed", STEP_CALLS.values(), ids=STEP_CALLS.keys())
@pytest.mark.parametrize("kind", STEPS)
def test_steps(kind: str, deed: Deed) -> None:
    mine, theirs = getattr(ours, kind)(3, 4), getattr(torch.nn, kind)(3, 4)
    assert refusal(lambda: deed(mine)) == refusal(lambda: deed(theirs))


@pytest.mark.parametrize("kind", ["RNN", "GRU"])
@pytest.mark.parametrize(
    "call",
    [
        lambda layer: layer(packed(7)),
        lambda layer: layer(packed()),
        lambda layer: layer(packed(3), hidden(layer, 1, 3, 4)),
        lambda layer: layer(packed(3), hidden(layer, 1, 4)),
        lambda layer: layer(packed(3).double()),
        lambda layer: layer(torch.zeros(5, 2, 3), hidden(layer, 1, 2, 4, dtype=torch.float64)),
    ],
    ids=["width", "dimensions", "hx-batch", "hx-dimensions", "double", "hx-double"],
)
def test_packed_calls_and_double_states(kind: str, call: Deed) -> None:
    """For an LSTM, torch does not check this itself; a kernel of torch raises its own error."""
    mine, theirs = getattr(ours, kind)(3, 4), getattr(torch.nn, kind)(3, 4)
    assert refusal(lambda: call(mine)) == refusal(lambda: call(theirs))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda lstm: lstm(packed(7)), RuntimeError, r"input_size\. Expected 3, got 7"),
        (lambda lstm: lstm(packed(3), hidden(lstm, 1, 3, 4)), RuntimeError, r"hidden\[0\] size \(1, 2, 4\)"),
        (lambda lstm: lstm(packed(3).double()), ValueError, r"input dtype \(torch.float64\)"),
        (
            lambda lstm: lstm(torch.zeros(5, 2, 3), hidden(lstm, 1, 2, 4, dtype=torch.float64)),
            RuntimeError,
            "same dtype, but got Double and Float",
        ),
    ],
)
def test_an_lstm_says_the_same_as_the_others(call: Deed, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(ours.LSTM(3, 4))


def test_shuffled_rows_do_not_hide_a_wrong_batch_of_states() -> None:
    sequence = pack_padded_sequence(torch.zeros(5, 2, 3), torch.tensor([3, 5]), enforce_sorted=False)
    with pytest.raises(RuntimeError, match=r"Expected hidden size \(1, 2, 4\), got \[1, 3, 4\]"):
        ours.GRU(3, 4)(sequence, torch.zeros(1, 3, 4))


@pytest.mark.parametrize("kind", LAYERS + STEPS)
@pytest.mark.parametrize("hx", [{"h": 0}, "h", 0.5], ids=repr)
def test_states_that_are_not_tensors(kind: str, hx: Any) -> None:
    with pytest.raises(TypeError, match=f"hx must be a tensor, or a tuple .* Got {type(hx).__name__}\\."):
        getattr(ours, kind)(3, 4)(torch.zeros(2, 3), hx)


@pytest.mark.parametrize(
    "lengths", [[5, None], ["5", "3"], "53", {0: 5}, [5, 2**70], torch.empty(2, device="meta")], ids=str
)
def test_lengths_that_are_not_numbers(lengths: Any) -> None:
    with pytest.raises(TypeError, match=r"lengths must be whole numbers\. Got "):
        ours.GRU(3, 4)(torch.zeros(5, 2, 3), lengths=lengths)


@pytest.mark.parametrize("shape", [(3, 4), (2, 5), (1, 1, 2, 4)])
def test_the_second_state_of_a_step(shape: tuple[int, ...]) -> None:
    def deed(step: Any) -> Any:
        return step(torch.zeros(2, 3), (torch.zeros(2, 4), torch.zeros(shape)))

    assert refusal(lambda: deed(ours.LSTMCell(3, 4))) == refusal(lambda: deed(torch.nn.LSTMCell(3, 4)))


@pytest.mark.parametrize("kind", LAYERS)
def test_the_warning_about_dropout_of_a_single_layer(kind: str) -> None:
    said = []
    for package in (ours, torch.nn):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            getattr(package, kind)(3, 4, dropout=0.5)
        said.append([(warning.category, str(warning.message)) for warning in caught])
    assert said[0] == said[1]


def unknown_layer(package: Any) -> Any:
    return package.RNN(3, 4, nonlinearity="sine")


def unknown_step(package: Any) -> Any:
    return package.RNNCell(3, 4, nonlinearity="sine")(torch.zeros(2, 3))


@pytest.mark.parametrize("deed", [unknown_layer, unknown_step])
def test_an_unknown_nonlinearity(deed: Deed) -> None:
    assert refusal(lambda: deed(ours)) == refusal(lambda: deed(torch.nn))


def test_a_projection_of_a_cell_that_computes_with_its_output() -> None:
    with pytest.raises(ValueError, match=r"proj_size must be 0 for cell 'gru': .* output 'h'.* Got 2\."):
        ours.Recurrent(cells.gru, 3, 4, proj_size=2)


@pytest.mark.parametrize("make", [ours.Recurrent, ours.Step])
@pytest.mark.parametrize("cell", ["lstm", lambda h, *, a: a, ours.LSTM])
def test_something_else_than_a_cell(make: Any, cell: Any) -> None:
    with pytest.raises(
        TypeError, match=r"cell must be a gatewise\.Cell\. Got (str|function|type)\. Put @gatewise\.cell on"
    ):
        make(cell, 3, 4)
