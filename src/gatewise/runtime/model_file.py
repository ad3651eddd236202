"""The model file: a ``.safetensors`` file whose header describes the model as JSON.

The file is plain data, and reading it executes nothing. Its ``__metadata__`` has one entry, ``gatewise``: a
JSON object with ``format`` (the version of this layout, an integer), ``version`` (of the gatewise that wrote
it), ``task`` (the kind of model) and what that kind needs; ``docs/format.md`` specifies it. Everything else
is defined by safetensors: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from gatewise import files
from gatewise._version import __version__

FORMAT = 2
KEY = "gatewise"
_LONGEST_HEADER = 100_000_000  # bytes; the limit of safetensors

Tensors = dict[str, NDArray[Any]]


class ModelFileError(ValueError):
    """Raised for a file that is damaged, not a model file, or not the expected model."""

    def __init__(self, message: str) -> None:
        super().__init__(files.quoted(message))


@dataclass(frozen=True)
class ModelFile:
    """The content of a model file: its header, without ``gatewise``'s own entries, and its tensors by name.

    ``format`` is the version of the layout.
    """

    path: Path
    format: int
    task: str
    header: dict[str, Any]
    tensors: Tensors


def write_model(path: str | Path, task: str, header: dict[str, Any], tensors: Tensors) -> None:
    """Write a model file. An existing file is replaced only by a complete one.

    The same content gives the same bytes.

    Raises:
        ValueError: `header` is not JSON, or has NaN or an infinity in it.
    """
    described = {"format": FORMAT, "version": __version__, "task": task, **header}
    metadata = {KEY: json.dumps(described, allow_nan=False, sort_keys=True)}
    whole = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    files.save(path, save(whole, metadata=metadata))


def in_memory(task: str, header: dict[str, Any], tensors: Tensors) -> ModelFile:
    """What `read_model` gives for a file that `write_model` wrote, without a file."""
    return ModelFile(Path(f"a {task} model"), FORMAT, task, json.loads(json.dumps(header)), tensors)


def read_model(path: str | Path, task: str | None) -> ModelFile:
    """Read a model file of a task, or of any task if `task` is None.

    Raises:
        ModelFileError: the file is damaged, not gatewise's, of a newer format, or of another task.
        FileNotFoundError: the file does not exist.
    """
    path = Path(path)
    try:
        content = _content(path)
        header = _header(path, _metadata(content).get(KEY))
        _check(path, header, task)
        tensors = load(content)
    except files.NotAFileError as error:
        raise ModelFileError(f"{path}: {error.strerror}") from error
    except ModelFileError:
        raise
    except (SafetensorError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        why = f"a tensor is of type {error}" if isinstance(error, KeyError) else error
        raise ModelFileError(f"{path}: the file is damaged or not a safetensors file ({why})") from error
    own = {name: value for name, value in header.items() if name not in ("format", "version", "task")}
    return ModelFile(path, header["format"], header["task"], own, tensors)


def _content(path: Path) -> bytes:
    """A copy of the whole file in memory, so that later changes to the file do no harm."""
    with files.open_to_read(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(_LONGEST_HEADER, files.size_of(file) - 8):
            raise ValueError(f"a header of {length} bytes in {files.size_of(file)}")
        file.seek(0)
        return file.read()


def _metadata(content: bytes) -> dict[str, Any]:
    """The metadata in the header of a safetensors file. The rest of it is checked by safetensors."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length].decode("utf-8"), object_pairs_hook=_distinct)
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict):
        raise TypeError("its header is not an object with metadata")
    return metadata


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. A repeated key is refused, as parsers disagree about its value."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key appears twice")
    return found


def _header(path: Path, text: Any) -> dict[str, Any]:
    if text is None:
        raise ModelFileError(f"{path}: the file holds tensors, but gatewise did not write it")
    try:
        header = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_distinct)
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelFileError(f"{path}: the header is not readable JSON ({error})") from error
    if not isinstance(header, dict):
        raise ModelFileError(f"{path}: the header is not a JSON object")
    return header


def _check(path: Path, header: dict[str, Any], task: str | None) -> None:
    if type(header.get("format")) is not int or header["format"] < 1:
        raise ModelFileError(
            f"{path}: format must be a whole number from 1 on. Got {header.get('format')!r:.60}"
        )
    if header["format"] > FORMAT:
        newer, version = f"{header['format']!s:.20}", f"{header.get('version')!s:.20}"
        raise ModelFileError(f"{path}: format {newer} is newer than {FORMAT}; gatewise {version} wrote it")
    found = header.get("task")
    if not isinstance(found, str) or found != (task or found):
        raise ModelFileError(f"{path}: task must be {repr(task) if task else 'a name'}. Got {found!r:.60}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
