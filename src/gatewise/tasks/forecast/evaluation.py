"""Back-tests: forecasts made at many origins, compared with the truth and with simpler forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatewise.tasks.forecast.measures import errors, intervals, quantile_errors
from gatewise.tasks.forecast.naive import Numbers, Whole

MODEL, PERSISTENCE, SEASONAL, RIDGE = "model", "persistence", "seasonal naive", "ridge"
SMOOTHING, THETA = "exponential smoothing", "theta"
NAIVE = (PERSISTENCE, SEASONAL)

Errors = dict[str, dict[str, float | None]]


def forecast_label(name: str, season: str) -> str:
    """The name of a forecast for people to read; `season` is the season in words."""
    return {MODEL: "forecast", SEASONAL: f"{SEASONAL} ({season})"}.get(name, name)


@dataclass(frozen=True)
class Evaluation:
    """A back-test. ``S`` origins, ``K`` steps of the horizon, ``Q`` quantiles.

    The origins of a panel are the origins of its series, one series after another.

    Attributes:
        origins: ``[S]``, the step of each origin, the last step that its forecast knows.
        times: ``[S]``, the time of each origin.
        truth: ``[S, K]``, the true values in the unit of the target, NaN where unknown.
        forecasts: ``[S, K]`` by name: the model, persistence, seasonal naive with a season, and others.
        scale: the unit of MASE: the mean absolute change over one season in training; of a panel ``[S]``,
            that of the series of each origin.
        levels: the levels of the quantiles.
        quantiles: ``[S, K, Q]``, the quantiles of the model; None if it forecasts points.
        series: ``[S]``, for each origin the place of its series in `ids`.
        ids: the names of the series.

    Example:
        >>> truth = np.array([[1.0, 2.0], [3.0, 4.0]])
        >>> made = {"model": truth + 0.5, "persistence": truth + 1.0}
        >>> tested = Evaluation(np.arange(2), pd.RangeIndex(2), truth, made, scale=2.0)
        >>> tested.overall()["model"]["mase"], tested.skill()
        (0.25, 0.5)
    """

    origins: Whole
    times: pd.Index[Any]
    truth: Numbers
    forecasts: dict[str, Numbers]
    scale: float | Numbers
    levels: tuple[float, ...] = ()
    quantiles: Numbers | None = None
    series: Whole | None = None
    ids: tuple[str, ...] = field(default=())

    def overall(self) -> Errors:
        """MAE, RMSE, MASE and sMAPE of every forecast, over all origins and steps."""
        return self._errors(slice(None))

    def by_step(self) -> list[dict[str, Any]]:
        """MAE, RMSE, MASE and sMAPE of every forecast, for each step ahead."""
        unit = self.scale if np.ndim(self.scale) else float(self.scale)
        return [
            {"step": k + 1}
            | {name: errors(made[:, k], self.truth[:, k], unit) for name, made in self.forecasts.items()}
            for k in range(self.truth.shape[1])
        ]

    def by_series(self) -> dict[str, Errors]:
        """MAE, RMSE, MASE and sMAPE of every forecast, for each series of a panel by its id."""
        if self.series is None:
            return {}
        return {name: self._errors(self.series == place) for place, name in enumerate(self.ids)}

    def distribution(self) -> dict[str, Any]:
        """Pinball loss, coverage and MSIS of the quantiles, over all origins and steps; {} without quantiles.

        The meaning of each is in `measures.quantile_errors`.
        """
        if self.quantiles is None:
            return {}
        return quantile_errors(self.quantiles, self.levels, self.truth, self._unit)

    def bands(self) -> dict[str, tuple[Numbers, Numbers]]:
        """The lower and upper ends ``[S, K]`` of the central intervals by name, the widest first."""
        if self.quantiles is None:
            return {}
        pairs = intervals(self.levels)
        return {
            name: (self.quantiles[..., low], self.quantiles[..., high]) for name, (low, high) in pairs.items()
        }

    def skill(self) -> float:
        """1 - (error of the model) / (error of the best naive forecast): 1 is perfect, 0 is no better.

        The error is `measure`.
        """
        _, least = self.best(NAIVE)
        ours = self.overall()[MODEL][self.measure] or 0.0
        return 1.0 - ours / least if least > 0 else float("nan")

    def best(self, names: Sequence[str]) -> tuple[str, float]:
        """The best of these forecasts, as far as they were made, and its error."""
        overall = self.overall()
        found = {name: overall[name][self.measure] or 0.0 for name in names if name in overall}
        name = min(found, key=lambda name: found[name])
        return name, found[name]

    @property
    def measure(self) -> str:
        """The measure that decides: ``"mae"``; of a panel ``"mase"``, because its series differ in size."""
        panel = len(self.ids) > 1 and self.overall()[MODEL]["mase"] is not None
        return "mase" if panel else "mae"

    def ranked(self) -> Whole:
        """The origins (as indices) whose truth is at least half known, the best forecast first."""
        known = np.isfinite(self.truth).sum(axis=1)
        missed = np.nansum(np.abs(self.forecasts[MODEL] - self.truth), axis=1) / np.maximum(known, 1)
        if self.measure == "mase":
            unit = np.broadcast_to(self.scale, missed.shape)
            usable = np.isfinite(unit) & (unit > 0)
            missed = np.where(usable, missed / np.where(usable, unit, 1.0), np.inf)
        enough = 2 * known >= self.truth.shape[1]
        return np.argsort(np.where(enough, missed, np.inf), kind="stable")[: int(enough.sum())]

    def at(self, rows: Whole | NDArray[np.bool_]) -> Evaluation:
        """The back-test at some origins, given as indices or as a mask."""
        return replace(
            self,
            origins=self.origins[rows],
            times=self.times[rows],
            truth=self.truth[rows],
            forecasts={name: made[rows] for name, made in self.forecasts.items()},
            scale=np.asarray(self.scale)[rows] if np.ndim(self.scale) else self.scale,
            quantiles=None if self.quantiles is None else self.quantiles[rows],
            series=None if self.series is None else self.series[rows],
        )

    @property
    def _unit(self) -> float | Numbers:
        """The scale in a shape that fits the truth."""
        return np.asarray(self.scale)[:, None] if np.ndim(self.scale) else float(self.scale)

    def _errors(self, rows: Any) -> Errors:
        unit = self._unit if np.ndim(self._unit) == 0 else np.asarray(self._unit)[rows]
        return {name: errors(made[rows], self.truth[rows], unit) for name, made in self.forecasts.items()}


def joined(parts: Sequence[Evaluation], ids: Sequence[str]) -> Evaluation:
    """Join the back-tests of series to that of a panel. All must have the same forecasts and horizon."""
    sizes = [len(part.origins) for part in parts]
    first = parts[0]
    return Evaluation(
        np.concatenate([part.origins for part in parts]),
        pd.Index(np.concatenate([part.times.to_numpy() for part in parts])),
        np.concatenate([part.truth for part in parts]),
        {name: np.concatenate([part.forecasts[name] for part in parts]) for name in first.forecasts},
        np.repeat([float(part.scale) for part in parts], sizes),
        first.levels,
        None if first.quantiles is None else np.concatenate([_made(part) for part in parts]),
        np.repeat(np.arange(len(parts)), sizes),
        tuple(map(str, ids)),
    )


def _made(part: Evaluation) -> Numbers:
    assert part.quantiles is not None
    return part.quantiles
