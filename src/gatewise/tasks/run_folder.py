"""The run folder: the model, its metrics, the forecast and two pictures, all of it or nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import gatewise
from gatewise.tasks.evaluation import Evaluation
from gatewise.tasks.forecaster import Forecaster
from gatewise.tasks.series import TimeSeries

FILES = {
    "model.safetensors": "the trained model, for gatewise.tasks.Forecaster.load",
    "metrics.json": "every error above, at every step ahead",
    "forecast.csv": "the forecast of what comes next",
    "forecasts.png": "forecasts with history, good and bad ones",
    "gates.png": "the gates over the last steps",
}


class FolderError(ValueError):
    """A run folder that cannot be made, in one sentence."""


@contextmanager
def new_folder(name: Callable[[], Path]) -> Iterator[Path]:
    """Give a hidden folder to write into; it takes its name when all is well, and is removed when not.

    ``name`` is asked once at the start, for a place that must be new and possible, and once at the end.
    Raises ``FolderError`` if the folder exists or cannot be made.
    """
    folder = name()
    staging = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    made = [parent for parent in folder.absolute().parents if not parent.exists()]
    try:
        with _explained(folder):
            staging.mkdir(parents=True)
        yield staging
        folder = name()
        with _explained(folder):
            os.rename(staging, folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        for parent in made:  # the deepest first
            with suppress(OSError):
                parent.rmdir()
        raise


def given_name(folder: Path) -> Path:
    """Give back a name that is not taken; ``FolderError`` if it is."""
    if folder.exists() or folder.is_symlink():
        raise FolderError(f"{folder}: the folder exists already; give --out a new name.")
    return folder


def free_name(stem: str) -> Path:
    """Give the first of ``runs/stem``, ``runs/stem-2``, ``runs/stem-3`` and so on that is not taken."""
    names = (Path("runs") / (stem if number == 1 else f"{stem}-{number}") for number in count(1))
    return next(name for name in names if not name.exists())


def write_run(folder: Path, forecaster: Forecaster, series: TimeSeries, tested: Evaluation) -> None:
    """Write everything that a run leaves."""
    from gatewise.insight.figures import save_figure
    from gatewise.tasks.pictures import forecast_picture, gate_picture

    forecaster.metrics_ = metrics(forecaster, series, tested)
    text = json.dumps(forecaster.metrics_, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    forecaster.save(folder / "model.safetensors")
    coming = forecaster.predict(series)
    coming.to_csv(folder / "forecast.csv", index_label="time", float_format="%.6g")
    save_figure(forecast_picture(forecaster, series, tested), folder / "forecasts.png")
    save_figure(gate_picture(forecaster, series), folder / "gates.png")


def metrics(forecaster: Forecaster, series: TimeSeries, tested: Evaluation) -> dict[str, Any]:
    """Describe a run as plain data. Nothing in it depends on the clock on the wall."""
    encoding, clock = forecaster.prepared_.encoding, series.clock
    return {
        "gatewise": gatewise.__version__,
        "series": {
            "file": Path(series.name).name,
            "target": series.target,
            "unit": series.unit,
            "past_inputs": list(encoding.columns[1:]),
            "left_out": list(series.left_out),
            "step": clock.span(1),
            "steps": len(series),
            "from": str(series.times[0]),
            "to": str(series.times[-1]),
        },
        "model": forecaster.get_params()
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


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FolderError(f"{folder}: the folder cannot be made ({error.strerror}).") from error
