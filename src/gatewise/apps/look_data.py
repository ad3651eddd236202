"""Reads the arrays for ``gatewise look`` from a file, which is not trusted."""

from __future__ import annotations

import tokenize
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from gatewise import files

KINDS = (".npy", ".npz", ".csv")
_MOST = 1 << 30  # bytes of the file, and of an unpacked array
_LARGEST = 1e30  # largest magnitude; float32 can still compute with it
# Exceptions of NumPy, zipfile and pandas for damaged or malicious files.
_FAILURES = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OSError, OverflowError),
    *(MemoryError, RecursionError, RuntimeError, BadZipFile, zlib.error, tokenize.TokenError, SyntaxError),
)


class DataError(ValueError):
    """Raised for a file that cannot be the input. The message is one sentence."""

    def __init__(self, message: str) -> None:
        super().__init__(files.quoted(message))


@dataclass(frozen=True)
class Arrays:
    """The content of a file: ``x [T, I]`` or ``[T, B, I]`` in float64, row lengths, names of the inputs."""

    x: NDArray[np.float64]
    lengths: list[int] | None = None
    names: list[str] | None = None


def read_arrays(path: Path, inputs: int) -> Arrays:
    """Read a ``.npy``, an ``.npz`` with ``x`` (and ``lengths``), or a ``.csv`` of columns of numbers.

    Nothing in the file is executed.

    Raises:
        DataError: the file does not exist, is of another type, too large or damaged, or has another number
            of inputs.
    """
    if path.suffix not in KINDS:
        raise DataError(f"--on must be of {', '.join(KINDS)}. Got {path}.")
    with _refusing(path), files.open_to_read(path) as file:
        if files.size_of(file) > _MOST:
            raise DataError(f"--on: {path} must have at most {_MOST >> 30} GB.")
        x, lengths, names = _of_csv(path, file) if path.suffix == ".csv" else _of_numpy(path, file)
        if x.ndim not in (2, 3) or x.shape[-1] != inputs or not x.size:
            raise DataError(
                f"--on: {path} must be steps by {inputs} inputs, with rows between. Got {x.shape!s:.60}."
            )
        if x.dtype.kind not in "fiub" or not (np.abs(x.astype(np.float64)) <= _LARGEST).all():
            raise DataError(f"--on: {path} must hold finite numbers alone, up to {_LARGEST:g}.")
        return Arrays(np.ascontiguousarray(x, np.float64), lengths, names)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Context manager that turns errors about a file into one sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers of other versions
            yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"--on: there is no file {path}.") from error
    except _FAILURES as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"--on: {path}: {' '.join(why.split())}") from error


Read = tuple[NDArray[Any], list[int] | None, list[str] | None]


def _of_numpy(path: Path, file: BufferedReader) -> Read:
    loaded = np.load(file, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded, None, None
    with loaded:
        names = list(loaded)
        if "x" not in names and len(names) != 1:
            raise DataError(f"--on: {path} must have an array x. It has {', '.join(names) or 'none'}.")
        lengths = _lengths(path, _member(path, loaded, "lengths")) if "lengths" in names else None
        return _member(path, loaded, "x" if "x" in names else names[0]), lengths, None


def _member(path: Path, archive: NpzFile, name: str) -> NDArray[Any]:
    """One array of an archive, refused if it would be larger than `_MOST` bytes."""
    sizes = {packed.filename: packed.file_size for packed in archive.zip.infolist()} if archive.zip else {}
    if max(sizes.get(name, 0), sizes.get(f"{name}.npy", 0)) > _MOST:
        raise DataError(f"--on: {path}: the array {name} must have at most {_MOST >> 30} GB.")
    array: NDArray[Any] = np.asarray(archive[name])
    return array


def _lengths(path: Path, lengths: NDArray[Any]) -> list[int]:
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise DataError(f"--on: {path} must have whole numbers as lengths, one for each row.")
    return [int(length) for length in lengths]


def _of_csv(path: Path, file: BufferedReader) -> Read:
    import pandas as pd

    frame = pd.read_csv(file)
    words = [str(name) for name in frame.columns if frame[name].dtype.kind not in "fiub"]
    if words:
        raise DataError(f"--on: {path}: the columns must be numbers. These are not: {', '.join(words)}.")
    return frame.to_numpy(np.float64), None, [str(name) for name in frame.columns]
