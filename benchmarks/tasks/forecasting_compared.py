"""Forecasting beside neuralforecast and darts: errors, seconds to fit and to predict, in one run.

Every package does the same in a process of its own, on one thread, as its users would write it
(``benchmarks/tasks/peers``). The peers are installed in another environment::

    python -m venv peers && peers/bin/pip install torch==2.13.0 neuralforecast==3.3.0 darts==0.48.1
    python -m benchmarks.tasks forecast-compared --data data --peers peers/bin/python taylor el-nino

Of a panel one model is fitted to all series, and errors are means of the MASE of each series. The peers get
the last known value in place of a missing one, because they take none; it is not tested.

Every model reads the target alone, fits to what comes before the test part, and forecasts from the same
origins. Budget: the same number of training steps (the most that gatewise makes: 30 epochs of 16 batches;
with ``--steps`` the peers make so many), windows in a step, units in one layer, and steps of history;
everything else is each package's default, with darts' `Scaler`, and standardised windows for DeepAR, which
doesn't learn without them. gatewise stops early, and then trains again on all steps (``refit=True``): *steps*
are those of both trainings, and beside it is a row without the second one. Peers make all steps. Seconds are
of processor time, so other programs matter little; a fit doesn't include the import. *One* is a forecast from
one origin, the mean of ten. gatewise predicts from all origins, the peers from at most 200 evenly spaced
ones: *predict* is milliseconds for one of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tasks.forecasting import finite, mean
from benchmarks.tasks.forecasting_linear import Ridge
from benchmarks.tasks.forecasting_sets import SETS, Set
from gatewise.tasks import Forecaster
from gatewise.tasks.forecast.preparation import prepare, windows_of_epoch
from gatewise.tasks.series import as_panel

PEERS = Path(__file__).parent / "peers"
MODELS = {
    "gatewise": ("lstm", "lstm, no refit"),
    "neuralforecast": ("LSTM", "GRU", "DeepAR"),
    "darts": ("BlockRNNModel", "RNNModel"),
}
FILES = {
    "gatewise": "with_gatewise_forecaster.py",
    "neuralforecast": "with_neuralforecast.py",
    "darts": "with_darts.py",
}
DEFAULT_SETS = ("taylor", "electricity", "solar", "el-nino", "sunspot-months", "passengers")
MOST_ORIGINS = 200
HEAD = "| set | model | error | of gatewise's | steps | fit, CPU s | predict, ms | one, ms | version |"
STEPS = {"h": "h", "min": "min", "month": "MS", "day": "D", "week": "W", "year": "YS"}


def exam(chosen: Set, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Write the series of a set for all models, and the settings that they share."""
    panel = as_panel(chosen.data)
    rows = [chosen.rows(one) for one in panel.series]
    most = max(MOST_ORIGINS // len(rows), 1)
    origins = []
    for one, first in zip(panel.series, rows, strict=True):
        every = np.arange(first - 1, len(one) - chosen.horizon)
        origins.append(every[np.linspace(0, len(every) - 1, min(most, len(every))).astype(int)])
    prepared = prepare(panel.head(rows), np.array(rows), chosen.horizon, None, None)
    count, _, unit = panel.clock.span(1).partition(" ")
    path = folder / "exam.npz"
    np.savez(
        path, allow_pickle=False, rows=rows, origins=np.concatenate(origins),
        values=np.concatenate([one.values for one in panel.series]),
        lengths=[len(one) for one in panel.series], starts=[str(one.times[0]) for one in panel.series],
        places=np.repeat(np.arange(len(rows)), [len(each) for each in origins]),
        step=("" if count == "1" else count) + STEPS[unit.rstrip("s")],
    )  # fmt: skip
    usual = Forecaster(chosen.horizon)
    settings = {
        "horizon": chosen.horizon, "season": chosen.season, "history": prepared.history,
        "hidden_size": usual.hidden_size, "batch_size": usual.batch_size,
        "steps": usual.max_epochs * -(-windows_of_epoch(sum(rows), len(rows)) // usual.batch_size),
    }  # fmt: skip
    return path, settings


@dataclass(frozen=True)
class Tested:
    """Whose forecasts are tested, ``places [S]`` among the series, and their ``origins [S]``."""

    set: Set
    places: Any
    origins: Any

    def error(self, made: Any) -> float:
        """The MAE of forecasts ``[S, K]``; of a panel, the mean of the MASE of each series."""
        ahead, found = np.arange(1, self.set.horizon + 1), []
        for place, series in enumerate(self.set.series.values()):
            own = self.places == place
            missed = np.abs(made[own] - series.values[self.origins[own][:, None] + ahead])
            train = series.values[: self.set.rows(series)]
            changes = np.abs(train[self.set.season :] - train[: -self.set.season])
            found.append(mean(missed) / (mean(changes) if self.set.is_panel else 1.0))
        return mean(found)

    def ridge(self) -> float:
        """The error of the ridge regression."""
        every = list(self.set.series.values())
        rows = [self.set.rows(one) for one in every]
        fitted = Ridge.fit([one.values for one in every], rows, self.set.horizon, self.set.season)
        made = [
            fitted.predict(one.values, count, self.origins[self.places == place])
            for place, (one, count) in enumerate(zip(every, rows, strict=True))
        ]
        return self.error(np.concatenate(made))


def run(
    python: str, package: str, path: Path, settings: Mapping[str, Any], limit: int
) -> tuple[list[dict[str, Any]], str]:
    """The forecasts and seconds of the models of a package, and what went wrong after the last of them."""
    words = [python, "-W", "ignore", str(PEERS / FILES[package]), str(path), json.dumps(settings)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "CUDA_VISIBLE_DEVICES": ""}
    error = ""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, env=environment, timeout=limit, cwd=path.parent
        )
        printed = done.stdout
        if done.returncode:
            error = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    except subprocess.TimeoutExpired as late:
        printed, error = (late.stdout or b"").decode(), f"took more than {limit} s"
    lines = [line for line in printed.splitlines() if line.startswith('{"forecasts"')]
    return [json.loads(line) for line in lines], error


def compared(name: str, given: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for every model, and one for the ridge regression."""
    chosen = SETS[name](given.data)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path, settings = exam(chosen, Path(folder))
        settings["steps"] = given.steps or settings["steps"]
        with np.load(path) as file:
            tested = Tested(chosen, file["places"], file["origins"])
        found.append({"set": name, "package": "NumPy", "model": "ridge on lags", "mae": tested.ridge()})
        for package in given.packages:
            python, models = sys.executable if package == "gatewise" else given.peers, MODELS[package]
            own = {**settings, "models": models, "seed": given.seed}
            results, error = run(python, package, path, own, given.limit)
            for model, result in zip_longest(models, results, fillvalue={"error": error}):
                row = {"set": name, "package": package, "model": model, "settings": settings, **result}
                if "forecasts" in row:
                    row["mae"] = tested.error(np.array(row.pop("forecasts")))
                    count = row.get("all_origins", len(tested.origins))
                    row["predict_ms"] = 1000 * row["predict_cpu_s"] / count
                    row.setdefault("steps", settings["steps"])
                    row["one_ms"] = 100 * row["ten_cpu_s"]
                found.append(row)
                print(json.dumps(finite(row)), flush=True)
    return found


def together(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of several runs by set and package; of equal ones the last."""
    latest = {(row["set"], row["package"], row["model"]): row for row in rows}
    sets, packages = list(dict.fromkeys(row["set"] for row in rows)), ["NumPy", *MODELS]
    return sorted(latest.values(), key=lambda row: (sets.index(row["set"]), packages.index(row["package"])))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Results as a Markdown table."""
    first = MODELS["gatewise"][0]
    ours = {row["set"]: row.get("mae") for row in rows if row["model"] == first}
    lines = [HEAD, "|---|---" + "|---:" * 6 + "|---|"]
    for row in rows:
        name = row["model"] if row["package"] == "NumPy" else f"{row['package']} {row['model']}"
        if "error" in row:
            lines.append(f"| {row['set']} | {name} | {row['error']} | | | | | | |")
            continue
        own = ours.get(row["set"])
        seconds = [row.get("fit_cpu_s"), row.get("predict_ms"), row.get("one_ms")]
        cells = [
            row["set"], name, f"{row['mae']:.4g}", f"{row['mae'] / own:.2f}" if own else "",
            str(row.get("steps", "")),
            *("" if each is None else f"{each:.3g}" for each in seconds), row.get("version", ""),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks forecast-compared", description=__doc__)
    parser.add_argument("sets", nargs="*", metavar="SET", default=list(DEFAULT_SETS))
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder with the wheels")
    parser.add_argument("--packages", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument(
        "--peers", default=sys.executable, help="the Python that has neuralforecast and darts"
    )
    parser.add_argument("--steps", type=int, help="training steps of the peers; gatewise's most by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=1800, help="seconds after which a model is given up")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument(
        "--table", type=Path, nargs="+", help="files written by --json: print their table and run nothing"
    )
    given = parser.parse_args(words)
    if given.table:
        read = [json.loads(path.read_text(encoding="utf-8")) for path in given.table]
        print(table(together([row for rows in read for row in rows])))
        return
    rows: list[dict[str, Any]] = []
    for name in given.sets:
        rows += compared(name, given)
        if given.json:
            given.json.write_text(json.dumps(finite(rows), indent=1) + "\n", encoding="utf-8")
    print(table(rows))
