"""Windows of series, and batches of windows.

Shapes: ``N`` steps of all series together, ``P`` series, ``T`` steps of history, ``B`` windows, ``I`` inputs,
``S`` forecasts per window (one at each of its last ``S`` steps), ``K`` steps of the horizon, ``F`` inputs
whose future is known, ``Z`` numbers and ``C`` categories that describe a whole series. Time first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs.lags import NOTHING, Reads
from gatewise.tasks.forecast.encoding import Encoding, columns_of
from gatewise.tasks.forecast.naive import Numbers, Whole, future, seasonal_naive
from gatewise.tasks.series import Panel, TimeSeries, as_panel

MOST_FORECAST = 4_000_000  # most values that a training batch forecasts
MOST_LINES = 2**22  # most forecasts of the linear part that are kept
CHUNK = 2**20  # numbers that the linear part reads at once


class Batch(NamedTuple):
    """Windows of series, in scaled units.

    Attributes:
        inputs: ``[T, B, I]``.
        last: ``[S, B]``, the last known target.
        seasonal: ``[S, B, K]``, the seasonal naive forecast.
        truth: ``[S, B, K]``, the true values, NaN where unknown.
        ahead: ``[S, B, K, F]``, the inputs known for the steps that are forecast.
        numbers: ``[B, Z]``, the numbers that describe each series.
        categories: ``[B, C]``, the categories that describe each series, whole numbers.
        lags: ``[S, B, L]``, what the linear part reads; L is 0 if its forecasts are there already.
        line: ``[S, B, K]``, the forecasts of the linear part, or ``[S, B, 0]``.
        ends: ``[B]``, the last step of each window, among the steps of all series.
    """

    inputs: Tensor
    last: Tensor
    seasonal: Tensor
    truth: Tensor
    ahead: Tensor
    numbers: Tensor
    categories: Tensor
    lags: Tensor
    line: Tensor
    ends: Tensor


@dataclass(frozen=True)
class Windows:
    """All windows of one or several series, whose steps follow one another. No window crosses two series.

    A window that begins before its series is filled with the first step of the series.

    Attributes:
        inputs: ``[N, I]``.
        truth: ``[N]``, the scaled target, NaN where unknown.
        held: ``[N]``, the scaled target without gaps.
        starts: ``[P + 1]``, where each series begins, and the end of the last one.
        ahead: ``[N, F]``, the inputs whose future is known.
        numbers: ``[P, Z]``, numbers that describe each series.
        categories: ``[P, C]``, categories that describe each series.
        horizon, season, history: steps that are forecast, in a season, and that the network reads.
        reads: what the linear part reads.
        lines: ``[N, K]``, the forecasts of the linear part; None if they are computed for each batch.
    """

    inputs: Tensor
    truth: Tensor
    held: Numbers
    starts: Whole
    ahead: Tensor
    numbers: Tensor
    categories: Tensor
    horizon: int
    season: int
    history: int
    reads: Reads = NOTHING
    lines: Tensor | None = None

    @classmethod
    def of(cls, series: TimeSeries | Panel, encoding: Encoding, horizon: int, history: int) -> Windows:
        """Encode a series, or the series of a panel."""
        panel = as_panel(series)
        starts = np.cumsum([0, *panel.rows])
        N, P = int(starts[-1]), len(panel)
        inputs = np.empty((N, encoding.input_size), np.float32)
        truth, held = np.empty(N, np.float32), np.empty(N)
        ahead = np.empty((N, len(encoding.known)), np.float32)
        numbers = np.empty((P, len(encoding.numbers)), np.float32)
        categories = np.empty((P, len(encoding.categories)), np.int64)
        for place, one in enumerate(panel):
            part = slice(starts[place], starts[place + 1])
            own = encoding.of_series(panel.ids[place], one.values)
            columns = columns_of(one, own.columns)
            inputs[part] = own.encoded(columns, one.positions)
            truth[part] = own.scaled(one.values)
            held[part] = own.held(one.values)
            ahead[part] = own.ahead(columns)[: len(one)]
            numbers[place], categories[place] = own.attributes(panel.attributes(place))
        return cls(
            torch.from_numpy(inputs),
            torch.from_numpy(truth),
            held,
            starts,
            torch.from_numpy(ahead),
            torch.from_numpy(numbers),
            torch.from_numpy(categories),
            horizon,
            encoding.season,
            history,
        )

    def batch(self, ends: Whole, forecasts: int = 1) -> Batch:
        """The windows that end at ``ends [B]``, with forecasts at their last `forecasts` steps."""
        of = np.searchsorted(self.starts, ends, side="right") - 1
        first, stop = self.starts[of], self.starts[of + 1]
        steps = ends + np.arange(1 - self.history, 1)[:, None]
        origins = steps[-forecasts:]
        within = origins >= first
        steps, origins = np.maximum(steps, first), np.maximum(origins, first)
        seasonal = seasonal_naive(self.held, origins, self.horizon, self.season, first)
        coming = future(origins, self.horizon)
        known = (coming < stop[:, None]) & within[..., None]
        coming = np.minimum(coming, stop[:, None] - 1)
        truth = self.truth[coming].masked_fill(~torch.from_numpy(known), torch.nan)
        last = torch.from_numpy(self.held[origins]).float()
        ahead, nothing = self.ahead[coming], torch.empty((*origins.shape, 0))
        lags = nothing
        if self.lines is None:
            read = self.reads.at(origins, self.held, self.inputs.numpy(), ahead.numpy(), first)
            lags = torch.from_numpy(read)
        return Batch(
            self.inputs[steps],
            last,
            torch.from_numpy(seasonal).float(),
            truth,
            ahead,
            self.numbers[of],
            self.categories[of],
            lags,
            nothing if self.lines is None else self.lines[origins],
            torch.from_numpy(ends),
        )

    def straight(self, linear: Callable[[Tensor], Tensor]) -> Windows:
        """The same windows with the forecasts of a linear part, if they are not too many to be kept."""
        N = len(self.held)
        if N * self.horizon > MOST_LINES:
            return self
        chunks = np.array_split(np.arange(N), -(-N // self.most(CHUNK)))
        return replace(self, lines=torch.cat([linear(torch.from_numpy(self.read(c))) for c in chunks]))

    def most(self, numbers: int) -> int:
        """At how many origins that many numbers are read and forecast."""
        return max(numbers // (self.reads.size(self.inputs.shape[1]) + self.horizon), 1)

    def read(self, origins: Whole) -> Array:
        """What the linear part reads at ``origins [S]``, ``[S, L]``."""
        of = np.searchsorted(self.starts, origins, side="right") - 1
        first, last = self.starts[of], self.starts[of + 1] - 1
        coming = np.minimum(future(origins, self.horizon), last[:, None])
        return self.reads.at(origins, self.held, self.inputs.numpy(), self.ahead.numpy()[coming], first)


@dataclass(frozen=True)
class RandomBatches:
    """Epochs of training: windows at random positions, new ones in each epoch, in whole batches.

    Attributes:
        windows: all windows of the series.
        first, stop: ``[P]``, the limits of the origins in each series.
        windows_in_epoch: the number of windows in an epoch, rounded up to whole batches.
        batch_size: windows in a batch of one process.
        seed: the random seed.
    """

    windows: Windows
    first: Whole
    stop: Whole
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
        before = np.cumsum(
            [0, *np.maximum(self.stop - self.first, 0)]
        )  # the number of origins before each series
        for _ in range(self.count(world)):
            places = rng.integers(0, before[-1], size=self.batch_size * world)
            of = np.searchsorted(before, places, side="right") - 1
            ends = self.first[of] + places - before[of]
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
