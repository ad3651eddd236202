"""The forecasting network, and its batches.

Shapes: ``T`` steps of history, ``B`` windows, ``I`` inputs, ``H`` hidden units, ``S`` forecasts per window
(one at each of its last ``S`` steps), ``K`` steps of the horizon. Time first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gatewise.language import Cell
from gatewise.nn.modules.recurrent import Recurrent
from gatewise.tasks.forecast.encoding import Encoding
from gatewise.tasks.forecast.naive import Numbers, Whole, future, seasonal_naive
from gatewise.tasks.series import TimeSeries

MOST_FORECAST = 4_000_000  # most values that a training batch forecasts


class Batch(NamedTuple):
    """Windows of a series, in scaled units.

    ``inputs [T, B, I]``; ``last [S, B]``, the last known target; ``seasonal [S, B, K]``, the seasonal naive
    forecast; ``truth [S, B, K]``, the true values, NaN where unknown.
    """

    inputs: Tensor
    last: Tensor
    seasonal: Tensor
    truth: Tensor


class ForecastNetwork(nn.Module):
    """A recurrent network that corrects the naive forecasts.

    The forecast for each of the ``K`` steps ahead is the last known value, moved by a learned share towards
    the seasonal naive forecast, plus a linear map of the network's output. The shares and the map start at
    zero, so the untrained network is the persistence forecast. (A recurrent part beside a linear one: Lai et
    al. 2018.)
    """

    def __init__(
        self, cell: Cell, input_size: int, hidden_size: int, num_layers: int, horizon: int, dropout: float
    ) -> None:
        super().__init__()
        between = dropout if num_layers > 1 else 0.0
        self.recurrent = Recurrent(cell, input_size, hidden_size, num_layers, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, horizon)
        self.share = nn.Parameter(torch.zeros(horizon))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, inputs: Tensor, last: Tensor, seasonal: Tensor) -> Tensor:
        """The forecasts at the last ``S`` steps of each window, ``[S, B, K]`` in scaled units."""
        output = self.recurrent(inputs)[0][-len(last) :]
        level = last[..., None]
        forecast: Tensor = level + self.share * (seasonal - level) + self.head(self.dropout(output))
        return forecast


@dataclass(frozen=True)
class Windows:
    """All windows of a series: ``inputs [N, I]``, scaled target ``truth [N]``, without gaps ``held [N]``."""

    inputs: Tensor
    truth: Tensor
    held: Numbers
    horizon: int
    season: int
    history: int

    @classmethod
    def of(cls, series: TimeSeries, encoding: Encoding, horizon: int, history: int) -> Windows:
        """Encode a series."""
        truth = torch.from_numpy(encoding.scaled(series.values)).float()
        held = encoding.held_target(series)
        return cls(torch.from_numpy(encoding.inputs(series)), truth, held, horizon, encoding.season, history)

    def batch(self, ends: Whole, forecasts: int = 1) -> Batch:
        """The windows that end at ``ends [B]``, with forecasts at their last `forecasts` steps."""
        steps = ends + np.arange(1 - self.history, 1)[:, None]
        origins = steps[-forecasts:]
        seasonal = seasonal_naive(self.held, origins, self.horizon, self.season)
        ahead = future(origins, self.horizon)
        known = ahead < len(self.truth)
        truth = self.truth[np.where(known, ahead, 0)].masked_fill(~torch.from_numpy(known), torch.nan)
        last = torch.from_numpy(self.held[origins]).float()
        return Batch(self.inputs[steps], last, torch.from_numpy(seasonal).float(), truth)


@dataclass(frozen=True)
class RandomBatches:
    """Epochs of training: windows at random positions, new ones in each epoch, in whole batches.

    Attributes:
        windows: all windows of the series.
        first, stop: the limits of the origins.
        windows_in_epoch: the number of windows in an epoch, rounded up to whole batches.
        batch_size: windows in a batch of one process.
        seed: the random seed.
    """

    windows: Windows
    first: int
    stop: int
    windows_in_epoch: int
    batch_size: int
    seed: int

    def count(self, world: int = 1) -> int:
        """The number of batches of each process in an epoch."""
        return -(-self.windows_in_epoch // (self.batch_size * world))

    def at(self, epoch: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """The batches of one process in an epoch."""
        rng = np.random.default_rng([self.seed, epoch])
        most = max(MOST_FORECAST // (self.batch_size * self.windows.horizon), 1)
        forecasts = min(self.windows.history - self.windows.history // 4, most)  # none in the first quarter
        for _ in range(self.count(world)):
            ends = rng.integers(self.first, self.stop, size=self.batch_size * world)
            yield self.windows.batch(ends[rank::world], forecasts)


@dataclass(frozen=True)
class OrderedBatches:
    """Batches of forecasts at given origins, in order."""

    windows: Windows
    origins: Whole
    batch_size: int = 256

    def __len__(self) -> int:
        return -(-len(self.origins) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.origins), self.batch_size):
            yield self.windows.batch(self.origins[start : start + self.batch_size])
