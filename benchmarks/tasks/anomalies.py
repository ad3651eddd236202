"""A known anomaly is found: KDD-TSAD 135 (the UCR series *InternalBleeding16*), as the wheel of aeon has it.

``python -m benchmarks.tasks anomalies --data FOLDER`` trains a forecaster on the training part and scores
every step of the whole series. The wheel is that of `benchmarks.tasks.forecasting_sets`. Source of the
series: Wu & Keogh 2021, "Current time series anomaly detection benchmarks are flawed".
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.tasks.forecasting_sets import internal_bleeding
from gatewise.tasks import Forecaster, TimeSeries
from gatewise.tasks.shared.reading.options import Reading
from gatewise.tasks.shared.reading.table import table_of

HORIZON = 24


def series_of(frame: pd.DataFrame) -> TimeSeries:
    """The values of a frame as a series without times."""
    return TimeSeries.of(table_of(frame[["value"]], "KDD-TSAD 135", Reading()), "value", "none")


def found(train: pd.DataFrame, test: pd.DataFrame, seed: int, epochs: int) -> dict[str, object]:
    """Where the anomaly is labelled, and the steps that are flagged, counted from 0."""
    forecaster = Forecaster(HORIZON, max_epochs=epochs, seed=seed).fit(series_of(train))
    scored = forecaster.anomalies(series_of(test))
    labelled, flagged = np.flatnonzero(test["is_anomaly"]), np.flatnonzero(scored["anomaly"])
    return {
        "steps": len(test),
        "labelled": [int(labelled[0]), int(labelled[-1])],
        "flagged": flagged.tolist(),
        "highest": int(np.nanargmax(scored["score"])),
    }


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks anomalies", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder with the wheel of aeon")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=20)
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    print(json.dumps(found(*internal_bleeding(given.data), given.seed, given.epochs)))
