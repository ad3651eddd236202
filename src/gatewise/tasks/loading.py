"""`load`: the estimator in a file, whatever its job."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from gatewise.runtime.model_file import ModelFileError, read_model

if TYPE_CHECKING:
    from gatewise.tasks.shared.estimator import JobEstimator

# The estimator of each job, by the name of the job in a file.
ESTIMATORS = {
    "classify": "gatewise.tasks.classification.classifier.Classifier",
    "forecast": "gatewise.tasks.forecast.forecaster.Forecaster",
    "tag": "gatewise.tasks.tagging.tagger.Tagger",
    "write": "gatewise.tasks.writing.writer.Writer",
}


def load(path: str | Path) -> JobEstimator:
    """Read the estimator that was saved in a file: a `Forecaster`, ... Nothing in the file is executed.

    Raises:
        ModelFileError: the file is damaged, not gatewise's, or holds no estimator.
        FileNotFoundError: the file does not exist.

    Example:
        >>> import pathlib, tempfile, numpy as np, pandas as pd
        >>> from gatewise.tasks import Forecaster, TimeSeries, load
        >>> days = pd.date_range("2024-01-01", periods=120, freq="D")
        >>> frame = pd.DataFrame({"sold": np.arange(120.0) % 7}, index=days)
        >>> forecaster = Forecaster(7, hidden_size=8, max_epochs=1).fit(TimeSeries.from_frame(frame, "sold"))
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> forecaster.save(path)
        >>> load(path)
        Forecaster(hidden_size=8, horizon=7, max_epochs=1)
    """
    task = read_model(path, None).task
    if task not in ESTIMATORS:
        known = ", ".join(ESTIMATORS)
        raise ModelFileError(f"{path}: the file must hold the model of a job ({known}). Got {task!r:.60}")
    module, _, name = ESTIMATORS[task].rpartition(".")
    kind: type[JobEstimator] = getattr(import_module(module), name)
    return kind.load(path)
