"""How much of a recording fits into a page: of its rows, steps and units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

MOST_ROWS, LEAST_STEPS, LEAST_UNITS = 8, 400, 32
MOST_FEATURES = 24
_BYTES = 4 * 4 / 3  # of a number, as float32 in base64
_FRAME = 0.25  # megabytes of the page without numbers, with some text


class Size(NamedTuple):
    """What one layer would put into the page: arrays ``[T, B, H]``."""

    arrays: int
    units: int


@dataclass(frozen=True)
class Sample:
    """What is shown: the first `rows`, the steps from `first` to before `stop`, `units` of each layer."""

    rows: int
    first: int
    stop: int
    units: int

    @property
    def steps(self) -> int:
        """How many."""
        return self.stop - self.first


def fitting(sizes: Sequence[Size], steps: int, ends: Sequence[int], megabytes: float) -> Sample:
    """Choose what fits: fewer rows first, then the last steps of one row, fewer units, fewer steps still.

    `ends` are the steps of each row, of `steps` that there are.

    Raises:
        ValueError: the page has no room at all.

    >>> fitting([Size(7, 128), Size(7, 128)], 500, [500] * 64, 10)
    Sample(rows=2, first=0, stop=500, units=128)
    """
    room = int((megabytes - _FRAME) * 1e6 / _BYTES)
    widest = max(size.units for size in sizes)

    def numbers(units: int) -> int:
        """In one row at one step."""
        return sum(size.arrays * min(size.units, units) for size in sizes)

    fits = min(len(ends), MOST_ROWS, room // (steps * numbers(widest)))
    if fits > 0:
        return Sample(fits, 0, steps, widest)
    stop = ends[0] or steps
    least = min(LEAST_STEPS, stop)
    units = next((n for n in range(widest, LEAST_UNITS, -1) if least * numbers(n) <= room), LEAST_UNITS)
    shown = min(stop, room // numbers(units))
    if shown < 1:
        raise ValueError(f"look: megabytes must leave room for one step of the network. Got {megabytes:g}.")
    return Sample(1, stop - shown, stop, min(units, widest))
