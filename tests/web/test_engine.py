"""The engine in a real browser, compared with layers in Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import torch

from gatewise import Cell, cells
from tests.selection import with_rest
from tests.web.engine import Engine, Problem, assert_same_bits

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SHIPPED = [cell for cell in vars(cells).values() if isinstance(cell, Cell)]
# One of each kind: slots of every sort, a product in the middle, means, a projection, exponential gates.
ALWAYS = (cells.rnn, cells.lstm, cells.gru, cells.gru_layer_norm, cells.lstm_projected, cells.slstm)
shipped = pytest.mark.parametrize(
    "cell", with_rest(SHIPPED, lambda cell: cell in ALWAYS), ids=lambda cell: cell.name
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="session")
def engine(browser: Browser) -> Iterator[Engine]:
    page = browser.new_page()
    yield Engine(page)
    page.close()


def problem(cell: Cell, **more: Any) -> Problem:
    options = {"proj_size": 4} if cell is cells.lstm_projected else {}
    return Problem(cell, 7, 5, 3, 18, options=options, **more)


RESET = torch.zeros(7, 5, dtype=torch.bool)
RESET[3, 0] = RESET[5, 0] = RESET[1, 2] = RESET[6, 3] = RESET[0, 4] = True


@shipped
def test_every_cell_gives_the_bits_of_python(cell: Cell, engine: Engine) -> None:
    p = problem(cell)
    assert_same_bits(engine.run(p, keep=False), p.run(backward=False))
