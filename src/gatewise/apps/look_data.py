"""What ``gatewise look`` gives to layers: arrays from a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS = (".npy", ".npz", ".csv")


class DataError(ValueError):
    """A file that is no input, in one sentence."""


@dataclass(frozen=True)
class Arrays:
    """What was read: ``x [T, I]`` or ``[T, B, I]``, the steps of each row, the names of the inputs."""

    x: NDArray[Any]
    lengths: list[int] | None = None
    names: list[str] | None = None


def read_arrays(path: Path, inputs: int) -> Arrays:
    """Read a ``.npy``, an ``.npz`` with ``x`` (and ``lengths``), or a ``.csv`` of columns of numbers.

    Raises:
        DataError: there is no such file, it is of another kind, or not of so many inputs.
    """
    if path.suffix not in KINDS:
        raise DataError(f"--on must be of {', '.join(KINDS)}. Got {path}.")
    if not path.is_file():
        raise DataError(f"--on: there is no file {path}.")
    try:
        found = _of_csv(path) if path.suffix == ".csv" else _of_numpy(path)
    except (ValueError, OSError, EOFError) as error:
        raise error if isinstance(error, DataError) else DataError(f"--on: {path}: {error}") from error
    x = found.x
    if x.ndim not in (2, 3) or x.shape[-1] != inputs or not x.size:
        raise DataError(f"--on: {path} must be steps by {inputs} inputs, with rows between. Got {x.shape}.")
    if x.dtype.kind not in "fiub" or not np.isfinite(x).all():
        raise DataError(f"--on: {path} must hold finite numbers alone.")
    return found


def _of_numpy(path: Path) -> Arrays:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return Arrays(loaded)
    with loaded:
        names = list(loaded)
        if "x" not in names and len(names) != 1:
            raise DataError(f"--on: {path} must have an array x. It has {', '.join(names) or 'none'}.")
        lengths = [int(n) for n in loaded["lengths"]] if "lengths" in names else None
        return Arrays(loaded["x" if "x" in names else names[0]], lengths)


def _of_csv(path: Path) -> Arrays:
    import pandas as pd

    frame = pd.read_csv(path)
    words = [str(name) for name in frame.columns if frame[name].dtype.kind not in "fiub"]
    if words:
        raise DataError(f"--on: {path}: the columns must be numbers. These are not: {', '.join(words)}.")
    return Arrays(frame.to_numpy(np.float64), names=[str(name) for name in frame.columns])
