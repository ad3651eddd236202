"""Preparation before training: season, history and scalers, from the training part alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import nan

import numpy as np

from gatewise.runtime.jobs.lags import Reads
from gatewise.tasks.forecast.encoding import Encoding
from gatewise.tasks.forecast.linear import LEAST, Fold
from gatewise.tasks.forecast.naive import Numbers, Whole, seasonal_scale, varies
from gatewise.tasks.forecast.split import spread
from gatewise.tasks.forecast.windows import OrderedBatches, RandomBatches, Windows
from gatewise.tasks.series import Panel, TimeSeries, as_panel
from gatewise.tasks.series.clock import Clock

LEAST_HISTORY, MOST_HISTORY = 32, 168  # limits of the default history, in steps
LEAST_WINDOWS, MOST_WINDOWS = 64, 512  # windows in an epoch
WINDOWS_OF_SERIES = 2  # windows of each series in an epoch, if there are many
FOLDS = 6  # most places at which linear parts are judged
FOLDS_OF_PANELS = 3  # earlier ones would have long series alone
MOST_CHECKED = 1024  # most validation origins that are checked after each epoch


@dataclass(frozen=True)
class Preparation:
    """Everything that a forecast needs besides the weights.

    Attributes:
        encoding: scalers, masks and season.
        history: steps that the network reads before a forecast.
        scale: the unit of MASE, the mean absolute change over one season in training; NaN if unknown.
        clock: the step of the series.
        least: the fewest rows that a forecast needs. A shorter past than `need` is filled with its first row.
        reads: what the linear part reads; None without one.
        widths: by which the spread of sampled futures is multiplied, one for each step ahead, if the steps
            are forecast one after another; None before it is known.
    """

    encoding: Encoding
    history: int
    scale: float
    clock: Clock
    least: int
    reads: Reads | None = None
    widths: tuple[float, ...] | None = None

    @property
    def need(self) -> int:
        """The rows that a forecast reads: the history, and one season before its first step."""
        return self.history + self.encoding.season

    def windows(self, series: TimeSeries | Panel, horizon: int) -> Windows:
        """Encode a series, or the series of a panel."""
        windows = Windows.of(series, self.encoding, horizon, self.history)
        return replace(windows, reads=self.reads or Reads())

    def limits(self, windows: Windows, rows: Whole | int) -> tuple[Whole, Whole]:
        """The first origin of each series, and the end of those whose forecasts lie in its first `rows`."""
        starts = windows.starts[:-1]
        first, stop = limits(np.broadcast_to(rows, starts.shape), windows.horizon, self.need)
        return starts + first, starts + stop

    def training(self, windows: Windows, rows: Whole | int, batch_size: int, seed: int) -> RandomBatches:
        """The training windows, whose forecasts lie in the training part, after its first season."""
        first, stop = self.limits(windows, rows)
        count = windows_of_epoch(int(np.sum(rows)), len(first))
        return RandomBatches(windows, first, stop, count, batch_size, seed)

    def origins(self, windows: Windows, rows: Whole | int) -> Whole:
        """All origins whose forecasts lie in the first `rows` of each series."""
        return _ranges(*self.limits(windows, rows))

    def validation(self, windows: Windows, rows: Whole | int) -> OrderedBatches:
        """The validation windows. The steps that they forecast lie after the training part."""
        lengths = np.diff(windows.starts)
        return OrderedBatches(windows, self._after(windows, rows, lengths))

    def folds(self, windows: Windows, rows: Whole | int) -> list[Fold]:
        """Places at which linear parts are judged: that of the validation part, and earlier ones like it."""
        lengths = np.diff(windows.starts)
        rows = np.broadcast_to(rows, lengths.shape)
        first, _ = self.limits(windows, rows)
        held_out, folds = (
            lengths - rows,
            [Fold(self.origins(windows, rows), self.validation(windows, rows).origins)],
        )
        for place in range(1, FOLDS if len(lengths) == 1 else FOLDS_OF_PANELS):
            stop = np.maximum(rows - place * held_out, 0)
            fitted = _ranges(first, windows.starts[:-1] + stop - windows.horizon)
            if len(fitted) < max(len(folds[0].fitted) // 3, LEAST):
                break
            folds.append(Fold(fitted, self._after(windows, stop, np.minimum(stop + held_out, lengths))))
        return folds

    def _after(self, windows: Windows, rows: Whole | int, stop: Whole) -> Whole:
        """Origins of forecasts in the steps of each series after its first `rows`, before `stop`."""
        starts = windows.starts[:-1]
        first, stop = np.maximum(starts + rows - 1, starts), starts + stop - windows.horizon
        places = np.flatnonzero(stop > first)
        places = places[:: -(-len(places) // MOST_CHECKED) or 1]
        most = max(MOST_CHECKED // max(len(places), 1), 1)
        season = self.encoding.season
        origins = [spread(int(first[p]), int(stop[p]), most, season) for p in places]
        return np.concatenate(origins)


def _ranges(first: Whole, stop: Whole) -> Whole:
    """The whole numbers from each of `first` to each of `stop`, one range after another."""
    return np.concatenate([np.arange(start, end) for start, end in zip(first, stop, strict=True)])


def refuse_negative(panel: Panel, reason: str) -> None:
    """Refuse negative values of the target; `reason` says what they are not or have not."""
    for one in panel:
        if (negative := one.values < 0).any():
            row = int(negative.argmax())
            raise one.error(f"{one.values[row]:g} is negative, and {reason}", row, row + 1)


def limits(rows: Whole, horizon: int, need: int) -> tuple[Whole, Whole]:
    """The first origin in the first `rows` of each series, and the end of those with all steps in them.

    A series with too few rows to fill a window begins in the middle.
    """
    stop = np.maximum(rows - horizon, 0)
    return np.where(need - 1 < stop, need - 1, stop // 2), stop


def windows_of_epoch(rows: int, series: int) -> int:
    """The number of training windows in an epoch, for a number of training rows and of series.

    >>> windows_of_epoch(120, 1), windows_of_epoch(1_000_000, 1), windows_of_epoch(1_000_000, 1000)
    (64, 512, 2000)
    """
    return min(max(rows // 4, LEAST_WINDOWS), max(MOST_WINDOWS, WINDOWS_OF_SERIES * series))


def prepare(
    series: TimeSeries | Panel,
    rows: Whole | int,
    horizon: int,
    season: int | None,
    history: int | None,
    *,
    log: bool = False,
    past: bool = True,
) -> Preparation:
    """Prepare from the first `rows` rows. If `season` or `history` is None, it is chosen automatically."""
    panel = as_panel(series)
    parts = np.broadcast_to(rows, len(panel))
    train, known = panel.head(parts), panel.clock.seasons()
    if log:
        refuse_negative(panel, "has no logarithm")
    rows = int(np.median(parts))  # of a usual series
    origins = rows - horizon
    if season is None:
        season = best_season([one.values for one in train], tuple(m for m in known if 2 * m <= origins))
    most = min(rows // 2, origins - 1)
    if season > most:
        words = ", half of the training rows" if most == rows // 2 else f" for {rows} training rows"
        raise ValueError(f"season must be at most {most}{words}. Got {season}")
    phases = sorted(m for m in {*known, season} if 1 < m <= season and season % m == 0)
    encoding = Encoding.fit(train, season, tuple(phases), log=log, differenced=True, past=past)
    wanted = max(4 * min(known, default=1), 2 * horizon, LEAST_HISTORY)
    steps = _history(min(origins // 2, origins - season), min(wanted, MOST_HISTORY), rows, history)
    least = steps + season
    if not panel.alone:
        first, stop = limits(parts, horizon, steps + season)
        least = int(first[stop > first].min()) + 1
    scales = [seasonal_scale(one.values, season) for one in train]
    scale = scales[0] if len(panel) == 1 else nan
    return Preparation(encoding, steps, scale, panel.clock, least)


def best_season(train: list[Numbers], candidates: tuple[int, ...]) -> int:
    """The season whose naive forecast has the smallest error in training, or 1.

    Errors of several series are in units of the mean distance of their values from the mean.
    """
    scales = {m: np.array([seasonal_scale(values, m) for values in train]) for m in candidates}
    units = [np.nanmean(np.abs(values - np.nanmean(values))) if varies(values) else nan for values in train]
    means = {m: _mean(scale / (units if len(units) > 1 else 1.0)) for m, scale in scales.items()}
    known = {m: mean for m, mean in means.items() if np.isfinite(mean)}
    return min(known, key=lambda m: known[m], default=1)


def _mean(values: Numbers) -> float:
    """The mean of the known values; NaN without any."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else nan


def _history(most: int, wanted: int, rows: int, history: int | None) -> int:
    if history is None:
        return min(wanted, most)
    if history > most:
        raise ValueError(f"history must be at most {most} for {rows} training rows. Got {history}")
    return history
