"""Compiled objects on disk, so that a kernel is compiled once on a machine and not once in a process.

Objects lie in ``$GATEWISE_CACHE``, or in the user's cache folder, one file each, named by what they were
made from. The folder belongs to the user alone (mode 0700); a file carries the hash of its content and is
used only if that is right. Of more than a thousand objects those that were not used for longest are removed.
``GATEWISE_CACHE=off`` keeps nothing. A folder that cannot be used, or that others can write to, is left
alone: then kernels are compiled anew, which costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import sys
import tempfile
from pathlib import Path

import llvmlite

from gatewise._version import __version__

_HASH = 32  # bytes of the SHA-256 in front of the object
_MOST = 1000  # objects, some 50 kB each
_NAME = re.compile("[0-9a-f]{64}")  # of an object; other files in the folder are not ours


def _sources() -> str:
    """A hash of the compiler itself, so that changing it never meets an old object."""
    here = Path(__file__).parent
    files = sorted([*here.glob("*.py"), *(here.parent / "language").glob("*.py")])
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()


_SOURCES = _sources()  # read as the modules are: a file that changes later is not what this process runs


def digest(*parts: str) -> str:
    """A name for what is made from `parts` by this version of the package and of llvmlite."""
    whole = "\0".join((__version__, _SOURCES, llvmlite.__version__, *parts))
    return hashlib.sha256(whole.encode()).hexdigest()


def folder() -> Path | None:
    """Where objects are kept; None where nothing is."""
    setting = os.environ.get("GATEWISE_CACHE", "")
    if setting == "off":
        return None
    if setting:
        return Path(setting)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME", "") or "~/.cache"
    return Path(base).expanduser() / "gatewise"


def get(name: str) -> bytes | None:
    """The object kept under `name`, if there is one and it is whole."""
    at = _private_folder()
    if at is None:
        return None
    with contextlib.suppress(OSError):
        content = (at / name).read_bytes()
        if hashlib.sha256(content[_HASH:]).digest() == content[:_HASH]:
            _mark_used(at / name)
            return content[_HASH:]
    return None


def _mark_used(file: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(file)


def put(name: str, image: bytes) -> None:
    """Keep an object; another process sees all of it or nothing."""
    at = _private_folder()
    if at is None:
        return
    with contextlib.suppress(OSError):
        handle, temporary = tempfile.mkstemp(dir=at)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(image).digest() + image)
        os.replace(temporary, at / name)
        _remove_unused(at)


def _remove_unused(at: Path) -> None:
    """Remove the objects that were used least recently, where there are too many."""
    objects = [entry for entry in os.scandir(at) if _NAME.fullmatch(entry.name)]
    if len(objects) > _MOST:
        for entry in sorted(objects, key=lambda entry: entry.stat().st_mtime_ns)[: len(objects) - _MOST]:
            os.unlink(entry)


def _private_folder() -> Path | None:
    """The folder, made if need be, provided that nobody else can write to it."""
    try:
        at = folder()
        if at is None:
            return None
        at.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = at.stat()
    except (OSError, RuntimeError):
        return None
    if os.name == "posix" and (status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o022):
        return None
    return at
