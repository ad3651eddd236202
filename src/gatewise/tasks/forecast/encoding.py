"""Turns a series into the inputs of a network. All statistics come from the training part alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewise.runtime.jobs import encoding
from gatewise.runtime.jobs.encoding import FAR
from gatewise.tasks.forecast.naive import Numbers, hold, varies
from gatewise.tasks.series import TimeSeries

__all__ = ["FAR", "Encoding"]


class Encoding(encoding.Encoding):
    """The encoding of a `TimeSeries`."""

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

    def held_target(self, series: TimeSeries) -> Numbers:
        """The scaled target ``[N]``, missing values replaced by the last known one (0 before the first)."""
        return self.held(series.values)

    def inputs(self, series: TimeSeries) -> NDArray[np.float32]:
        """The inputs ``[N, I]``. Each row depends only on its own step and earlier ones."""
        return self.encoded(columns_of(series, self.columns), np.rint(series.clock.exact(series.times)))


def columns_of(series: TimeSeries, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Columns of a series as arrays of float64."""
    return {name: series.frame[name].to_numpy(np.float64) for name in names}
