"""Forecasting: errors on series that come inside Python packages, beside naive forecasts and a ridge.

The sets, their wheels and licences are in ``forecasting_sets``::

    python -m benchmarks.tasks forecast --data data                 # all sets; two hours of processor time
    python -m benchmarks.tasks forecast --data data taylor houses   # some
    python -m benchmarks.tasks forecast --data data --floors        # naive forecasts and ridge alone
    python -m benchmarks.tasks forecast --table results.json        # the table of a finished run

Every set is split in time: the test part is its end, the forecaster and the ridge are fitted to what comes
before, and all forecasts are compared at the same origins (every step of the test part; of more than
4,096, evenly spaced ones). The ridge chooses lags and penalty on the last 15 % before the test part and is
fitted again to all of it: the line that a network must not be worse than. Seconds are of processor time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.tasks.forecasting_linear import Ridge, persistence, seasonal_naive
from benchmarks.tasks.forecasting_sets import SETS, Set
from gatewise.tasks import Forecaster, TimeSeries
from gatewise.tasks.forecast.split import spread
from gatewise.tasks.series import as_panel

Array = NDArray[Any]
MOST_TESTED = 4096  # most origins, as in `Forecaster.backtest`
HEAD = "| set | steps | ahead | persistence | seasonal naive | ridge | gatewise | of ridge | CPU s |"
CLOSE = 0.01  # largest relative difference of a naive forecast from its known figure


class Tested:
    """Forecasts of every series of a set at the same origins, and their errors.

    Attributes:
        rows: rows of each series before its test part.
        origins: ``[S]`` for each series.
        truth: ``[S, K]`` for each series.
    """

    def __init__(self, chosen: Set, horizon: int | None = None) -> None:
        self.set = chosen if horizon is None else replace(chosen, horizon=horizon)
        horizon, most = self.set.horizon, max(MOST_TESTED // len(chosen.series), 1)
        self.rows = {name: chosen.rows(series) for name, series in chosen.series.items()}
        self.origins = {
            name: spread(self.rows[name] - 1, len(series) - horizon, most, chosen.season)
            for name, series in chosen.series.items()
        }
        ahead = np.arange(1, horizon + 1)
        self.truth = {
            name: series.values[self.origins[name][:, None] + ahead] for name, series in chosen.series.items()
        }

    def errors(self, made: Mapping[str, Array]) -> dict[str, float]:
        """MAE, MASE and MAPE: over all forecasts of a series, then the mean over the series."""
        found = [self._errors(name, forecast) for name, forecast in made.items()]
        return {key: mean([one[key] for one in found]) for key in found[0]}

    def _errors(self, name: str, made: Array) -> dict[str, float]:
        train, truth = self.set.series[name].values[: self.rows[name]], self.truth[name]
        known = np.isfinite(truth)
        if not known.any():
            return dict.fromkeys(("mae", "mase", "mape"), np.nan)
        missed = np.abs(made - truth)[known]
        changes = np.abs(train[self.set.season :] - train[: -self.set.season])
        unit, size = mean(changes), np.abs(truth[known])
        mape = 100 * float(np.mean(missed / size)) if (size > 0).all() else np.nan
        return {"mae": float(missed.mean()), "mase": float(missed.mean()) / unit, "mape": mape}

    def each(self, forecast: Callable[[str, TimeSeries], Array]) -> dict[str, Array]:
        """The forecasts of every series."""
        return {name: forecast(name, series) for name, series in self.set.series.items()}


def mean(values: Any) -> float:
    known = np.asarray(values)[np.isfinite(values)]
    return float(known.mean()) if known.size else np.nan


def naive(tested: Tested) -> dict[str, dict[str, float]]:
    """The errors of the naive forecasts."""
    k, season = tested.set.horizon, tested.set.season
    made = {"persistence": tested.each(lambda name, s: persistence(s.values, tested.origins[name], k))}
    if season > 1:
        made["seasonal naive"] = tested.each(
            lambda name, s: seasonal_naive(s.values, tested.origins[name], k, season)
        )
    return {name: tested.errors(forecasts) for name, forecasts in made.items()}


def ridge(tested: Tested) -> dict[str, Any]:
    """The errors of the ridge regression, its settings and seconds."""
    start = time.process_time()
    chosen, names = tested.set, list(tested.set.series)
    values = [chosen.series[name].values for name in names]
    fitted = Ridge.fit(values, [tested.rows[name] for name in names], chosen.horizon, chosen.season)
    made = tested.each(lambda name, s: fitted.predict(s.values, tested.rows[name], tested.origins[name]))
    settings = {"lags": fitted.lags.number, "relative": fitted.lags.relative, "penalty": fitted.penalty}
    return tested.errors(made) | settings | {"cpu_s": time.process_time() - start}


def network(tested: Tested, seed: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """The errors of one `Forecaster` for all series, and its seconds. `tested` gets its origins."""
    start, waited = time.process_time(), time.perf_counter()
    panel, rows = as_panel(tested.set.data), list(tested.rows.values())
    data: Any = tested.set.data
    forecaster = Forecaster(tested.set.horizon, seed=seed, **options)
    forecaster.fit(data.head(rows) if tested.set.is_panel else data.head(rows[0]))
    begun = time.process_time()
    result = forecaster.backtest(data, first=rows if tested.set.is_panel else rows[0])
    ended = time.process_time()
    seconds = {"cpu_s": ended - start, "predict_cpu_s": ended - begun, "wall_s": time.perf_counter() - waited}
    places = np.zeros(len(result.origins), int) if result.series is None else result.series
    names = result.ids or tuple(tested.set.series)
    made = {}
    for place, name in enumerate(names):
        chosen = places == place
        tested.origins[name], tested.truth[name] = result.origins[chosen], result.truth[chosen]
        made[name] = result.forecasts["model"][chosen]
    missing = [str(name) for name in panel.ids if str(name) not in made]
    for name in missing:
        made[name] = persistence(tested.set.series[name].values, tested.origins[name], tested.set.horizon)
    return tested.errors(made) | {"seed": seed, "epochs": forecaster.epochs_, "missing": missing} | seconds


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """All errors of a set."""
    chosen = SETS[name](options.data)
    tested = Tested(chosen)
    runs = [] if options.floors else [network(tested, seed, options.options) for seed in options.seeds]
    floors = naive(tested)
    first = next(iter(chosen.series.values()))
    row: dict[str, Any] = {
        "set": name,
        "what": chosen.what,
        "series": len(chosen.series),
        "steps": sum(map(len, chosen.series.values())),
        "step": first.clock.span(1),
        "horizon": chosen.horizon,
        "season": chosen.season,
        "forecasts": sum(map(len, tested.origins.values())),
        "floors": floors,
        "ridge": ridge(tested),
        "gatewise": runs,
    }
    if chosen.floor:
        row["known"] = _compared(chosen)
    key = "mase" if chosen.is_panel else "mae"
    if runs:
        mean = float(np.mean([run[key] for run in runs]))
        row["ratio_to_ridge"] = mean / row["ridge"][key]
        row["ratio_to_floor"] = mean / min(one[key] for one in floors.values())
    return row


def _compared(chosen: Set) -> dict[str, Any]:
    """The known figure of a naive forecast beside the one found here."""
    floor: Any = chosen.floor
    here = naive(Tested(chosen, floor.horizon))[floor.forecast][floor.error]
    return {**floor._asdict(), "here": here, "agrees": abs(here / floor.value - 1) <= CLOSE}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Results as a Markdown table. A panel has the mean MASE of its series, any other set the MAE."""
    lines = [HEAD, "|---|---|---" + "|---:" * 6 + "|"]
    for row in rows:
        panel = row["series"] > 1
        key = "mase" if panel else "mae"
        steps = f"{row['series']} series, {row['steps']:,}" if panel else f"{row['steps']:,}"
        runs = row["gatewise"]
        seasonal = row["floors"].get("seasonal naive")
        cells = [
            f"{row['set']}: {row['what']}" + (" (MASE)" if panel else ""), steps,
            f"{row['horizon']} ({row['step']})", _shown(row["floors"]["persistence"][key]),
            _shown(seasonal[key]) if seasonal else "", _shown(row["ridge"][key]),
            _shown(float(np.mean([run[key] for run in runs]))) if runs else "",
            f"{row['ratio_to_ridge']:.3f}" if runs else "",
            f"{np.mean([run['cpu_s'] for run in runs]):.0f}" if runs else "",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def finite(found: Any) -> Any:
    """Results as JSON data, with None for what is undefined."""
    if isinstance(found, dict):
        return {key: finite(value) for key, value in found.items()}
    if isinstance(found, list):
        return [finite(value) for value in found]
    return None if isinstance(found, float) and not np.isfinite(found) else found


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks forecast", description=__doc__)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder with the wheels")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--options", type=json.loads, default={}, help='of Forecaster, as {"cell": "gru"}')
    parser.add_argument("--floors", action="store_true", help="only the naive forecasts and the ridge")
    parser.add_argument("--json", type=Path, help="also write the results to this file, after each set")
    parser.add_argument(
        "--table", type=Path, nargs="+", help="files written by --json: print their table and run nothing"
    )
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(words)
    if given.table:
        read = [row for path in given.table for row in json.loads(path.read_text(encoding="utf-8"))]
        latest = {row["set"]: row for row in read}
        print(table([latest[name] for name in SETS if name in latest]))
        return
    unknown = [name for name in given.sets if name not in SETS]
    if unknown:
        parser.error(f"no set is called {unknown[0]}; the sets are {', '.join(SETS)}")
    torch.set_num_threads(given.threads)
    rows = []
    for name in given.sets or SETS:
        rows.append(measured(name, given))
        print(json.dumps(finite(rows[-1])), flush=True)
        if given.json:
            given.json.write_text(json.dumps(finite(rows), indent=1) + "\n", encoding="utf-8")
    print(table(rows))
