"""The run folder: model, metrics, forecast and two pictures, written completely or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gatewise
from gatewise.tasks.forecast.evaluation import Evaluation
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.series import TimeSeries

FILES = {
    "model.safetensors": "the trained model, for gatewise predict and gatewise.tasks.load",
    "metrics.json": "every error above, at every step ahead",
    "forecast.csv": "the forecast of what comes next",
    "forecasts.png": "forecasts with history, good and bad ones",
    "gates.png": "the gates over the last steps",
}


def write_run(folder: Path, forecaster: Forecaster, series: TimeSeries, tested: Evaluation) -> None:
    """Write all files of a run."""
    from gatewise.insight.figures import save_figure
    from gatewise.tasks.forecast.pictures import forecast_picture, gate_picture

    forecaster.metrics_ = metrics(forecaster, series, tested)
    text = json.dumps(forecaster.metrics_, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    forecaster.save(folder / "model.safetensors")
    coming = forecaster.predict(series)
    coming.to_csv(folder / "forecast.csv", index_label=str(coming.index.name or "time"))
    save_figure(forecast_picture(forecaster, series, tested), folder / "forecasts.png")
    save_figure(gate_picture(forecaster, series), folder / "gates.png")


def metrics(forecaster: Forecaster, series: TimeSeries, tested: Evaluation) -> dict[str, Any]:
    """A run as JSON data. It does not contain the current time, so equal runs give equal files."""
    encoding, clock = forecaster.prepared_.encoding, series.clock
    return {
        "gatewise": gatewise.__version__,
        "series": {
            "file": Path(series.name).name,
            "target": series.target,
            "unit": series.unit,
            "past_inputs": list(encoding.columns[1:]),
            "left_out": list(series.left_out),
            "read": list(series.notes),
            "step": clock.span(1),
            "grid": clock.grid(),
            "zone": clock.zone,
            "steps": len(series),
            "from": str(series.times[0]),
            "to": str(series.times[-1]),
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
            "from": str(series.times[tested.origins[0] + 1]),
            "to": str(series.times[-1]),
            "forecasts": len(tested.origins),
            "overall": tested.overall(),
            "by_step": tested.by_step(),
        },
    }
