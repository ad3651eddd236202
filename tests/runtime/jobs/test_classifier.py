"""Files of classifiers that were damaged: refused, before anything is computed."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise.runtime.jobs.deciding import Deciding, first_sure
from gatewise.runtime.jobs.loading import of_file
from gatewise.runtime.model_file import ModelFile, ModelFileError, in_memory
from gatewise.tasks.classification.classifier import Classifier

pytestmark = pytest.mark.usefixtures("quickly")


@pytest.fixture(scope="module")
def file() -> ModelFile:
    X = np.random.default_rng(0).normal(size=(12, 5, 2))
    fitted = Classifier(cell="rnn", hidden_size=3, max_epochs=1, refit=False).fit(X, ["a", "b", "c"] * 4)
    return fitted.file_


DAMAGE: dict[str, Any] = {
    "temperature": [0.0, -1.0, 1e9, "hot", None],
    "convolutions": [-1, 1, 4, 1000, "3", None],
    "classes": [
        {}, [], {"kind": "text", "values": ["a", "b"], "several": False},
        {"kind": "text", "values": ["a", "a", "b"], "several": False},
        {"kind": "integer", "values": ["a", "b", "c"], "several": False},
        {"kind": "bytes", "values": ["a", "b", "c"], "several": False},
        {"kind": "text", "values": ["a", "b", "c"], "several": 1},
    ],
    "deciding": [{}, {"thresholds": [0.9, 0.1], "accuracies": [1, 1], "earliness": [1, 1], "whole": 1},
                 {"thresholds": [0.5], "accuracies": [2], "earliness": [1], "whole": 1}],
    "inputs": [{}, {"scaling": {"mean": [0], "scale": [1], "masked": [False]}},
               {"unit": "words", "vocabulary": {"entries": [], "padding": True, "unknown": True}},
               {"unit": "lines", "vocabulary": {}}],
    "channels": ["ab", [1]],
    "columns": [{}, {"id": 1, "time": None, "text": None}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in DAMAGE.items() for value in values], ids=repr
)
def test_a_damaged_description_is_refused(key: str, value: Any, file: ModelFile) -> None:
    header = copy.deepcopy(file.header)
    header["preparation"][key] = value
    with pytest.raises(ModelFileError):
        of_file(in_memory("classify", header, file.tensors))


@pytest.mark.parametrize("name", ["head.weight", "head.bias", "convolutions.1.normalisation.running_var"])
def test_missing_tensors_are_refused(name: str, file: ModelFile) -> None:
    tensors = {key: tensor for key, tensor in file.tensors.items() if key != name}
    with pytest.raises(ModelFileError):
        of_file(in_memory("classify", file.header, tensors))


def test_the_threshold_is_the_smallest_from_which_the_accuracy_holds() -> None:
    sure = np.array([[0.6, 0.4], [0.9, 0.1]])  # right at once
    late = np.array([[0.3, 0.7], [0.2, 0.8], [0.95, 0.05]])  # right at its end alone
    found = Deciding.fit([sure, late], np.array([0, 0]), doubted=0)
    assert found.whole == 1.0
    threshold = found.threshold()
    assert 0.8 < threshold <= 0.95
    assert [first_sure(p, threshold) for p in (sure, late)] == [1, 2]
    assert found.threshold(0.5) == found.thresholds[0]
    assert found.accuracies[0] == 0.5
    assert Deciding.from_dict(found.to_dict()) == found


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1000), count=st.integers(2, 40), doubted=st.integers(0, 6))
def test_early_decisions_are_as_sure_as_all_but_a_few_at_their_ends(
    seed: int, count: int, doubted: int
) -> None:
    rng = np.random.default_rng(seed)
    running = [rng.dirichlet([0.3, 0.3, 0.3], size=rng.integers(1, 9)) for _ in range(count)]
    truth = np.array([probabilities[-1].argmax() for probabilities in running])
    found = Deciding.fit(running, truth, doubted)
    plain = Deciding.fit(running, truth, doubted=0)
    ends = sorted(probabilities[-1].max() for probabilities in running)
    fewest = min(doubted, count // 2)
    least = ends[fewest - 1] if fewest else 0.0
    assert found.threshold() >= max(least, plain.threshold())
    assert found.whole == plain.whole == 1.0
    assert all(0 <= a <= b for a, b in zip(found.accuracies, plain.accuracies, strict=True))
    assert Deciding.from_dict(found.to_dict()) == found
