"""Sequences from columns of lists, as Parquet and JSON lines have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gatewise.tasks.shared import frames
from gatewise.tasks.shared.reading.errors import quoted


def are_channels(table: Any, names: list[str]) -> bool:
    """Whether all columns are lists of numbers."""
    kinds = [frames.column(table, name).type.value_type for name in names]
    return all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds)


def arrays_of_lists(table: Any, names: list[str]) -> list[NDArray[np.float64]]:
    """The sequences ``[T, I]`` of columns of lists of numbers, one for each channel, or of a column of steps.

    Raises:
        TableError: a list is missing, empty, of another length than others of its row, or not of numbers.
    """
    return _of_steps(table, names[0]) if len(names) == 1 else _of_channels(table, names)


def _of_channels(table: Any, names: list[str]) -> list[NDArray[np.float64]]:
    """In each row a list of the same length for each channel."""
    rows = zip(*(frames.complete(table, name).to_pylist() for name in names), strict=True)
    arrays = []
    for row, channels in enumerate(rows):
        for name, values in zip(names, channels, strict=True):
            if len(values) != len(channels[0]) or not values:
                first = f"but that of {names[0]!r} {len(channels[0])}"
                count = f"{len(values)} {'number' if len(values) == 1 else 'numbers'}"
                problem = f"the list has {count}, {first}" if values else "the list is empty"
                raise frames.error(table, problem, name, row)
        arrays.append(np.array(channels, np.float64).T)
    return arrays


def _of_steps(table: Any, name: str) -> list[NDArray[np.float64]]:
    """In each row a list of numbers, or of steps."""
    rows = frames.complete(table, name).to_pylist()
    arrays: list[NDArray[np.float64]] = []
    for row, values in enumerate(rows):
        try:
            array = np.array(values, np.float64)
            array = array[:, None] if array.ndim == 1 else array
            if array.ndim != 2 or not array.size or (arrays and array.shape[1] != arrays[0].shape[1]):
                raise ValueError
        except (ValueError, TypeError) as wrong:
            problem = "the list must be of numbers, or of steps of equally many numbers"
            raise frames.error(table, f"{problem}{_came(values, arrays[:1])}", name, row) from wrong
        arrays.append(array)
    return arrays


def _came(values: Any, before: list[NDArray[np.float64]]) -> str:
    """What is wrong with a list, as the end of a sentence."""
    if not values:
        return "; it is empty"
    if None in values and any(isinstance(step, list) for step in values):
        return "; a step is missing"
    sizes = {len(step) if isinstance(step, list) else 1 for step in values}
    if len(sizes) > 1:
        return f"; it has steps of {min(sizes)} and of {max(sizes)}"
    numbers = [number for step in values for number in (step if isinstance(step, list) else [step])]
    odd = [number for number in numbers if not isinstance(number, int | float | None)]
    if odd:
        return f"; {quoted(odd[0])} is not a number"
    return f"; its steps have {sizes.pop()}, those before {before[0].shape[1]}" if before else ""
