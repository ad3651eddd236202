"""Reads the bytes of a file, unpacks and decodes them, with limits on their size."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatewise import files
from gatewise.tasks.shared.reading.errors import TableError

MOST_BYTES = 1 << 29  # limit for the file, and for its unpacked content

_UNPACKERS: dict[bytes, Callable[[io.BytesIO], Any]] = {
    b"\x1f\x8b": lambda content: gzip.GzipFile(fileobj=content),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_MARKS = {  # UTF-32 before UTF-16, whose little-endian mark is its prefix
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_FOREIGN = {
    b"\xd0\xcf\x11\xe0": "the file is an Excel workbook; save the sheet as CSV",
    b"\x28\xb5\x2f\xfd": "the file is packed with zstd; unpack it first",
    b"%PDF": "the file is a PDF document; export the table as CSV",
    b"SQLite": "the file is an SQLite database; export the table as CSV",
}


def read_content(path: Path) -> bytes:
    """Read a file of at most `MOST_BYTES`, unpacked if it is gzip, bzip2, xz or a zip of one file.

    Raises:
        TableError: the file does not exist, is not a regular file, or is too large, empty or damaged.
    """
    try:
        with files.open_to_read(path) as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TableError(path, f"the file cannot be read ({reason})") from error
    content = unpacked(path, _limited(path, content))
    if not content.strip():
        raise TableError(path, "the file is empty")
    return content


def _limited(path: Path, content: bytes) -> bytes:
    if len(content) > MOST_BYTES:
        raise TableError(path, f"the file has more than {MOST_BYTES >> 20} MiB, the most that is read")
    return content


def unpacked(path: Path, content: bytes) -> bytes:
    """Unpack content that is gzip, bzip2, xz or a zip of one file, up to the limit; other content stays.

    Raises:
        TableError: the content is damaged, too large, or of a format that is not read.
    """
    foreign = next((words for magic, words in _FOREIGN.items() if content.startswith(magic)), None)
    if foreign is not None:
        raise TableError(path, foreign)
    unpack = next((unpack for magic, unpack in _UNPACKERS.items() if content.startswith(magic)), None)
    try:
        if unpack is not None:
            with unpack(io.BytesIO(content)) as file:
                return _limited(path, bytes(file.read(MOST_BYTES + 1)))
        return _of_zip(path, content) if content.startswith(b"PK\x03\x04") else content
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError) as error:
        raise TableError(path, f"the file cannot be unpacked ({error})") from error


def _of_zip(path: Path, content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        names = [name for name in packed.namelist() if not name.endswith("/")]
        if "[Content_Types].xml" in names:
            raise TableError(path, "the file is an Excel workbook; save the sheet as CSV")
        if len(names) != 1:
            raise TableError(path, f"the zip file has {len(names)} files; unpack the one to read")
        with packed.open(names[0]) as file:
            return _limited(path, file.read(MOST_BYTES + 1))


def marked(content: bytes) -> str | None:
    """The encoding that a byte order mark tells; None without one, or with that of UTF-8."""
    return next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)


def decoded(path: Path, content: bytes, encoding: str | None) -> str:
    """The text of a file, by default UTF-8; `encoding` or a byte order mark may say otherwise.

    Raises:
        TableError: the bytes are not valid in this encoding.
    """
    known = encoding or marked(content)
    try:
        text = content.decode(known or "utf-8")
    except UnicodeError as error:
        at = f" (byte {error.start})" if isinstance(error, UnicodeDecodeError) else ""
        hint = "" if encoding else "; --encoding names another, for example cp1252"
        raise TableError(path, f"the file is not {(known or 'UTF-8').upper()} text{at}{hint}") from error
    if "\0" in text:
        hint = "it may be UTF-16 without a mark, which --encoding utf-16-le reads"
        raise TableError(path, f"the file has zero bytes in its text; {hint}")
    return text.removeprefix("\ufeff")
