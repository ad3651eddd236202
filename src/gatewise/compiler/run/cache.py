"""Compiled objects on disk: a kernel is compiled once for a machine, not once for each process.

Objects are files in ``$GATEWISE_CACHE``, or in the user's cache folder, named by a hash of what they were
made from. The folder belongs to the user alone (mode 0700). A file has the hash of its name and content in
front; if it does not match, the kernel is compiled again and the file replaced. Beyond 2000 files the least
recently used are removed. A folder that cannot be written, or that others can write to, is not used; a
warning says so once, and each process compiles for itself. With ``GATEWISE_CACHE=off`` nothing is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import llvmlite

from gatewise import files
from gatewise._version import __version__

Result = TypeVar("Result")

_HASH = 32  # bytes of the SHA-256 in front of the object
_MOST = 2000  # files: objects, about 50 kB each, and the names of objects
_NAME = re.compile("[0-9a-f]{64}")  # of our files; others in the folder are left alone
# Never follow a link to somebody else's file, and never wait for the writer of a pipe.
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
# Modules of the language that print and store cells: no kernel depends on them.
_APART = ("form", "pickling", "writing")


def sources() -> list[Path]:
    """The source files that decide which machine code a cell becomes."""
    compiler = Path(__file__).parents[1]
    language = compiler.parent / "language"
    return [
        *sorted(compiler.rglob("*.py")),
        *sorted(f for f in language.rglob("*.py") if not f.relative_to(language).parts[0].startswith(_APART)),
    ]


def hash_of(paths: Iterable[Path]) -> str:
    """The hash of the content of files."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


# WRITER: the code that writes LLVM text. ASSEMBLER: the code that compiles the text.
# Hashed at import: a file that changes later is not the code that this process runs.
WRITER = hash_of(sources())
ASSEMBLER = hash_of(Path(__file__).with_name(f"{name}.py") for name in ("host", "machine"))


def compiled(
    key: str,
    target: Sequence[str],
    write: Callable[[], str],
    assemble: Callable[[str], bytes],
    use: Callable[[bytes], Result],
) -> Result:
    """What `use` makes of the object of a kernel, from disk or assembled from the LLVM text of `write`.

    On disk an object is named by the hash of its LLVM text, and a second file maps the key to that name.
    So a change of the compiler that does not change the text of a kernel needs no compilation, only writing.

    Args:
        key: what the text depends on besides the compiler.
        target: what the object depends on besides the text.
        use: raises RuntimeError if the object from disk is unusable, which is then replaced.
    """

    def usable(name: str) -> Result | None:
        image = get(name)
        try:
            return use(image) if image else None
        except RuntimeError:
            return None

    by_key = digest(WRITER, key, *target)
    known = get(by_key)
    result = usable(known.hex()) if known else None
    if result is None:
        text = write()
        name = digest(ASSEMBLER, text, *target)
        result = usable(name)
        if result is None:
            image = assemble(text)
            result = use(image)
            put(name, image)
        put(by_key, bytes.fromhex(name))
    return result


def digest(*parts: str) -> str:
    """A file name for an object made from `parts` by this version of the package and of llvmlite."""
    whole = "\0".join((__version__, llvmlite.__version__, *parts))
    return hashlib.sha256(whole.encode()).hexdigest()


def folder() -> Path | None:
    """The folder of objects; None if none are kept."""
    setting = os.environ.get("GATEWISE_CACHE", "")
    if setting == "off":
        return None
    if setting:
        return Path(setting).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        base = base if os.path.isabs(base) else "~/.cache"  # as the XDG specification demands
    return Path(base).expanduser() / "gatewise"


def get(name: str) -> bytes | None:
    """The object kept under `name`, if there is one and its hash matches."""
    with contextlib.suppress(OSError, RuntimeError):
        at = _private_folder()
        content = _read(at / name) if at else b""
        if at and content[:_HASH] == _checksum(name, content[_HASH:]):
            with contextlib.suppress(OSError):
                os.utime(at / name)  # the last use
            return content[_HASH:]
    return None


def put(name: str, image: bytes) -> None:
    """Keep an object; other processes see the whole file or none. If it cannot be kept, warn once."""
    try:
        at = _private_folder()
        if at:
            files.replace(at / name, _checksum(name, image) + image, mode=0o600)
            _clean(at)
    except (OSError, RuntimeError) as error:
        _say_once(error)


def _checksum(name: str, image: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\0" + image).digest()


def _read(path: Path) -> bytes:
    """The content of a regular file; nothing of any other kind of file."""
    with open(path, "rb", opener=lambda path, flags: os.open(path, flags | _FLAGS)) as file:
        return file.read() if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""


def _clean(at: Path) -> None:
    """Remove the least recently used files, if there are too many, and unfinished ones."""
    files.remove_stale_parts(at)
    with os.scandir(at) as entries:
        objects = [entry for entry in entries if _NAME.fullmatch(entry.name)]
    if len(objects) > _MOST:
        for entry in sorted(objects, key=_last_use)[: len(objects) - _MOST]:
            with contextlib.suppress(OSError):
                os.unlink(entry)


def _last_use(entry: os.DirEntry[str]) -> int:
    with contextlib.suppress(OSError):  # another process may have removed it
        return entry.stat(follow_symlinks=False).st_mtime_ns
    return 0


def _private_folder() -> Path | None:
    """The folder, made if it is missing; None if no objects are kept.

    Raises:
        OSError: it cannot be made, or others can write to it.
        RuntimeError: the user has no home.
    """
    at = folder()
    if at is None:
        return None
    at.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "posix":
        status = at.stat()
        if status.st_uid != os.getuid():
            raise PermissionError(None, "it belongs to another user", str(at))
        if stat.S_IMODE(status.st_mode) & 0o022:
            raise PermissionError(None, "others can write to it", str(at))
    return at


_said = False


def _say_once(error: OSError | RuntimeError) -> None:
    global _said
    if not _said:
        _said = True
        why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
        warnings.warn(
            f"compiled kernels cannot be kept for the next process ({why}). Set GATEWISE_CACHE to a folder "
            "of your own, or to off.",
            RuntimeWarning,
            stacklevel=2,
        )
