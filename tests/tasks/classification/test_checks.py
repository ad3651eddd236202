"""scikit-learn's own checks of estimators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from gatewise.tasks.classification.classifier import Classifier

SMALL = Classifier(
    refit=False, cell="rnn", hidden_size=4, max_epochs=8, learning_rate=0.05, convolution=False
)


@parametrize_with_checks([SMALL])  # type: ignore[untyped-decorator]
@pytest.mark.filterwarnings("ignore")  # checks call with what warns, such as a column for y
def test_scikit_learn(estimator: Classifier, check: Callable[[Any], None]) -> None:
    check(estimator)
