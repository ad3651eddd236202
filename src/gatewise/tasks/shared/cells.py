"""The cells that a job can be given by name."""

from __future__ import annotations

from gatewise import cells
from gatewise.language import Cell

# Cells with a projected output would need a width, which no job asks for.
CELLS: dict[str, Cell] = {n: vars(cells)[n] for n in cells.__all__ if not vars(cells)[n].projects}
