# mypy: allow-untyped-defs, allow-incomplete-defs
"""Edited layers against a reference, step by step: every value of every cell, layers, directions, options."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

import gatewise
from gatewise import Cell, cells
from tests.insight.edited_by_hand import Change, by_hand, products, rich
from tests.insight.networks import CALLS, B, H, T, calls, layer_of, leaky, name, sequence, start

CELLS = [cells.lstm, cells.gru, leaky, products, rich]


def double(of: Cell, **options: Any) -> Any:
    return layer_of(of, dtype=torch.float64, **options)


def new_values() -> list[tuple[Any, Any]]:
    """Ways to specify a new value, each with the function of the old value, step and row that it means."""
    torch.manual_seed(7)
    vector, patch = torch.randn(H).double(), torch.randn(T, B, H).double()
    return [
        (-0.75, lambda old, t, b: torch.full_like(old, -0.75)),
        (lambda old: 0.5 * old + gatewise.tanh(old), lambda old, t, b: 0.5 * old + old.tanh()),
        (vector, lambda old, t, b: vector),
        (patch, lambda old, t, b: patch[t, b]),
    ]


def some(size: int, draw: Random) -> list[int]:
    return draw.sample(range(size), draw.randint(1, size - 1))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("of", CELLS, ids=name)
def test_an_edited_layer_computes_its_steps_with_the_edits(of: Cell, first: int, call: str) -> None:
    layer, x, draw = double(of), sequence(dtype=torch.float64), Random(f"{of.name} {first} {call}")
    edited, changes, news = layer, [], new_values()
    for n, value in enumerate(of.values, first):
        given, by = news[n % len(news)]
        units, steps, rows = some(H, draw), some(T, draw), some(B, draw)
        edited = gatewise.edit(edited, "l0", units=units, steps=steps, rows=rows, **{value: given})
        changes.append(Change(value, by, units, steps, rows))
    hx = start(layer)
    states = (hx,) if isinstance(hx, Tensor) else hx
    output, finals, values = by_hand(layer, x, {"l0": changes}, states, **calls()[call])
    with gatewise.watch(edited) as seen:
        found, ended = edited(x, hx, **calls()[call])
    torch.testing.assert_close(found, output, rtol=1e-10, atol=1e-12)
    ended = (ended,) if isinstance(ended, Tensor) else ended
    for final, expected in zip(ended, finals, strict=True):
        torch.testing.assert_close(final, expected, rtol=1e-10, atol=1e-12)
    assert seen["l0"].names == tuple(of.values)
    for value in of.values:
        torch.testing.assert_close(
            seen["l0"][value], values["l0", value], rtol=1e-10, atol=1e-12, equal_nan=True
        )


OPTIONS: dict[str, tuple[Cell, str, dict[str, Any]]] = {
    "stack": (cells.lstm, "c", {"num_layers": 2, "bidirectional": True}),
    "batch first": (cells.gru, "z", {"num_layers": 2, "bidirectional": True, "batch_first": True}),
    "projected": (cells.lstm, "o", {"bidirectional": True, "proj_size": 2}),
    "zoneout": (cells.lstm, "c", {"bidirectional": True, "zoneout": (0.1, 0.3)}),
    "zoned output": (cells.lstm, "h", {"zoneout": (0.1, 0.3)}),
    "checkpoint": (leaky, "m", {"bidirectional": True, "checkpoint": 3}),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", OPTIONS)
def test_layers_are_edited_by_name_and_steps_are_counted_in_time(kind: str, call: str) -> None:
    of, value, options = OPTIONS[kind]
    layer, batch_first = double(of, **options).eval(), options.get("batch_first", False)
    x = sequence(dtype=torch.float64).requires_grad_()
    number, function, *_ = new_values()
    last = layer._all_suffixes[-1][1:]
    edited = gatewise.edit(layer, last, steps=slice(-4, -2), **{value: number[0]})
    edited = gatewise.edit(edited, "l0*", units=slice(1, None), rows=[-2], **{value: function[0]})
    below = [Change(value, function[1], range(1, H), range(T), [B - 2])]
    first = [Change(value, number[1], range(H), range(T - 4, T - 2), range(B))]
    changes = {"l0": below, "l0_reverse": below}
    changes[last] = first + changes.get(last, [])
    output, _, _ = by_hand(layer, x, changes, **calls()[call])
    found = edited(x.transpose(0, 1) if batch_first else x, **calls(batch_first)[call])[0]
    found = found.transpose(0, 1) if batch_first else found
    torch.testing.assert_close(found, output, rtol=1e-10, atol=1e-12)
    by, tensors = torch.randn_like(output), [x, *layer.parameters()]
    expected = torch.autograd.grad(output, tensors, by, materialize_grads=True, allow_unused=True)
    for mine, theirs in zip(torch.autograd.grad(found, tensors, by), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)


def test_an_edited_model_prints_its_edits() -> None:
    with pytest.raises(TypeError, match="edit: new values must be given by name"):
        gatewise.edit(layer_of(cells.gru), "l0", units=[1])
