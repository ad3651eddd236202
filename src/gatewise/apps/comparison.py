"""What ``gatewise compare`` compares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatewise.language import Cell
    from gatewise.tasks.synthetic import Task
    from gatewise.tasks.synthetic.training import Settings


@dataclass(frozen=True)
class Comparison:
    """The runs of a comparison, in order: every cell at every length with every seed."""

    task: Task
    cells: Sequence[Cell]
    lengths: Sequence[int]
    seeds: int
    settings: Settings
    threads: int
    out: Path | None

    def __len__(self) -> int:
        return len(self.lengths) * len(self.cells) * self.seeds

    def __iter__(self) -> Iterator[tuple[Cell, int, int]]:
        for length in self.lengths:
            for cell in self.cells:
                for seed in range(self.seeds):
                    yield cell, length, seed
