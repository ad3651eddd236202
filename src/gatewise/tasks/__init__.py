"""Complete tasks: forecasting, classifying, tagging, and synthetic tasks that compare cells.

Modules that need torch are imported at first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gatewise.extras import needed_by

if TYPE_CHECKING:
    from gatewise.tasks.classification.classifier import Classifier
    from gatewise.tasks.forecast.evaluation import Evaluation
    from gatewise.tasks.forecast.forecaster import Forecaster
    from gatewise.tasks.loading import load
    from gatewise.tasks.series import Reading, SeriesError, TimeSeries, read_series
    from gatewise.tasks.shared.predictor import Predictor
    from gatewise.tasks.tagging.tagger import Tagger
    from gatewise.tasks.writing.writer import Writer

__all__ = [
    "Classifier",
    "Evaluation",
    "Forecaster",
    "Predictor",
    "Reading",
    "SeriesError",
    "Tagger",
    "TimeSeries",
    "Writer",
    "load",
    "read_series",
]

_HOMES = {
    "Classifier": "gatewise.tasks.classification.classifier",
    "Evaluation": "gatewise.tasks.forecast.evaluation",
    "Forecaster": "gatewise.tasks.forecast.forecaster",
    "Predictor": "gatewise.tasks.shared.predictor",
    "Reading": "gatewise.tasks.series",
    "SeriesError": "gatewise.tasks.series",
    "Tagger": "gatewise.tasks.tagging.tagger",
    "TimeSeries": "gatewise.tasks.series",
    "Writer": "gatewise.tasks.writing.writer",
    "load": "gatewise.tasks.loading",
    "read_series": "gatewise.tasks.series",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gatewise.tasks' has no attribute {name!r}")
    with needed_by(f"gatewise.tasks.{name}"):
        return getattr(import_module(_HOMES[name]), name)
