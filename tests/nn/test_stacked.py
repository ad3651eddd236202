# mypy: allow-untyped-defs, allow-incomplete-defs
"""Layers of a stack that overlap in time, against the same layers one after another."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import gatewise
from gatewise import cells
from gatewise import nn as ours
from gatewise.nn.kernels import overlap
from tests.nn.layers import mixed

T, B, I, H = 37, 3, 5, 19
CELLS = {
    "lstm": cells.lstm,
    "gru": cells.gru,
    "rnn": cells.rnn,
    "mixed": mixed,
    "norm": cells.lstm_layer_norm,
}


pytestmark = pytest.mark.usefixtures("two_threads")


def make(cell_: Any, layers: int, **options: Any) -> ours.Recurrent:
    torch.manual_seed(0)
    return ours.Recurrent(cell_, I, H, num_layers=layers, **options)


def everything(layer: Any, x: Tensor, given: Any, reset: Tensor | None) -> list[Tensor]:
    """Results, then the gradients for all leaves."""
    torch.manual_seed(1)
    output, final = layer(x, given, reset=reset)
    results = [output, *(final if isinstance(final, tuple) else (final,))]
    states = [] if given is None else list(given) if isinstance(given, tuple) else [given]
    leaves = [x, *states, *layer.parameters()]
    found = torch.autograd.grad(results, leaves, [torch.randn_like(result) for result in results])
    return [*results, *found]


def ran_at_once(layer: Any, *arguments: Any, **named: Any) -> bool:
    kernel = gatewise.explain(layer, *arguments, **named)["l0"].kernel
    return kernel is not None and kernel.side_by_side == layer.num_layers


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "pays", lambda walks: False)


def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "pays", lambda walks: True)


@pytest.mark.parametrize("rows", [1, B, 9])
@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize("given", [False, True], ids=["zeros", "given"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("cell_", CELLS.values(), ids=CELLS)
def test_the_same_bits_as_one_after_another(
    cell_: Any, batch_first: bool, given: bool, layers: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = make(cell_, layers, batch_first=batch_first)
    shape = (rows, T) if batch_first else (T, rows)
    x = torch.randn(*shape, I, requires_grad=True)
    reset = torch.rand(shape) < 0.1 if given else None
    states = tuple(torch.randn(layers, rows, H, requires_grad=True) for _ in layer.cell.states)
    hx = (states if len(states) > 1 else states[0]) if given else None
    alone(monkeypatch)
    expected = everything(layer, x, hx, reset)
    assert not ran_at_once(layer, x)
    at_once(monkeypatch)
    found = everything(layer, x, hx, reset)
    assert ran_at_once(layer, x)
    for mine, plain in zip(found, expected, strict=True):
        assert torch.equal(mine, plain)
    with torch.no_grad():
        assert torch.equal(layer(x, hx, reset=reset)[0], expected[0])


def test_random_masks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = make(cells.lstm, 2, zoneout=0.3, recurrent_dropout=0.3)
    x = torch.randn(T, B, I, requires_grad=True)
    alone(monkeypatch)
    expected = everything(layer, x, None, None)
    at_once(monkeypatch)
    for mine, plain in zip(everything(layer, x, None, None), expected, strict=True):
        assert torch.equal(mine, plain)


def test_gradients_can_be_differentiated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch)
    layer = make(cells.gru, 2, dtype=torch.float64)
    x = torch.randn(4, 2, I, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: layer(x)[0].square().sum(), (x,))


def test_only_requested_leaves_get_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = make(cells.lstm, 2), torch.randn(T, B, I)
    layer.requires_grad_(False)
    layer.weight_hh_l1.requires_grad_()
    grads: list[Tensor] = []
    for way in (alone, at_once):
        way(monkeypatch)
        layer(x)[0].square().sum().backward()
        assert [n for n, p in layer.named_parameters() if p.grad is not None] == ["weight_hh_l1"]
        assert isinstance(layer.weight_hh_l1.grad, Tensor)
        grads.append(layer.weight_hh_l1.grad)
        layer.weight_hh_l1.grad = None
    assert torch.equal(*grads)


def test_backward_may_run_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch)
    layer, x = make(cells.lstm, 2), torch.randn(T, B, I, requires_grad=True)
    loss = layer(x)[0].square().sum()
    first = torch.autograd.grad(loss, [x, *layer.parameters()], retain_graph=True)
    second = torch.autograd.grad(loss, [x, *layer.parameters()])
    for once, twice in zip(first, second, strict=True):
        assert torch.equal(once, twice)


LEFT_ALONE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "checkpoint": ({"checkpoint": 5}, {}),
    "dropout": ({"dropout": 0.5}, {}),
    "lengths": ({}, {"lengths": [T, 3, 0]}),
}


@pytest.mark.parametrize(("options", "arguments"), LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_layers_with_something_between_them_run_one_after_another(
    options: dict[str, Any], arguments: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    layer = ours.LSTM(64, 64, num_layers=2, **options)
    x = torch.randn(T, B, 64)
    layers = [each.kernel for each in gatewise.explain(layer, x, **arguments).layers]
    assert [kernel and kernel.side_by_side for kernel in layers] == [1, 1]


def test_when_layers_overlap() -> None:
    """They overlap for few rows of few units, but not for many rows or units, nor on one thread."""
    small, wide = ours.LSTM(64, 64, num_layers=2), ours.LSTM(256, 256, num_layers=2)
    few, many = torch.randn(200, 2, 64), torch.randn(200, 32, 64)
    assert ran_at_once(small, few)
    assert not ran_at_once(small, many)
    assert not ran_at_once(wide, torch.randn(200, 2, 256))
    assert not ran_at_once(small, torch.randn(2, 1, 64))
    torch.set_num_threads(1)
    assert not ran_at_once(small, few)


def test_watched_layers_are_watched() -> None:
    layer, x = ours.LSTM(64, 64, num_layers=2), torch.randn(200, 2, 64)
    assert ran_at_once(layer, x)
    with gatewise.watch(layer) as seen:
        output, _ = layer(x)
    assert torch.equal(seen["l1"].h, output)
