"""What every package gets to forecast one series, and what it reports; imports NumPy and pandas alone."""

from __future__ import annotations

import itertools
import json
import sys
import time
from typing import Any

import numpy as np
import pandas as pd


class Exam:
    """A series to fit to, histories to forecast from, and the time that both take.

    Written by ``forecasting_compared``: the values, the number of rows before the test part, the origins.

    Attributes:
        train: the series before the test part.
        histories: for each origin, the series up to it.
        horizon, season: steps ahead; steps in a season.
        history: steps that a network reads.
        hidden_size, steps, batch_size: the size of the network, and the training steps and windows in each.
        seed: the random seed.
        models: which models of the package, one after another in the same process.
    """

    def __init__(self) -> None:
        with np.load(sys.argv[1]) as file:
            values, self.origins = file["values"], file["origins"]
            rows = int(file["rows"])
            start, self.step = str(file["start"]), str(file["step"])
        settings = json.loads(sys.argv[2])
        self.models: list[str] = settings["models"]
        self.seed: int = settings["seed"]
        self.horizon: int = settings["horizon"]
        self.season: int = settings["season"]
        self.history: int = settings["history"]
        self.hidden_size: int = settings["hidden_size"]
        self.steps: int = settings["steps"]
        self.batch_size: int = settings["batch_size"]
        index = pd.date_range(start, periods=len(values), freq=self.step, name="time")
        self.series = pd.Series(values, index=index, name="y")
        self.train = self.series.iloc[:rows]
        longest = self.history + self.horizon
        self.histories = [self.series.iloc[max(o + 1 - longest, 0) : o + 1] for o in self.origins]
        self.marks: dict[str, tuple[float, float]] = {}

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
