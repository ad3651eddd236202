from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gatewise.tasks.classification.classifier import Classifier
from tests.random_cells.quickly import compiling_quickly

Array = NDArray[Any]


@pytest.fixture(scope="module", autouse=True)
def _quickly(quickly: None) -> None:
    pass


def make_walks(count: int = 60) -> tuple[list[Array], list[str]]:
    """Random walks of 4 to 11 steps in two channels, one with gaps. The class is where the first ends."""
    rng = np.random.default_rng(0)
    walks = [rng.normal(size=(rng.integers(4, 12), 2)).cumsum(axis=0) for _ in range(count)]
    labels = ["up" if walk[-1, 0] > 1 else "down" if walk[-1, 0] < -1 else "level" for walk in walks]
    for walk in walks[::4]:
        walk[1, 1] = np.nan
    return walks, labels


TEXTS = ["a good film , fine", "bad film", "awful , bad thing here", "fine good stuff , yes"] * 6
OPINIONS = ["praise", "blame", "blame", "praise"] * 6


@pytest.fixture(scope="session")
def walks() -> tuple[list[Array], list[str]]:
    return make_walks()


@pytest.fixture(scope="session")
def fitted(walks: tuple[list[Array], list[str]]) -> Classifier:
    with compiling_quickly():
        return Classifier(refit=False, hidden_size=6, max_epochs=8, learning_rate=0.02).fit(*walks)


@pytest.fixture(scope="session")
def reader() -> Classifier:
    """A classifier of texts."""
    classifier = Classifier(refit=False, cell="rnn", hidden_size=4, max_epochs=6, learning_rate=0.02)
    with compiling_quickly():
        return classifier.fit(TEXTS, OPINIONS)
