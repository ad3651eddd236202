"""NumPy arrays for the kernels: allocating them, their addresses, checking arguments."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gatewise.compiler.run.program import room, split

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int, ...]


def aligned(shapes: Mapping[str, Shape], dtype: np.dtype[Any]) -> dict[str, Array]:
    """Uninitialised arrays, each aligned to cache lines."""
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    memory = np.empty(room(sizes, dtype.itemsize), dtype)
    start = address(memory)
    return {
        name: memory[(at - start) // dtype.itemsize :][: sizes[name]].reshape(shapes[name])
        for name, at in split(start, sizes, dtype.itemsize).items()
    }


def address(array: Array | None) -> int:
    """The address of the elements of an array; 0 for None."""
    return 0 if array is None else array.ctypes.data


def check(name: str, value: object, dtype: np.dtype[Any], shapes: Collection[Shape]) -> None:
    """Check that `value` is a NumPy array of this type and of one of these shapes.

    Raises:
        TypeError: it is not an array, or of another type.
        ValueError: it has another shape.
    """
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array of {dtype}. Got {type(value).__name__}.")
    if value.dtype != dtype:
        raise TypeError(f"{name} must be of {dtype}. Got {value.dtype}.")
    if value.shape not in shapes:
        raise ValueError(f"{name} must have shape {' or '.join(map(str, shapes))}. Got {value.shape}.")
