"""The binary format of WebAssembly, as far as modules of kernels need it.

https://webassembly.github.io/spec/core/binary/: integers are LEB128, a module is a header and sections, a
section is a number, a size and its content.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, final

HEADER = b"\0asm\1\0\0\0"
CUSTOM, IMPORT, EXPORT, ELEMENTS, CODE, DATA = 0, 2, 7, 9, 10, 11  # numbers of sections
FUNCTION, TABLE, MEMORY, GLOBAL = range(4)  # kinds of imports and exports


class FormatError(ValueError):
    """Raised for bytes that are not a valid module."""


@final
class Reader:
    """Reads values one after another."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    @property
    def more(self) -> bool:
        """Whether bytes are left."""
        return self.at < len(self.content)

    def byte(self) -> int:
        """Read one byte."""
        return self.take(1)[0]

    def take(self, count: int) -> bytes:
        """Read `count` bytes.

        Raises:
            FormatError: there are fewer.
        """
        part = self.content[self.at : self.at + count]
        if len(part) < count:
            raise FormatError(f"the content must have {count} more bytes at {self.at}. Got {len(part)}.")
        self.at += count
        return part

    def unsigned(self) -> int:
        """Read an unsigned integer of at most 32 bits.

        Raises:
            FormatError: it is longer.
        """
        result = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            result |= (byte & 127) << shift
            if byte < 128:
                return result
        raise FormatError(f"an integer of 32 bits must end before {self.at}.")

    def sized(self) -> bytes:
        """Read bytes that have their count in front."""
        return self.take(self.unsigned())

    def name(self) -> str:
        """Read a name."""
        return self.sized().decode()


def unsigned(value: int) -> bytes:
    """An unsigned integer in as few bytes as possible."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def padded(value: int) -> bytes:
    """A non-negative integer of 31 bits in 5 bytes, which can be read as unsigned and as signed."""
    return bytes(value >> shift & 127 | 128 for shift in range(0, 28, 7)) + bytes([value >> 28])


def sized(content: bytes) -> bytes:
    """The bytes with their count in front."""
    return unsigned(len(content)) + content


class Section(NamedTuple):
    """A section: its number and its content."""

    number: int
    content: bytes


def sections_of(module: bytes) -> list[Section]:
    """The sections of a module.

    Raises:
        FormatError: it is not a module.
    """
    if not module.startswith(HEADER):
        raise FormatError(f"a module must begin with {HEADER!r}. Got {module[: len(HEADER)]!r}.")
    reader = Reader(module[len(HEADER) :])
    sections = []
    while reader.more:
        number = reader.byte()
        sections.append(Section(number, reader.sized()))
    return sections


def module_of(sections: Iterable[Section]) -> bytes:
    """The module that consists of these sections."""
    return HEADER + b"".join(bytes([number]) + sized(content) for number, content in sections)
