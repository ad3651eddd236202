"""Turns an object file of LLVM into a module that can be loaded: relocations are applied, functions exported.

An object file of WebAssembly is a module with custom sections for the linker: ``linking`` has the symbols,
``reloc.CODE`` the places in the code that refer to one. They are specified in
https://github.com/WebAssembly/tool-conventions/blob/main/Linking.md, to whose sections the comments refer.
A kernel is one object that refers to nothing outside but its memory, its stack and its table of functions.
So all that a linker has to do is here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gatewise.compiler.wasm.binary import (
    CODE,
    CUSTOM,
    DATA,
    ELEMENTS,
    EXPORT,
    FUNCTION,
    IMPORT,
    FormatError,
    Reader,
    Section,
    module_of,
    padded,
    sections_of,
    sized,
    unsigned,
)

IMPORTS = ("__linear_memory", "__stack_pointer", "__indirect_function_table")
_VERSION, _SYMBOL_TABLE = 2, 8  # "Linking Metadata Section"
# "Symbol Table Subsection": kinds and flags of symbols
_FUNCTIONS, _DATA, _GLOBALS, _SECTIONS, _TAGS, _TABLES = range(6)
_UNDEFINED, _EXPLICIT_NAME = 0x10, 0x40
# "Relocation Sections": kinds of relocations
_FUNCTION_INDEX, _TABLE_INDEX, _TYPE_INDEX, _GLOBAL_INDEX, _TABLE_NUMBER = 0, 1, 6, 7, 20


class LinkError(FormatError):
    """Raised for an object that cannot become a module."""


class Symbol(NamedTuple):
    """A symbol; `number` is that of the function, the global or the table."""

    kind: int
    number: int
    name: str
    defined: bool


class Relocation(NamedTuple):
    """A place in the content of a section, and the number of the symbol or type that belongs there."""

    kind: int
    offset: int
    what: int


def linked(image: bytes, functions: Iterable[str]) -> bytes:
    """The module of an object file, which exports `functions`.

    It imports ``env.__linear_memory``, ``env.__stack_pointer`` and ``env.__indirect_function_table``.

    Raises:
        LinkError: the object imports something else, has data, or does not have one of the functions.
    """
    sections = sections_of(image)
    custom = dict(map(_named, (s.content for s in sections if s.number == CUSTOM)))
    symbols = symbols_of(custom["linking"])
    _check(sections, symbols)
    slots = _slots({s.number: s.content for s in sections}.get(ELEMENTS, b"\0"))
    result = []
    exports = Section(EXPORT, _exports(symbols, functions))
    for number, content in sections:
        # The sections before the exports have smaller numbers.
        if number > EXPORT and exports not in result:
            result.append(exports)
        if number == CODE:
            content = _relocated(content, relocations_of(custom.get("reloc.CODE", b"\0\0")), symbols, slots)
        if number != CUSTOM:
            result.append(Section(number, content))
    return module_of(result)


def symbols_of(content: bytes) -> list[Symbol]:
    """The symbols of the section ``linking``, in order.

    Raises:
        LinkError: it is of another version, or has a symbol of a kind that kernels do not have.
    """
    reader = Reader(content)
    version = reader.unsigned()
    if version != _VERSION:
        raise LinkError(f"the section 'linking' must have version {_VERSION}. Got {version}.")
    symbols: list[Symbol] = []
    while reader.more:
        kind, part = reader.byte(), Reader(reader.sized())
        if kind == _SYMBOL_TABLE:
            symbols += [_symbol(part) for _ in range(part.unsigned())]
    return symbols


def _symbol(reader: Reader) -> Symbol:
    kind, flags = reader.byte(), reader.unsigned()
    if kind not in (_FUNCTIONS, _GLOBALS, _TABLES):
        raise LinkError(f"a symbol must be a function, a global or a table. Got kind {kind}.")
    number, defined = reader.unsigned(), not flags & _UNDEFINED
    # An imported symbol has the name of its import, which is not repeated.
    name = reader.name() if defined or flags & _EXPLICIT_NAME else ""
    return Symbol(kind, number, name, defined)


def relocations_of(content: bytes) -> list[Relocation]:
    """The relocations of a section ``reloc.*``.

    Raises:
        LinkError: there is one of a kind that kernels do not have.
    """
    reader = Reader(content)
    reader.unsigned()  # the section that they belong to
    found = [Relocation(reader.byte(), *_two(reader)) for _ in range(reader.unsigned())]
    known = (_FUNCTION_INDEX, _TABLE_INDEX, _TYPE_INDEX, _GLOBAL_INDEX, _TABLE_NUMBER)
    for relocation in found:
        if relocation.kind not in known:
            raise LinkError(f"a relocation must be of a kind of {known}. Got {relocation.kind}.")
    return found


def _two(reader: Reader) -> tuple[int, int]:
    return reader.unsigned(), reader.unsigned()


def _named(content: bytes) -> tuple[str, bytes]:
    """The name of a custom section, and the rest."""
    reader = Reader(content)
    return reader.name(), content[reader.at :]


def _check(sections: list[Section], symbols: list[Symbol]) -> None:
    for number, content in sections:
        if number == DATA:
            raise LinkError("an object must not have data.")
        if number == IMPORT:
            for name in _imports(content):
                if name not in IMPORTS:
                    raise LinkError(f"an object may import {', '.join(IMPORTS)}. Got {name!r}.")
    undefined = [s for s in symbols if s.kind == _FUNCTIONS and not s.defined]
    if undefined:
        raise LinkError(f"an object must define the functions that it calls. Got {undefined[0]}.")


def _imports(content: bytes) -> list[str]:
    """The names of the imports. It stops at the first function, since no object may import one."""
    reader, names = Reader(content), []
    for _ in range(reader.unsigned()):
        reader.name()  # of the module
        names.append(reader.name())
        kind = reader.byte()
        if kind == FUNCTION:
            break
        _skip(reader, kind)
    return names


def _skip(reader: Reader, kind: int) -> None:
    """Skip the type of an imported table, memory or global."""
    if kind == 1:  # a table: the type of its elements, then limits
        reader.byte()
    if kind == 3:  # a global: its type, and whether it is mutable
        reader.take(2)
        return
    if reader.byte() & 1:  # limits with a maximum
        reader.unsigned()
    reader.unsigned()


def _slots(content: bytes) -> dict[int, int]:
    """The place of each function in the table: function -> slot. An object has one run of functions."""
    reader = Reader(content)
    slots: dict[int, int] = {}
    for _ in range(reader.unsigned()):
        flags, start, end = reader.unsigned(), reader.take(2), reader.byte()
        if flags or start[0] != 0x41 or start[1] > 63 or end != 0x0B:  # i32.const start; end
            raise LinkError("functions in the table must begin at a small constant.")
        slots |= {reader.unsigned(): start[1] + n for n in range(reader.unsigned())}
    return slots


def _exports(symbols: list[Symbol], functions: Iterable[str]) -> bytes:
    defined = {s.name: s.number for s in symbols if s.kind == _FUNCTIONS and s.defined}
    exports = []
    for name in functions:
        if name not in defined:
            raise LinkError(f"an object must define {name!r}. Got {', '.join(defined)}.")
        exports.append(sized(name.encode()) + bytes([FUNCTION]) + unsigned(defined[name]))
    return unsigned(len(exports)) + b"".join(exports)


def _relocated(
    content: bytes, relocations: list[Relocation], symbols: list[Symbol], slots: dict[int, int]
) -> bytes:
    """The code with final indices. An index always takes 5 bytes, so the code keeps its length."""
    code = bytearray(content)
    for kind, offset, what in relocations:
        value = what if kind == _TYPE_INDEX else symbols[what].number
        if kind == _TABLE_INDEX:
            value = slots[value]
        code[offset : offset + 5] = padded(value)
    return bytes(code)
