"""Preparation before training: season, history and scalers, from the training part alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatewise.tasks.forecast.encoding import Encoding
from gatewise.tasks.forecast.naive import Numbers, seasonal_scale
from gatewise.tasks.forecast.split import spread
from gatewise.tasks.forecast.windows import OrderedBatches, RandomBatches, Windows
from gatewise.tasks.series import TimeSeries
from gatewise.tasks.series.clock import Clock

LEAST_HISTORY, MOST_HISTORY = 32, 168  # limits of the default history, in steps
LEAST_WINDOWS, MOST_WINDOWS = 64, 512  # windows in an epoch
MOST_CHECKED = 1024  # most validation origins that are checked after each epoch


@dataclass(frozen=True)
class Preparation:
    """Everything that a forecast needs besides the weights.

    Attributes:
        encoding: scalers, masks and season.
        history: steps that the network reads before a forecast.
        scale: the unit of MASE, the mean absolute change over one season in training; NaN if unknown.
        clock: the step of the series.
    """

    encoding: Encoding
    history: int
    scale: float
    clock: Clock

    @property
    def need(self) -> int:
        """The fewest rows that a forecast needs: the history, and one season before its first step."""
        return self.history + self.encoding.season

    def windows(self, series: TimeSeries, horizon: int) -> Windows:
        """Encode a series."""
        return Windows.of([series], self.encoding, horizon, self.history)

    def training(self, windows: Windows, rows: int, batch_size: int, seed: int) -> RandomBatches:
        """The training windows, whose forecasts lie in the training part, after its first season."""
        stop = rows - windows.horizon
        first = self.need - 1
        count = min(max(rows // 4, LEAST_WINDOWS), MOST_WINDOWS)
        return RandomBatches(windows, np.array([first]), np.array([stop]), count, batch_size, seed)

    def validation(self, windows: Windows, rows: int) -> OrderedBatches:
        """The validation windows. The steps that they forecast lie after the training part."""
        stop = len(windows.truth) - windows.horizon
        return OrderedBatches(windows, spread(rows - 1, stop, MOST_CHECKED, self.encoding.season))


def prepare(
    series: TimeSeries, rows: int, horizon: int, season: int | None, history: int | None
) -> Preparation:
    """Prepare from the first `rows` rows. If `season` or `history` is None, it is chosen automatically."""
    train, known = series.head(rows), series.clock.seasons()
    origins = rows - horizon
    if season is None:
        season = best_season(train.values, tuple(m for m in known if 2 * m <= origins))
    most = min(rows // 2, origins - 1)
    if season > most:
        words = ", half of the training rows" if most == rows // 2 else f" for {rows} training rows"
        raise ValueError(f"season must be at most {most}{words}. Got {season}")
    phases = sorted(m for m in {*known, season} if 1 < m <= season and season % m == 0)
    encoding = Encoding.fit(train, season, tuple(phases))
    wanted = max(4 * min(known, default=1), 2 * horizon, LEAST_HISTORY)
    steps = _history(min(origins // 2, origins - season), min(wanted, MOST_HISTORY), rows, history)
    return Preparation(encoding, steps, seasonal_scale(train.values, season), series.clock)


def best_season(train: Numbers, candidates: tuple[int, ...]) -> int:
    """The season whose naive forecast has the smallest error in training, or 1."""
    scales = {m: seasonal_scale(train, m) for m in candidates}
    known = {m: scale for m, scale in scales.items() if np.isfinite(scale)}
    return min(known, key=lambda m: known[m], default=1)


def _history(most: int, wanted: int, rows: int, history: int | None) -> int:
    if history is None:
        return min(wanted, most)
    if history > most:
        raise ValueError(f"history must be at most {most} for {rows} training rows. Got {history}")
    return history
