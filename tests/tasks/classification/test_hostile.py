"""Manipulated files of classifiers are refused with the documented error, or they classify."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from gatewise.runtime.jobs.loading import of_file
from gatewise.runtime.model_file import ModelFile, ModelFileError, read_model
from gatewise.tasks.classification.classifier import Classifier
from tests.hostile import manipulated, seeds

X: dict[str, list[Any]] = {
    "measurements": [np.array([[1.0, 2.0], [np.nan, -1e6]]), np.zeros((1, 2))],
    "texts": ["a good \ud800 film", "x" * 1000, "\0", ""],
}


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, fitted: Classifier, reader: Classifier
) -> dict[str, ModelFile]:
    files = {}
    for kind, classifier in (("measurements", fitted), ("texts", reader)):
        path = tmp_path_factory.mktemp("whole") / "m"
        classifier.save(path)
        files[kind] = read_model(path, Classifier.TASK)
    return files


@seeds(150, kind=st.sampled_from(sorted(X)))
def test_a_manipulated_file_is_refused_or_classifies(
    whole: dict[str, ModelFile], monkeypatch: pytest.MonkeyPatch, kind: str, seed: int
) -> None:
    file, rows = manipulated(whole[kind], seed), X[kind]
    monkeypatch.setattr("gatewise.tasks.shared.estimator.read_model", lambda *_: file)
    with suppress(ModelFileError), np.errstate(all="ignore"):
        model = of_file(file)
        assert model.predict_proba(rows).shape == (len(rows), len(model.classes))
        assert len(model.stream().step(np.zeros(2) if kind == "measurements" else "a")) == len(model.classes)
    with suppress(ModelFileError), np.errstate(all="ignore"):
        assert len(Classifier.load("m").predict(rows)) == len(rows)
