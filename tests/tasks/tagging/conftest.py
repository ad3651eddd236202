from __future__ import annotations

import pytest

from gatewise.tasks.tagging.tagger import Tagger
from tests.tasks.tagging.sentences import corpus


@pytest.fixture(scope="module", autouse=True)
def _quickly(quickly: None) -> None:
    pass


def small(**options: object) -> Tagger:
    """A small tagger that learns in a second."""
    usual = {"hidden_size": 8, "num_layers": 1, "max_epochs": 15, "learning_rate": 0.03, "dropout": 0.1}
    return Tagger(**{**usual, **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def both(_quickly: None) -> Tagger:
    """A tagger of two columns, which reads in both directions."""
    return small(columns=["pos", "span"], num_layers=2).fit(*corpus(0, 120))


@pytest.fixture(scope="module")
def ahead(_quickly: None) -> Tagger:
    """A tagger of one column that reads one word ahead."""
    X, y = corpus(0, 120)
    return small(look_ahead=1).fit(X, [[span for _, span in tags] for tags in y])
