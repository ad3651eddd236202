"""Back-tests: forecasts made at many origins, compared with the truth and with naive forecasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gatewise.tasks.forecast.naive import Numbers, Whole, errors

MODEL, PERSISTENCE, SEASONAL = "model", "persistence", "seasonal naive"


def forecast_label(name: str, season: str) -> str:
    """The name of a forecast for people to read; `season` is the season in words."""
    return {MODEL: "forecast", SEASONAL: f"{SEASONAL} ({season})"}.get(name, name)


@dataclass(frozen=True)
class Evaluation:
    """A back-test. ``S`` origins, ``K`` steps of the horizon.

    Attributes:
        origins: ``[S]``, the step of each origin, the last step that its forecast knows.
        times: ``[S]``, the time of each origin.
        truth: ``[S, K]``, the true values in the unit of the target, NaN where unknown.
        forecasts: ``[S, K]`` by name: the model, persistence, and seasonal naive if there is a season.
        scale: the unit of MASE: the mean absolute change over one season in training.
    """

    origins: Whole
    times: pd.Index[Any]
    truth: Numbers
    forecasts: dict[str, Numbers]
    scale: float

    def overall(self) -> dict[str, dict[str, float | None]]:
        """MAE, RMSE and MASE of every forecast, over all origins and steps."""
        return {name: errors(made, self.truth, self.scale) for name, made in self.forecasts.items()}

    def by_step(self) -> list[dict[str, Any]]:
        """MAE, RMSE and MASE of every forecast, for each step ahead."""
        return [
            {"step": k + 1}
            | {
                name: errors(made[:, k], self.truth[:, k], self.scale)
                for name, made in self.forecasts.items()
            }
            for k in range(self.truth.shape[1])
        ]

    def skill(self) -> float:
        """1 - (MAE of the model) / (MAE of the best naive forecast): 1 is perfect, 0 is no better."""
        mae = {name: all_["mae"] or 0.0 for name, all_ in self.overall().items()}
        best = min(error for name, error in mae.items() if name != MODEL)
        return 1.0 - mae[MODEL] / best if best > 0 else float("nan")

    def ranked(self) -> Whole:
        """The origins (as indices) whose truth is at least half known, the best forecast first."""
        known = np.isfinite(self.truth).sum(axis=1)
        missed = np.nansum(np.abs(self.forecasts[MODEL] - self.truth), axis=1) / np.maximum(known, 1)
        enough = 2 * known >= self.truth.shape[1]
        return np.argsort(np.where(enough, missed, np.inf), kind="stable")[: int(enough.sum())]
