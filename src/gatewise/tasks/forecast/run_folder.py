"""The run folder: model, metrics, forecast and two pictures, written completely or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import gatewise
from gatewise import files
from gatewise.tasks.forecast.evaluation import Evaluation
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.series import TimeSeries

FILES = {
    "model.safetensors": "the trained model, for gatewise.tasks.Forecaster.load",
    "metrics.json": "every error above, at every step ahead",
    "forecast.csv": "the forecast of what comes next",
    "forecasts.png": "forecasts with history, good and bad ones",
    "gates.png": "the gates over the last steps",
}


class FolderError(ValueError):
    """Raised if a run folder cannot be created. The message is one sentence."""


class NewFolder:
    """Context manager for a new folder, which is hidden until the block ends, and removed if the block fails.

    `name` returns the name of the folder. It is called at the start, so that a bad name is found before the
    work, and again at the end until a name is free. Folders of other processes are never touched.

    Attributes:
        writing: where to write, inside the block.
        path: the folder, after the block.

    Raises:
        FolderError: the folder exists, or cannot be made.
    """

    def __init__(self, name: Callable[[], Path]) -> None:
        self._name = name
        self.path = name()
        self.writing = files.part_of(self.path)
        self._above: list[Path] = []  # parent folders that this process created, the deepest last

    def __enter__(self) -> NewFolder:
        try:
            self._make()
        except BaseException as error:
            self._remove()
            if isinstance(error, OSError):
                raise self._error(error) from error
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._publish()
        except OSError as error:
            raise self._error(error) from error
        finally:
            self._remove()

    def _make(self) -> None:
        for folder in reversed([above for above in self.path.absolute().parents if not above.exists()]):
            with suppress(FileExistsError):  # another process was faster
                folder.mkdir()
                self._above.append(folder)
        self.writing.mkdir()

    def _publish(self) -> None:
        while True:
            self.path = self._name()
            try:
                self.writing.rename(self.path)
                return
            except OSError:
                if not self.path.exists():  # else another process was faster
                    raise

    def _remove(self) -> None:
        """Remove the hidden folder, and the empty parent folders that this process created."""
        try:
            shutil.rmtree(self.writing, ignore_errors=True)
        finally:  # also when a second Ctrl-C comes
            shutil.rmtree(self.writing, ignore_errors=True)
        for folder in reversed(self._above):
            with suppress(OSError):
                folder.rmdir()

    def _error(self, error: OSError) -> FolderError:
        return FolderError(f"{self.path}: the folder cannot be made ({error.strerror}).")


def given_name(folder: Path) -> Path:
    """The name itself if it is free; else raise a FolderError."""
    if folder.exists() or folder.is_symlink():
        raise FolderError(f"{folder}: the folder exists already; give --out a new name.")
    return folder


def free_name(stem: str) -> Path:
    """The first free name of ``runs/stem``, ``runs/stem-2``, ``runs/stem-3`` and so on."""
    names = (Path("runs") / (stem if number == 1 else f"{stem}-{number}") for number in count(1))
    return next(name for name in names if not name.exists() and not name.is_symlink())


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
