from __future__ import annotations

import pytest

from gatewise.tasks.writing.writer import Writer
from tests.random_cells.quickly import compiling_quickly

TEXT = "".join(f'{n}. She said "to be (or not to be)", and {n * n} more.\n' for n in range(60))


@pytest.fixture(scope="module", autouse=True)
def _quickly(quickly: None) -> None:
    pass


@pytest.fixture(scope="session")
def fitted() -> Writer:
    writer = Writer(hidden_size=8, embedding_size=4, window=16, batch_size=8, max_epochs=3, seed=1)
    with compiling_quickly():
        return writer.fit(TEXT)
