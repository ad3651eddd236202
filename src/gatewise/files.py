"""Files written whole: beside their place, then renamed into it, so that a reader never sees half of one."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from secrets import token_hex

_PREFIX, _SUFFIX = ".gatewise-", ".part"
_MOST_LINKS = 40  # as Linux has it
_STALE = 3600  # seconds after which nobody writes to an incomplete file any more


def part_of(path: Path) -> Path:
    """A hidden name beside `path`, new at each call, for what is not complete yet."""
    return path.with_name(f"{_PREFIX}{token_hex(8)}{_SUFFIX}")


def remove_stale_parts(folder: Path) -> None:
    """Remove incomplete files whose writers were killed."""
    with os.scandir(folder) as entries:
        parts = [e for e in entries if e.name.startswith(_PREFIX) and e.name.endswith(_SUFFIX)]
    for part in parts:
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE:
                os.unlink(part)


def save(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file that a user named, whole or not at all.

    A symbolic link stays, and its target is written. A file that exists keeps its mode, and its owner where
    the system allows that; a new one has the mode of the umask. A device or a pipe is written to.

    Raises:
        OSError: the file cannot be written; it is as it was before.
    """
    path = Path(path)
    place = _place(path)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        status = None
    if place is None or (status and not stat.S_ISREG(status.st_mode)):
        with open(path, "wb") as file:
            file.write(content)
    else:
        replace(place, content, like=status)


def replace(path: Path, content: bytes, mode: int = 0o666, like: os.stat_result | None = None) -> None:
    """Put a new file in the place of whatever has this name, a folder excepted.

    Its mode is `mode` under the umask; or it has the mode and, where possible, the owner of `like`.

    Raises:
        OSError: the file cannot be written. No part of it stays.
    """
    part = part_of(path)
    try:
        with open(part, "xb", opener=partial(os.open, mode=mode)) as file:
            if like:
                _take_after(part, like)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            part.unlink()


def _take_after(part: Path, like: os.stat_result) -> None:
    """Give a new file the owner, as far as is allowed, and the mode of another one."""
    if hasattr(os, "chown"):
        for owner in ((-1, like.st_gid), (like.st_uid, -1)):
            with suppress(OSError):
                os.chown(part, *owner)
    with suppress(OSError):
        os.chmod(part, stat.S_IMODE(like.st_mode))


def _place(path: Path) -> Path | None:
    """Where links lead; None if to a descriptor of a process, as ``/dev/stdout`` does."""
    for _ in range(_MOST_LINKS):
        folder = Path(os.path.realpath(path.parent))
        if folder.parts[1:2] == ("proc",) or folder.parts[1:3] == ("dev", "fd"):
            return None
        path = folder / path.name
        if not path.is_symlink():
            return path
        path = folder / os.readlink(path)
    return path
