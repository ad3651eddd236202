# mypy: allow-untyped-defs, allow-incomplete-defs
"""Networks that several tests analyse: classic cells, a user's cell, ragged rows, resets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

import gatewise
from gatewise import Cell, Input, Split, Vector, cell, cells, sigmoid, tanh
from gatewise import nn as ours
from gatewise.insight.watch import Seen

T, B, I, H = 9, 5, 3, 4
LENGTHS = [3, 9, 0, 6, 1]


@cell
def leaky(h, m, *, a: Input, b: Split, d, v: Vector):
    """Two states. A gate keeps the second one, and the first one reads it. One parameter of every kind."""
    d = sigmoid(d)
    m = m + d * (tanh(a + b.x) - m)
    h = tanh(m * v + b.h)
    return h, m


KEPT = [cells.lstm, cells.gru, leaky]
ALL = [cells.rnn, cells.rnn_relu, *KEPT]


def name(thing: Cell) -> str:
    return thing.name


def calls(batch_first: bool = False) -> dict[str, dict[str, Any]]:
    """Different calls of a layer over ``x [T, B, I]``."""
    torch.manual_seed(5)
    reset = torch.rand(T, B) < 0.2
    reset = reset.T if batch_first else reset
    return {
        "plain": {},
        "lengths": {"lengths": LENGTHS},
        "reset": {"reset": reset},
        "both": {"lengths": LENGTHS, "reset": reset},
    }


CALLS = list(calls())


def layer_of(cell: Cell, **options: Any) -> Any:
    """A layer with I inputs and H units from a seed, with weights large enough that gates vary."""
    torch.manual_seed(1)
    layer = ours.Recurrent(cell, I, H, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(2)
    return layer


def sequence(batch_first: bool = False, dtype: torch.dtype = torch.float32) -> Tensor:
    torch.manual_seed(2)
    return torch.randn(*((B, T) if batch_first else (T, B)), I, dtype=dtype)


def start(layer: Any) -> Any:
    """Initial states that are not zero."""
    torch.manual_seed(3)
    scans = layer.num_layers * (2 if layer.bidirectional else 1)
    dtype = layer.weight_ih_l0.dtype
    states = tuple(torch.randn(scans, B, H, dtype=dtype) for _ in layer.cell.states)
    return states if len(states) > 1 else states[0]


def seen_by(layer: Any, x: Tensor | PackedSequence, hx: Any = None, **call: Any) -> Seen:
    with gatewise.watch(layer) as seen:
        layer(x, hx, **call)
    return seen
