"""Converts the arguments of figures to NumPy arrays, and checks their shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[Any]
Data: TypeAlias = Any  # NumPy arrays, torch tensors (on any device, with or without gradient), lists


def as_numbers(data: Data) -> Numbers:
    """Convert to a NumPy array; floats become float64.

    >>> as_numbers([1, 2.5]).dtype
    dtype('float64')
    """
    if hasattr(data, "detach"):  # a torch tensor; torch is not imported, as it may be missing
        data = data.detach().cpu()
        data = (data.double() if data.is_floating_point() else data).numpy()
    array = np.asarray(data)
    return array.astype(np.float64) if array.dtype.kind == "f" else array


class Shapes:
    """Checks that the arrays of one figure agree in their sizes, which are named by letters."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.sizes: dict[str, int] = {}

    def read(self, name: str, data: Data, letters: str, empty: str = "") -> Numbers:
        """Check and convert an array whose sizes are named by `letters`. Sizes in `empty` may be 0.

        Raises:
            ValueError: the array has another number of axes, or a size differs from that of an earlier array.
        """
        array = as_numbers(data)
        if array.dtype.kind not in "bifcu":
            self.fail(f"{name} must be numbers. Got {array.dtype}")
        pairs = list(zip(letters, array.shape, strict=False))
        fits = array.ndim == len(letters) and all(
            self.sizes.get(letter, size) == size and (size > 0 or letter in empty) for letter, size in pairs
        )
        if not fits:
            self.fail(f"{name} must have shape {self._wanted(letters, empty)}. Got {list(array.shape)}")
        self.sizes.update(pairs)
        return array

    def of_row(self, values: Numbers, row: int) -> Numbers:
        """Row `row` of ``values [T, B, ...]``, checked to exist and to have a step."""
        if not 0 <= row < self.sizes["B"]:
            self.fail(f"row must be from 0 to {self.sizes['B'] - 1}. Got {row}")
        if np.isnan(values[:, row]).all():
            self.fail(f"row must have a step. Got {row}, which is NaN throughout")
        return values[:, row]

    def words(self, name: str, words: Sequence[str] | None, letter: str) -> list[str] | None:
        """Check that there is one word for each index of the axis `letter`."""
        if words is not None and len(words) != self.sizes[letter]:
            self.fail(f"{name} must be {self.sizes[letter]}, one for each of {letter}. Got {len(words)}")
        return None if words is None else [str(word) for word in words]

    def fail(self, sentence: str) -> NoReturn:
        """Raise a ValueError that begins with the name of the function."""
        raise ValueError(f"{self.who}: {sentence}.")

    def _wanted(self, letters: str, empty: str) -> str:
        named = f"[{', '.join(letters)}]"
        known = [str(self.sizes.get(letter, letter)) for letter in letters]
        worked_out = f" = [{', '.join(known)}]" if known != list(letters) else ""
        above = [letter for letter in letters if letter not in empty and letter not in self.sizes]
        return named + worked_out + (f" with {', '.join(above)} at least 1" if above else "")
