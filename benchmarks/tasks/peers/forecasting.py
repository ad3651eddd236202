"""What every package gets to forecast series, and what it reports; imports NumPy and pandas alone."""

from __future__ import annotations

import itertools
import json
import sys
import time
from typing import Any

import numpy as np
import pandas as pd


class Exam:
    """Series to fit to, histories to forecast from, and the time that both take.

    Written by ``forecasting_compared``: the values, the number of rows before the test parts, the origins.

    Attributes:
        series: the series, whole; missing values are NaN.
        rows: the number of rows of each series before its test part.
        train: these rows, with the last known value in place of missing ones.
        origins: the last step that each forecast knows.
        places: whose forecast it is, a place in `series`.
        histories: for each origin, its series up to it, filled in the same way.
        horizon, season: steps ahead; steps in a season.
        history: steps that a network reads.
        hidden_size, steps, batch_size: the size of the network, and the training steps and windows in each.
        seed: the random seed.
        models: which models of the package, one after another in the same process.
    """

    def __init__(self) -> None:
        with np.load(sys.argv[1]) as file:
            self.origins, self.places = file["origins"], file["places"]
            self.step = str(file["step"])
            parts = np.split(file["values"], np.cumsum(file["lengths"])[:-1])
            self.series = [self._series(*one) for one in zip(parts, file["starts"].tolist(), strict=True)]
            self.rows = file["rows"].tolist()
        settings = json.loads(sys.argv[2])
        self.models: list[str] = settings["models"]
        self.seed: int = settings["seed"]
        self.horizon: int = settings["horizon"]
        self.season: int = settings["season"]
        self.history: int = settings["history"]
        self.hidden_size: int = settings["hidden_size"]
        self.steps: int = settings["steps"]
        self.batch_size: int = settings["batch_size"]
        filled = [one.ffill().bfill() for one in self.series]
        self.train = [one.iloc[:count] for one, count in zip(filled, self.rows, strict=True)]
        longest = self.history + self.horizon
        self.histories = [
            filled[place].iloc[max(origin + 1 - longest, 0) : origin + 1]
            for place, origin in zip(self.places, self.origins, strict=True)
        ]
        self.marks: dict[str, tuple[float, float]] = {}

    def _series(self, values: Any, start: str) -> pd.Series[float]:
        index = pd.date_range(start, periods=len(values), freq=self.step, name="time")
        return pd.Series(values, index=index, name="y")

    def begin(self) -> None:
        """Forget the marks: a model follows."""
        self.marks = {"start": (time.process_time(), time.perf_counter())}

    def mark(self, name: str) -> None:
        """Remember that a part is done."""
        self.marks[name] = (time.process_time(), time.perf_counter())

    def report(self, predicted: Any, **about: Any) -> None:
        """Print the forecasts ``[S, K]`` and the seconds from mark to mark, as a line of JSON."""
        names = list(self.marks)
        spent = {
            f"{later}_{kind}": self.marks[later][n] - self.marks[earlier][n]
            for earlier, later in itertools.pairwise(names)
            for n, kind in enumerate(("cpu_s", "wall_s"))
        }
        made = np.asarray(predicted, np.float64)
        assert made.shape == (len(self.origins), self.horizon), made.shape
        print(json.dumps({"forecasts": made.tolist(), **spent, **about}), flush=True)
