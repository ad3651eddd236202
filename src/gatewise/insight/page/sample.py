"""Decides how many rows, steps and units of a recording fit into a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

MOST_ROWS, LEAST_STEPS, LEAST_UNITS = 8, 400, 32
MOST_FEATURES = 24
NUMBER = 4 * 4 / 3  # bytes of a number, as float32 in base64
_FRAME = 0.25  # megabytes of the page without data


class Size(NamedTuple):
    """The size of the data of one layer.

    Attributes:
        arrays: the number of arrays ``[T, B, H]``.
        units: H.
        inputs: I, the width of its input.
        weights: how many weights and biases its sums need.
    """

    arrays: int
    units: int
    inputs: int = 0
    weights: int = 0


@dataclass(frozen=True)
class Sample:
    """The shown part: the first `rows` rows, steps ``first .. stop - 1``, and `units` units of each layer.

    Attributes:
        sums: whether the inputs and weights of the layers are there too, for the sums before the gates.
    """

    rows: int
    first: int
    stop: int
    units: int
    sums: bool = True

    @property
    def steps(self) -> int:
        """The number of shown steps."""
        return self.stop - self.first


def room(megabytes: float) -> int:
    """The number of numbers that fit into a page."""
    return int((megabytes - _FRAME) * 1e6 / NUMBER)


def fitting(
    sizes: Sequence[Size], steps: int, ends: Sequence[int], megabytes: float, taken: int = 0
) -> Sample:
    """Choose what fits into a page beside `taken` numbers.

    It reduces the rows first, then the steps to the last ones of one row, then the units, then the steps
    again. `steps` is the number of steps of the input, `ends` that of each row. Sums are left out where
    units are, and where the weights would take more than a quarter of the page.

    Raises:
        ValueError: not even one step fits.

    >>> fitting([Size(7, 128), Size(7, 128)], 500, [500] * 64, 10)
    Sample(rows=2, first=0, stop=500, units=128, sums=True)
    """
    free = room(megabytes) - taken
    widest = max(size.units for size in sizes)

    def numbers(units: int) -> int:
        """The number of numbers in one row at one step."""
        return sum(size.arrays * min(size.units, units) for size in sizes)

    weights, inputs = (sum(getattr(size, of) for size in sizes) for of in ("weights", "inputs"))
    if weights <= free // 4:
        fits = min(len(ends), MOST_ROWS, (free - weights) // (steps * (numbers(widest) + inputs)))
        if fits > 0:
            return Sample(fits, 0, steps, widest)
    fits = min(len(ends), MOST_ROWS, free // (steps * numbers(widest)))
    if fits > 0:
        return Sample(fits, 0, steps, widest, sums=False)
    stop = ends[0] or steps
    least = min(LEAST_STEPS, stop)
    units = next((n for n in range(widest, LEAST_UNITS, -1) if least * numbers(n) <= free), LEAST_UNITS)
    shown = min(stop, free // numbers(units))
    if shown < 1:
        raise ValueError(f"look: megabytes must leave room for one step of the network. Got {megabytes:g}.")
    return Sample(1, stop - shown, stop, min(units, widest), sums=False)
