"""Arguments of NumPy's types, as searches over `numpy.arange` draw them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewise.tasks.classification.classifier import Classifier
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.series import TimeSeries
from gatewise.tasks.tagging.tagger import Tagger
from gatewise.tasks.writing.writer import Writer

SENTENCES = [["the", "cat", "sat"], ["a", "dog", "ran"]] * 5
TAGS = [["DET", "NOUN", "VERB"]] * 10
SMALL: dict[str, Any] = {"cell": "rnn", "hidden_size": 2, "num_layers": 1, "max_epochs": 1, "batch_size": 8}


pytestmark = pytest.mark.usefixtures("quickly")


def of_numpy(value: Any) -> Any:
    """A number or a boolean in NumPy's type, anything else as it is."""
    types = {bool: np.bool_, int: np.int64, float: np.float64}
    return types.get(type(value), lambda same: same)(value)


@pytest.mark.parametrize(
    ("estimator", "data"),
    [
        (Classifier(**SMALL, refit=False), (["a b", "b c", "c d", "a d"] * 3, [0, 1] * 6)),
        (Tagger(**SMALL, look_ahead=1), (SENTENCES, TAGS)),
        (Writer(**SMALL, embedding_size=2, window=8), ("abc def ghi " * 20,)),
        (Forecaster(2, **SMALL), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_arguments_of_numpy(estimator: Any, data: Any, series: TimeSeries, tmp_path: Path) -> None:
    given = {name: of_numpy(value) for name, value in estimator.get_params().items() if name != "horizon"}
    data = data or (series.head(100),)
    estimator.fit(*data).save(tmp_path / "a")
    type(estimator)(**{**estimator.get_params(), **given}).fit(*data).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
