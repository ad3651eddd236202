"""Turns series into the inputs of a network. All statistics come from the training part alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatewise.runtime.jobs import encoding
from gatewise.runtime.jobs.clock import IrregularSteps
from gatewise.runtime.jobs.encoding import FAR, Described, Scales, id_of, level_of
from gatewise.tasks.forecast.naive import Numbers, hold, varies
from gatewise.tasks.series import Panel, TimeSeries, as_panel
from gatewise.tasks.series.panel import Static

__all__ = ["FAR", "Encoding"]

FEW = 0.05  # share of missing steps; with fewer in every column, the time since the last value is no input


class Encoding(encoding.Encoding):
    """The encoding of a `TimeSeries`, or of the series of a `Panel`."""

    @classmethod
    def fit(
        cls,
        train: TimeSeries | Panel,
        season: int,
        phases: tuple[int, ...],
        *,
        log: bool = False,
        differenced: bool = False,
        past: bool = True,
    ) -> Encoding:
        """Compute means and scales from the training part. Its target must not be constant.

        Args:
            train: the training part.
            season: the season, in steps.
            phases: the seasons whose phase is an input.
            log: whether the logarithm of the target is taken.
            differenced: whether the change of the target over one step is an input, in place of the target.
            past: whether inputs are read whose future is not known.
        """
        panel = as_panel(train)
        frame = panel.series[0].frame if len(panel) == 1 else pd.concat([one.frame for one in panel])
        target = panel.target
        others = [n for n in frame.columns if n != target and varies(frame[n].to_numpy(np.float64))]
        others = [name for name in others if past or name in panel.known]
        chosen = frame[[target, *others]]
        if log:
            chosen = chosen.assign(**{target: np.log1p(chosen[target])})
        masked = _masked(chosen)
        mean, scale = list(map(float, chosen.mean())), list(map(float, chosen.std(ddof=0)))
        values = [np.log1p(one.values) if log else one.values for one in panel]
        if len(panel) == 1:
            levels = [(mean[0], scale[0])]
        else:
            usual = [float(np.nanstd(found)) for found in values if varies(found)]
            mean[0], scale[0] = float(chosen[target].mean()), float(np.median(usual))
            levels = [level_of(found, (mean[0], scale[0])) for found in values]
        units = [spread for _, spread in levels]
        change = _change(values, units, season)
        step = (_change(values, units, 1) or 1.0) if differenced else None
        return cls(
            tuple(chosen.columns),
            tuple(mean),
            tuple(scale),
            masked,
            season,
            change or 1.0,
            phases,
            known=tuple(name for name in panel.known if name in others),
            log=bool(log),
            elapsed=bool(chosen.isna().mean().max() > FEW),
            gap=panel.clock.gap if isinstance(panel.clock, IrregularSteps) else 0.0,
            scales=None if panel.id is None else _scales(panel, levels, values),
            described=_described(panel.static),
            step_scale=step,
        )

    def names(self, span: Callable[[int], str]) -> list[str]:
        """What each input ``[I]`` is made of, in words; `span` gives a number of steps in words."""
        target = self.target if self.step_scale is None else f"change of {self.target} over {span(1)}"
        names = [target, *self.columns[1:], *(f"{column} was observed" for column in self.masked)]
        if self.elapsed:
            names += [f"time since {column} was observed" for column in self.masked]
        if self.gap:
            names.append("time since the row before")
        names.append(f"change of {self.target} over {span(self.season)}")
        waves = ("sine", "cosine", "sine, twice as fast", "cosine, twice as fast")
        return [*names, *(f"time within {span(phase)}, {wave}" for phase in self.phases for wave in waves)]

    def held_target(self, series: TimeSeries) -> Numbers:
        """The scaled target ``[N]``, missing values replaced by the last known one (0 before the first)."""
        return self.held(series.values)

    def inputs(self, series: TimeSeries) -> NDArray[np.float32]:
        """The inputs ``[N, I]``. Each row depends only on its own step and earlier ones."""
        return self.encoded(columns_of(series, self.columns), series.positions)


def columns_of(series: TimeSeries, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Columns of a series as arrays of float64; known inputs include their future."""
    columns = {name: series.frame[name].to_numpy(np.float64) for name in names}
    for name in series.known:
        if name in columns:
            columns[name] = np.concatenate([columns[name], series.ahead[name].to_numpy(np.float64)])
    return columns


def _masked(frame: pd.DataFrame) -> tuple[str, ...]:
    """The columns with missing values, of those with the same missing steps the first one."""
    masks: dict[bytes, str] = {}
    for name in frame.columns:
        if (missing := frame[name].isna().to_numpy()).any():
            masks.setdefault(np.packbits(missing).tobytes(), name)
    return tuple(masks.values())


def _change(values: list[Numbers], spreads: list[float], season: int) -> float:
    """The standard deviation of the change of the scaled target over one season, in all series."""
    held = [hold(found) / spread for found, spread in zip(values, spreads, strict=True)]
    changes = np.concatenate([found[season:] - found[:-season] for found in held])
    return float(np.nanstd(changes)) if np.isfinite(changes).any() else 1.0


def _scales(panel: Panel, levels: list[tuple[float, float]], values: list[Numbers]) -> Scales:
    means, spreads = zip(*levels, strict=True)
    ids = tuple(map(id_of, panel.ids))
    constant = tuple(
        name
        for name, found in zip(ids, values, strict=True)
        if not varies(found) and not np.isnan(found).all()
    )
    return Scales(str(panel.id), panel.wide, ids, means, spreads, constant)


def _described(static: Static) -> Described:
    """Scalers and classes of the attributes of a panel. One that does not vary is left out."""
    texts = {name: values for name, values in static.items() if values.dtype == object}
    classes = {name: sorted({text for text in values if text is not None}) for name, values in texts.items()}
    classes = {name: found for name, found in classes.items() if len(found) > 1}
    numbers = {
        name: np.asarray(values, np.float64)
        for name, values in static.items()
        if name not in texts and varies(np.asarray(values, np.float64))
    }
    return Described(
        tuple(numbers),
        tuple(float(np.nanmean(values)) for values in numbers.values()),
        tuple(float(np.nanstd(values)) for values in numbers.values()),
        tuple(classes),
        tuple(map(tuple, classes.values())),
    )
