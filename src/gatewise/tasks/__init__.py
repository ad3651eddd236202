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
    from gatewise.tasks.series import (
        Panel,
        Reading,
        SeriesError,
        TimeSeries,
        read_panel,
        read_series,
        read_wide,
    )
    from gatewise.tasks.shared.predictor import Predictor
    from gatewise.tasks.shared.sequences import Labelled, Sequences, as_sequences
    from gatewise.tasks.shared.tables import TableError, read_sequences, read_table, sequences_from
    from gatewise.tasks.tagging.tagger import Tagger
    from gatewise.tasks.writing.writer import Writer

__all__ = [
    "Classifier",
    "Evaluation",
    "Forecaster",
    "Labelled",
    "Panel",
    "Predictor",
    "Reading",
    "Sequences",
    "SeriesError",
    "TableError",
    "Tagger",
    "TimeSeries",
    "Writer",
    "as_sequences",
    "load",
    "read_panel",
    "read_sequences",
    "read_series",
    "read_table",
    "read_wide",
    "sequences_from",
]

_HOMES = {
    "Classifier": "gatewise.tasks.classification.classifier",
    "Evaluation": "gatewise.tasks.forecast.evaluation",
    "Forecaster": "gatewise.tasks.forecast.forecaster",
    "Labelled": "gatewise.tasks.shared.sequences",
    "Panel": "gatewise.tasks.series",
    "Predictor": "gatewise.tasks.shared.predictor",
    "Reading": "gatewise.tasks.series",
    "Sequences": "gatewise.tasks.shared.sequences",
    "SeriesError": "gatewise.tasks.series",
    "TableError": "gatewise.tasks.shared.tables",
    "Tagger": "gatewise.tasks.tagging.tagger",
    "TimeSeries": "gatewise.tasks.series",
    "Writer": "gatewise.tasks.writing.writer",
    "as_sequences": "gatewise.tasks.shared.sequences",
    "load": "gatewise.tasks.loading",
    "read_panel": "gatewise.tasks.series",
    "read_sequences": "gatewise.tasks.shared.tables",
    "read_series": "gatewise.tasks.series",
    "read_table": "gatewise.tasks.shared.tables",
    "read_wide": "gatewise.tasks.series",
    "sequences_from": "gatewise.tasks.shared.tables",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gatewise.tasks' has no attribute {name!r}")
    with needed_by(f"gatewise.tasks.{name}"):
        return getattr(import_module(_HOMES[name]), name)
