"""Parts of the forecasting network for what is known besides the past: inputs ahead, and attributes.

Shapes: ``B`` windows, ``H`` hidden units, ``S`` forecasts per window, ``K`` steps of the horizon, ``F``
inputs whose future is known, ``Z`` numbers and ``C`` categories that describe a whole series.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gatewise.runtime.jobs.parts import width

UNITS = 16  # hidden units of the map from what is known ahead


class AheadPart(nn.Module):
    """What the inputs of a step ahead change of its forecast, given what the network remembers.

    A map with one hidden layer of rectified units, beside a linear one. Both start at zero.
    """

    def __init__(self, hidden_size: int, inputs: int) -> None:
        super().__init__()
        self.context = nn.Linear(hidden_size, UNITS)
        self.known = nn.Linear(inputs, UNITS, bias=False)
        self.out = nn.Linear(UNITS + inputs, 1, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, output: Tensor, ahead: Tensor) -> Tensor:
        """From ``output [S, B, H]`` and ``ahead [S, B, K, F]`` to ``[S, B, K]``."""
        hidden = torch.relu(self.context(output)[..., None, :] + self.known(ahead))
        changes: Tensor = self.out(torch.cat([hidden, ahead], -1))[..., 0]
        return changes


class AttributePart(nn.Module):
    """The attributes of a series as inputs of every step: numbers as they are, categories embedded."""

    def __init__(self, numbers: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, width(size)) for size in sizes)
        self.size = numbers + sum(map(width, sizes))

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """From ``numbers [B, Z]`` and ``categories [B, C]`` to ``[B, size]``."""
        found = [table(categories[:, place]) for place, table in enumerate(self.tables)]
        return torch.cat([numbers, *found], -1)
