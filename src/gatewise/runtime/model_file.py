"""The model file: one ``.safetensors`` file whose header says, as JSON, what the tensors are.

The file is plain data. Its ``__metadata__`` holds one entry, ``gatewise``: a JSON object with ``format`` (the
version of this layout, an integer), ``version`` (of the gatewise that wrote it), ``task`` (what kind of model
it is) and whatever that task needs; ``docs/format.md`` specifies it. Reading executes nothing. The layout of
the rest is safetensors' own: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from gatewise import files
from gatewise._version import __version__

FORMAT = 2
KEY = "gatewise"

Tensors = dict[str, NDArray[Any]]


class ModelFileError(ValueError):
    """A file that is no model file, is damaged, or does not hold what it should."""


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds: the header without its own book-keeping, and the tensors by name.

    ``format`` is the version of the layout that the file was written in.
    """

    path: Path
    format: int
    task: str
    header: dict[str, Any]
    tensors: Tensors


def write_model(path: str | Path, task: str, header: dict[str, Any], tensors: Tensors) -> None:
    """Write a model file, whole or not at all: an existing file is replaced only by a complete one.

    ``header`` must be JSON without NaN or infinity (``ValueError``). The same content gives the same bytes.
    """
    described = {"format": FORMAT, "version": __version__, "task": task, **header}
    metadata = {KEY: json.dumps(described, allow_nan=False, sort_keys=True)}
    whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    files.save(path, save(whole, metadata=metadata))


def read_model(path: str | Path, task: str | None) -> ModelFile:
    """Read a model file of a task, or of any task for ``None``.

    Raises ``ModelFileError``, naming the file, if it is not whole, not gatewise's, of a newer format or of
    another task; ``FileNotFoundError`` if there is none.
    """
    path = Path(path)
    if path.is_dir():
        raise ModelFileError(f"{path}: expected a file. Got a folder")
    try:
        with safe_open(path, framework="numpy") as file:
            header = _header(path, (file.metadata() or {}).get(KEY))
            _check(path, header, task)
            tensors = {name: _of_numpy(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, OverflowError) as error:
        raise ModelFileError(f"{path}: the file is damaged or is no safetensors file ({error})") from error
    own = {name: value for name, value in header.items() if name not in ("format", "version", "task")}
    return ModelFile(path, header["format"], header["task"], own, tensors)


def _of_numpy(tensor: NDArray[Any]) -> NDArray[Any]:
    """A tensor of a type that NumPy itself has, whatever types other packages have taught it."""
    if tensor.dtype.isbuiltin != 1:
        raise TypeError(f"a tensor is of type {tensor.dtype}")
    return tensor


def _header(path: Path, text: str | None) -> dict[str, Any]:
    if text is None:
        raise ModelFileError(f"{path}: the file holds tensors, but gatewise did not write it")
    try:
        header = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: the header is not readable JSON") from error
    if not isinstance(header, dict):
        raise ModelFileError(f"{path}: the header is not a JSON object")
    return header


def _check(path: Path, header: dict[str, Any], task: str | None) -> None:
    if type(header.get("format")) is not int or header["format"] < 1:
        raise ModelFileError(
            f"{path}: expected a format version in the header. Got {header.get('format')!r:.60}"
        )
    if header["format"] > FORMAT:
        newer, version = f"{header['format']!s:.20}", f"{header.get('version')!s:.20}"
        raise ModelFileError(f"{path}: format {newer} is newer than {FORMAT}; gatewise {version} wrote it")
    found = header.get("task")
    if not isinstance(found, str) or found != (task or found):
        expected = f"a model of the task {task!r}" if task else "the name of a task"
        raise ModelFileError(f"{path}: expected {expected}. Got {found!r:.60}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
