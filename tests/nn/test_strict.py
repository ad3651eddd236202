"""`strict`: a slow path is an error, forward and backward; a fast one is not."""

from __future__ import annotations

import doctest
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

import gatewise
from gatewise.nn.explain import strict as strict_module

T, B, I, H = 6, 4, 3, 8


@pytest.fixture
def layer() -> gatewise.nn.LSTM:
    return gatewise.nn.LSTM(I, H, num_layers=2, bidirectional=True)


@pytest.fixture
def refused() -> Iterator[None]:
    with gatewise.strict():
        yield


def test_fast_calls_give_the_same_bits(layer: gatewise.nn.LSTM) -> None:
    x = torch.randn(T, B, I)
    expected = layer(x)[0]
    with gatewise.strict():
        assert torch.equal(layer(x)[0], expected)
        assert torch.equal(layer(x.transpose(0, 1).contiguous().transpose(0, 1))[0], expected)


@pytest.mark.usefixtures("refused")
def test_a_training_step_is_fast(layer: gatewise.nn.LSTM) -> None:
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    weight = layer.get_parameter("weight_hh_l0")
    before = weight.detach().clone()
    for x in (torch.randn(T, B, I), pack_sequence([torch.randn(n, I) for n in (6, 2)])):
        output = layer(x)[0]
        (output if isinstance(output, Tensor) else output.data).square().mean().backward()
        optimiser.step()
    assert not torch.equal(before, weight)


def half() -> object:
    return gatewise.nn.GRUCell(I, H).half()(torch.randn(B, I).half())


def transformed() -> object:
    layer = gatewise.nn.RNN(I, H)
    return torch.func.vmap(lambda x: layer(x)[0])(torch.randn(2, T, B, I))


def strided() -> object:
    return gatewise.nn.LSTM(I, H)(torch.randn(I, B, T).transpose(0, 2))


def strided_states() -> object:
    return gatewise.nn.RNN(I, H)(torch.randn(T, B, I), torch.randn(1, H, B).transpose(1, 2))


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "type": (
        half,
        r"strict: gru \(3 inputs, 8 units\) would run .* its tensors are torch.float16 \(use model.float\(\)",
    ),
    "transform": (transformed, r"strict: rnn .* it runs under a transform of torch.func \(vmap\)"),
    "input": (
        strided,
        r"strict: lstm \(3 inputs, 8 units\) would copy the input: make it contiguous first\.",
    ),
    "states": (strided_states, r"strict: rnn .* would copy the initial state: make it contiguous first\."),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_slow_calls_are_refused_only_inside_the_context(call: Callable[[], object], message: str) -> None:
    with gatewise.strict(), pytest.raises(RuntimeError, match=message):
        call()
    call()


def test_a_gradient_with_create_graph_is_refused(layer: gatewise.nn.LSTM) -> None:
    x = torch.randn(T, B, I, requires_grad=True)
    message = r"strict: lstm \(16 inputs, 8 units\) .* differentiated again \(create_graph=True\)"
    with gatewise.strict(), pytest.raises(RuntimeError, match=message):
        torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
    (gradient,) = torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
    assert gradient.requires_grad


def test_another_thread_is_not_affected() -> None:
    results: list[Any] = []
    with gatewise.strict():
        thread = threading.Thread(target=lambda: results.append(half()))
        thread.start()
        thread.join()
    assert len(results) == 1


def test_it_can_be_nested_and_ends_after_an_error() -> None:
    with gatewise.strict():
        with pytest.raises(KeyError), gatewise.strict():
            raise KeyError
        with pytest.raises(RuntimeError, match="strict"):
            half()
    half()


def test_explain_inside_strict_reports_the_refusal() -> None:
    one = gatewise.nn.LSTM(I, H)
    with gatewise.strict():
        assert gatewise.explain(one, torch.randn(T, B, I))["l0"].runs_in == "compiled kernel"


def test_docstrings() -> None:
    failed, attempted = doctest.testmod(strict_module)
    assert (failed, attempted > 0) == (0, True)
