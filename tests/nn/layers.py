# mypy: allow-untyped-defs, allow-incomplete-defs
"""Layers that several tests run: pairs of ours and torch's, and a cell that torch does not have."""

from __future__ import annotations

from typing import Any

import torch

from gatewise import Input, Split, Vector, cell, sigmoid, tanh
from gatewise import nn as ours

I, H = 3, 5

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn": ("RNN", {}),
    "rnn-relu": ("RNN", {"nonlinearity": "relu"}),
    "lstm": ("LSTM", {}),
    "lstm-projected": ("LSTM", {"proj_size": 2}),
    "gru": ("GRU", {}),
}


@cell
def mixed(h, m, *, a: Input, b: Split, d, v: Vector):
    """One parameter of every kind."""
    d = sigmoid(d)
    m = d * m + (1 - d) * tanh(a + b.x)
    h = tanh(m * v + b.h) - 0.5 * h
    return h, m


def pair(kind: str, **options: Any) -> tuple[Any, Any]:
    """Our layer and torch's, with I inputs and H units, from the same seed, by default in float64."""
    made = []
    for package in (ours, torch.nn):
        torch.manual_seed(1)
        made.append(getattr(package, kind)(I, H, **{"dtype": torch.float64} | options))
    return made[0], made[1]
