"""The run folder: model, metrics, forecast and two pictures, written completely or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

import gatewise
from gatewise.tasks.forecast.evaluation import Evaluation
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.forecast.panels import arrow_of
from gatewise.tasks.series import Panel, TimeSeries, as_panel
from gatewise.tasks.shared.written import csv_text

FILES = {
    "model.safetensors": "the trained model, for gatewise predict and gatewise.tasks.load",
    "metrics.json": "every error above, at every step ahead",
    "forecast.csv": "the forecast of what comes next",
    "forecasts.png": "forecasts with history, good and bad ones",
    "gates.png": "the gates over the last steps",
}


PANEL_FILES = {name: what for name, what in FILES.items() if name != "gates.png"}


def write_run(
    folder: Path,
    forecaster: Forecaster,
    series: TimeSeries | Panel,
    tested: Evaluation,
    compared: Evaluation | None = None,
) -> None:
    """Write all files of a run. `compared` is a test beside further forecasts."""
    forecaster.metrics_ = metrics(forecaster, series, tested)
    if compared is not None:
        beside = {"forecasts": len(compared.origins), "overall": compared.overall()}
        forecaster.metrics_["beside_classical"] = beside
    text = json.dumps(forecaster.metrics_, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    forecaster.save(folder / "model.safetensors")
    from gatewise.insight.figures import save_figure
    from gatewise.tasks.forecast.pictures import forecast_picture, gate_picture

    _write_coming(folder / "forecast.csv", forecaster, series, tested.levels)
    save_figure(forecast_picture(forecaster, series, tested), folder / "forecasts.png")
    if not isinstance(series, Panel):
        save_figure(gate_picture(forecaster, series), folder / "gates.png")


def _write_coming(
    path: Path, forecaster: Forecaster, series: TimeSeries | Panel, levels: tuple[float, ...]
) -> None:
    """Write the forecast of what comes next, with a column for each quantile."""
    if isinstance(series, Panel):
        series = series.at_least(forecaster.prepared_.least)
    found = forecaster.predict(series)
    if isinstance(found, pd.Series):
        found = found.rename_axis(str(found.index.name or "time")).reset_index()
    if levels:
        quantiles = forecaster.predict_quantiles(series, levels).iloc[:, -len(levels) :]
        for place, level in enumerate(levels):
            found[f"quantile {level:g}"] = quantiles.iloc[:, place].to_numpy()
    path.write_text(csv_text(arrow_of(found, series.clock), header=True), encoding="utf-8")


def metrics(forecaster: Forecaster, series: TimeSeries | Panel, tested: Evaluation) -> dict[str, Any]:
    """A run as JSON data. It does not contain the current time, so equal runs give equal files."""
    encoding, panel = forecaster.prepared_.encoding, as_panel(series)
    first = panel.series[0]
    return {
        "gatewise": gatewise.__version__,
        "series": {
            "file": Path(panel.name).name,
            "target": panel.target,
            "unit": panel.unit,
            "past_inputs": [name for name in encoding.columns[1:] if name not in encoding.known],
            **({"known_inputs": list(encoding.known)} if encoding.known else {}),
            **({} if panel.alone else _of_panel(panel)),
            "left_out": list(panel.left_out),
            "read": list(panel.notes),
            "step": panel.clock.span(1),
            "grid": panel.clock.grid(),
            "zone": panel.clock.zone,
            "steps": int(panel.rows.sum()),
            "from": str(min(one.times[0] for one in panel)),
            "to": str(max(one.times[-1] for one in panel)),
        },
        "model": forecaster.get_params()
        | {"cell": forecaster.equations.name}
        | {"history": forecaster.prepared_.history, "season": encoding.season},
        "training": {
            "epochs": forecaster.epochs_,
            "best_epoch": forecaster.best_epoch_,
            "validation_mae": forecaster.validation_error_,
            "interrupted": forecaster.interrupted_,
        },
        "test": {
            **({"from": str(first.times[tested.origins[0] + 1])} if panel.alone else {}),
            **({"to": str(first.times[-1])} if panel.alone else {}),
            "forecasts": len(tested.origins),
            "overall": tested.overall(),
            **({"distribution": tested.distribution()} if tested.quantiles is not None else {}),
            "by_step": tested.by_step(),
            **({} if panel.alone else {"by_series": tested.by_series()}),
        },
    }


def _of_panel(panel: Panel) -> dict[str, Any]:
    """What a panel has beyond a series."""
    described = {"static": list(panel.static)} if panel.static else {}
    return {"id": panel.id, "series": len(panel), **described}
