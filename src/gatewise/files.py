"""Reading and writing the files that users name, and quoting their content in messages.

A file is written under another name beside its path, then renamed, so that no reader sees half of it.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import BufferedReader
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO
from unicodedata import category

_PREFIX, _SUFFIX = ".gatewise-", ".part"
_MOST_LINKS = 40  # the limit of Linux
_STALE = 3600  # seconds after which an incomplete file is considered abandoned
_LONGEST = 1000  # letters of a message


class NotAFileError(OSError):
    """Raised for a folder, a pipe or a device where a file was expected."""


def open_to_read(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a file in binary mode.

    Raises:
        NotAFileError: the path is a folder, a pipe or a device. It does not wait for a pipe.
        OSError: there is no such file, or it cannot be read.
    """
    return open(path, "rb", opener=_open_regular)


def size_of(file: BufferedReader) -> int:
    """The size of an open file in bytes."""
    return os.fstat(file.fileno()).st_size


def _open_regular(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "folder" if stat.S_ISDIR(mode) else "pipe" if stat.S_ISFIFO(mode) else "device"
        raise NotAFileError(errno.EINVAL, f"must be a file. Got a {kind}", str(path))
    return descriptor


def quoted(text: str) -> str:
    """Text from a file as a message may show it: control characters escaped, long texts cut."""
    safe = escaped(text)
    return safe if len(safe) <= _LONGEST else safe[: _LONGEST - 1] + "…"


def escaped(text: str) -> str:
    """Text with its control characters escaped as in a Python literal."""
    if text.isprintable():
        return text
    harmless = (c.isprintable() or category(c) == "Zs" for c in text)  # Zs: spaces of other widths
    return "".join(
        c if ok else c.encode("unicode_escape").decode("ascii") for c, ok in zip(text, harmless, strict=True)
    )


def part_of(path: Path) -> Path:
    """A new hidden name beside `path`, for a file that is not complete yet."""
    return path.with_name(f"{_PREFIX}{token_hex(8)}{_SUFFIX}")


def remove_stale_parts(folder: Path) -> None:
    """Remove incomplete files that killed processes left."""
    with os.scandir(folder) as entries:
        parts = [e for e in entries if e.name.startswith(_PREFIX) and e.name.endswith(_SUFFIX)]
    for part in parts:
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE:
                os.unlink(part)


def save(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file that a user named, whole or not at all, as `saving` does.

    Raises:
        OSError: the file cannot be written. An existing file stays as it was.
    """
    with saving(path) as file:
        file.write(content)


@contextmanager
def saving(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Context manager: an open file, which replaces what a user named when the block ends without an error.

    A symbolic link stays, and its target is replaced. An existing file keeps its mode, and its owner if the
    system allows it; a new file gets the mode of the umask. Devices and pipes are written to directly.

    Raises:
        OSError: the file cannot be written. An existing file stays as it was.
    """
    path = Path(path)
    place = _place(path)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        status = None
    if place is None or (status and not stat.S_ISREG(status.st_mode)):
        with open(path, "wb") as file:
            yield file
    else:
        with replacing(place, like=status) as file:
            yield file


def replace(path: Path, content: bytes, mode: int = 0o666, like: os.stat_result | None = None) -> None:
    """Write a file, replacing whatever has this name, except a folder, as `replacing` does.

    Raises:
        OSError: the file cannot be written. Nothing of it is left.
    """
    with replacing(path, mode, like) as file:
        file.write(content)


@contextmanager
def replacing(path: Path, mode: int = 0o666, like: os.stat_result | None = None) -> Iterator[BinaryIO]:
    """Context manager: an open file, which gets its name when the block ends without an error.

    Its mode is `mode` under the umask, or else the mode and, if possible, the owner of `like`.

    Raises:
        OSError: the file cannot be written. Nothing of it is left.
    """
    part = part_of(path)
    try:
        with open(part, "xb", opener=partial(os.open, mode=mode)) as file:
            if like:
                _take_after(part, like)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            part.unlink()


def _take_after(part: Path, like: os.stat_result) -> None:
    """Give a new file the mode of another file and, if allowed, its owner."""
    if hasattr(os, "chown"):
        for owner in ((-1, like.st_gid), (like.st_uid, -1)):
            with suppress(OSError):
                os.chown(part, *owner)
    with suppress(OSError):
        os.chmod(part, stat.S_IMODE(like.st_mode))


def _place(path: Path) -> Path | None:
    """The path behind symbolic links, or None if it is an open descriptor, as ``/dev/stdout`` is."""
    for _ in range(_MOST_LINKS):
        folder = Path(os.path.realpath(path.parent))
        if folder.parts[1:2] == ("proc",) or folder.parts[1:3] == ("dev", "fd"):
            return None
        path = folder / path.name
        if not path.is_symlink():
            return path
        path = folder / os.readlink(path)
    return path
