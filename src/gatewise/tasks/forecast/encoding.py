"""Turns a series into the inputs of a network. All statistics come from the training part alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatewise.tasks.forecast.naive import Numbers, hold, varies
from gatewise.tasks.series import TimeSeries

FAR = 1e12  # most standard deviations that a value may lie from the mean


@dataclass(frozen=True)
class Encoding:
    """Scalers, masks and seasons of a series with target and past inputs.

    The inputs ``[N, I]`` of the network are, in this order: every column, scaled, with missing values
    replaced by the last known one; a mask of the observed values, for columns with missing ones; the change
    of the target over one season; the phase within each season, as two sines and two cosines.

    Attributes:
        columns: the columns used, the target first. Columns that never change in training are not used.
        mean: the mean of each column.
        scale: the standard deviation of each column.
        masked: the columns that have a mask. Columns with the same missing steps share that of the first.
        season: the season, in steps (1: none).
        change_scale: the standard deviation of the scaled target's change over one season.
        phases: the seasons whose phase is an input, in steps.
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    masked: tuple[str, ...]
    season: int
    change_scale: float
    phases: tuple[int, ...]

    @classmethod
    def fit(cls, train: TimeSeries, season: int, phases: tuple[int, ...]) -> Encoding:
        """Compute means and scales from the training part. Its target must not be constant."""
        frame = train.frame
        others = [n for n in frame.columns if n != train.target and varies(frame[n].to_numpy(np.float64))]
        columns = [train.target, *others]
        chosen = frame[columns]
        masks: dict[bytes, str] = {}  # missing steps -> the first column with them
        for name in columns:
            if (missing := chosen[name].isna().to_numpy()).any():
                masks.setdefault(np.packbits(missing).tobytes(), name)
        scale = chosen.std(ddof=0)
        held = hold(train.values) / float(scale[train.target])
        change = np.nanstd(held[season:] - held[:-season])
        return cls(
            tuple(columns),
            tuple(map(float, chosen.mean())),
            tuple(map(float, scale)),
            tuple(masks.values()),
            season,
            float(change) or 1.0,
            phases,
        )

    @property
    def target(self) -> str:
        """The column that is forecast."""
        return self.columns[0]

    @property
    def input_size(self) -> int:
        """The number ``I`` of inputs at every step."""
        return len(self.columns) + len(self.masked) + 1 + 4 * len(self.phases)

    def scaled(self, values: Numbers) -> Numbers:
        """Scale values of the target."""
        return (values - self.mean[0]) / self.scale[0]

    def unscaled(self, values: Numbers) -> Numbers:
        """Convert scaled values back to the unit of the target."""
        return values * self.scale[0] + self.mean[0]

    def held_target(self, series: TimeSeries) -> Numbers:
        """The scaled target ``[N]``, missing values replaced by the last known one (0 before the first)."""
        return np.nan_to_num(hold(self.scaled(series.values)), nan=0.0)

    def inputs(self, series: TimeSeries) -> NDArray[np.float32]:
        """The inputs ``[N, I]``. Each row depends only on its own step and earlier ones."""
        frame = series.frame[list(self.columns)]
        scaled = frame.sub(np.array(self.mean)).div(np.array(self.scale))
        for name in scaled.columns[(scaled.abs() > FAR).any()]:
            raise ValueError(
                f"series: {name!r} has values {FAR:g} times as far from their mean as those in training"
            )
        held = self.held_target(series)
        before = held[np.maximum(np.arange(len(held)) - self.season, 0)]
        parts = [
            scaled.ffill().fillna(0.0).to_numpy(),
            frame[list(self.masked)].notna().to_numpy(),
            ((held - before) / self.change_scale)[:, None],
            *(_phase(series, season) for season in self.phases),
        ]
        return np.concatenate(parts, axis=1, dtype=np.float32)


def _phase(series: TimeSeries, season: int) -> Numbers:
    """The phase of each step within the season: two sines and two cosines, ``[N, 4]``."""
    position = np.rint(series.clock.exact(series.times))
    angle = 2 * np.pi * (position % season) / season
    return np.column_stack([np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)])
