"""Replaces the kernels of this machine by kernels that run in a browser.

Each call copies the memory around the addresses in its fields into the browser, runs the kernel there, and
copies back what the kernel changed.
"""

from __future__ import annotations

import base64
import ctypes
import zlib
from bisect import bisect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from gatewise.compiler.emit.arguments import Arguments
from gatewise.compiler.emit.target import Target
from gatewise.compiler.run import program
from gatewise.compiler.run.host import host
from gatewise.compiler.run.program import CompiledCell, Kernel, Program
from gatewise.compiler.wasm.modules import module
from tests.compiler.problems import Array

if TYPE_CHECKING:
    from playwright.sync_api import Page

MAPS = Path("/proc/self/maps")
STACK = 1 << 20
BEFORE, AFTER = 1 << 14, 3 << 15  # bytes before and after an address that a kernel may touch
GAP = 4096  # bytes between pieces of memory, which no kernel may touch
_TABLES = ("rows_ih", "rows_hh")  # arrays of addresses


class Machine:
    """A page that runs kernels."""

    def __init__(self, page: Page) -> None:
        page.add_script_tag(path=Path(__file__).with_name("machine.js"))
        self._page = page
        self._loaded: set[str] = set()
        self.calls = 0

    def call(self, name: str, code: bytes, entry: str, image: bytes, values: Sequence[int]) -> bytes:
        """The image of memory after a call."""
        if name not in self._loaded:
            self._page.evaluate("([name, code]) => load(name, code)", [name, _text(code)])
            self._loaded.add(name)
        self.calls += 1
        changed: list[tuple[int, str]] = self._page.evaluate(
            "(values) => call(...values)",
            # Compressed: the way into the browser costs more than the kernel. Most of the image repeats.
            [name, entry, _text(zlib.compress(image, 1)), STACK, list(map(str, values))],
        )
        after = bytearray(image)
        for at, text in changed:
            part = base64.b64decode(text)
            after[at : at + len(part)] = part
        return bytes(after)

    def described(self, code: bytes) -> tuple[list[list[str]], list[list[str]]]:
        """The imports and the exports of a module, each a name and a kind."""
        imports, exports = self._page.evaluate("(code) => describe(code)", _text(code))
        return imports, exports


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


@dataclass
class _Block:
    """A piece of this process's memory, and where it lies in the image."""

    start: int
    end: int
    place: int = 0

    @property
    def bytes(self) -> Array:
        return np.ctypeslib.as_array((ctypes.c_uint8 * (self.end - self.start)).from_address(self.start))


def writable() -> list[tuple[int, int]]:
    """The ranges of memory that this process reads and writes.

    The system lists a range in parts if their pages differ, for example in size; an array may lie in several.
    """
    lines = (line.split() for line in MAPS.read_text(encoding="utf-8").splitlines())
    parts = (range_.split("-") for range_, rights, *_ in lines if rights.startswith("rw"))
    ranges: list[tuple[int, int]] = []
    for start, end in sorted((int(start, 16), int(end, 16)) for start, end in parts):
        if ranges and ranges[-1][1] == start:
            ranges[-1] = ranges[-1][0], end
        else:
            ranges.append((start, end))
    return ranges


def _blocks(addresses: Sequence[int], writable: list[tuple[int, int]]) -> list[_Block]:
    """The memory around some addresses, in order."""
    blocks: list[_Block] = []
    for address in sorted(addresses):
        start, end = writable[bisect(writable, (address, 1 << 64)) - 1]
        block = _Block(max(start, address - BEFORE), min(end, address + AFTER))
        if blocks and block.start <= blocks[-1].end:
            blocks[-1].end = max(block.end, blocks[-1].end)
        else:
            blocks.append(block)
    return blocks


@dataclass
class _Call:
    """A call in the browser, with the fields at an address."""

    arguments: Arguments
    array: int

    def run(self, machine: Machine, name: str, code: bytes, entry: str, values: Sequence[int]) -> None:
        numbers = (ctypes.c_int64 * len(self.arguments.names)).from_address(self.array)
        fields = dict(zip(self.arguments.names, numbers, strict=True))
        self.writable = writable()
        tables = {name: self._table(fields, name) for name in _TABLES if fields.get(name)}
        addresses = [v for v in fields.values() if self._is_address(v)]
        addresses += [int(a) for table in tables.values() for a in table]
        blocks = _blocks(addresses, self.writable)
        place = STACK + 8 * len(fields)
        gaps = []
        for block in blocks:
            gaps.append(slice(place - STACK, place - STACK + GAP))
            block.place = place = -(-(place + GAP) // 64) * 64
            place += block.end - block.start
        image = np.zeros(place - STACK, np.uint8)
        for block in blocks:
            image[block.place - STACK :][: block.end - block.start] = block.bytes
        self.blocks = blocks
        for field, table in tables.items():
            there = self._there(fields[field]) - STACK
            image[there : there + table.nbytes] = np.array([self._there(int(a)) for a in table]).view(
                np.uint8
            )
        moved = [self._there(v) if self._is_address(v) else v for v in fields.values()]
        image[: 8 * len(moved)] = np.array(moved, np.int64).view(np.uint8)
        after = np.frombuffer(machine.call(name, code, entry, image.tobytes(), values), np.uint8)
        assert not any(after[gap].any() for gap in gaps), "an array is larger than what was sent"
        for block in blocks:
            part = slice(block.place - STACK, block.place - STACK + block.end - block.start)
            changed = after[part] != image[part]
            block.bytes[changed] = after[part][changed]

    def _is_address(self, value: int) -> bool:
        at = bisect(self.writable, (value, 1 << 64)) - 1
        return at >= 0 and self.writable[at][0] <= value < self.writable[at][1]

    def _there(self, address: int) -> int:
        block = next(block for block in self.blocks if block.start <= address < block.end)
        return address - block.start + block.place

    def _table(self, fields: dict[str, int], name: str) -> Array:
        count = fields["T"] * fields["B"]
        return np.ctypeslib.as_array((ctypes.c_int64 * count).from_address(fields[name]))


def _program(machine: Machine, target: Target, kernels: CompiledCell, name: str, kernel: Kernel) -> Program:
    code = module(name, kernel, kernels.number, target)
    known = f"{name} {kernels.number.name} {target.key} {kernel.key}"

    def run(array: Any, *values: int, entry: str = "run") -> None:
        _Call(kernel.arguments, array).run(machine, known, code, entry, values)

    made = object.__new__(Program)
    made.arguments = kernel.arguments
    made._run, made.prepare, made.part = (partial(run, entry=e) for e in ("run", "prepare", "part"))
    return kernels._programs.setdefault(name, made)


@contextmanager
def in_browser(machine: Machine, target: Target) -> Iterator[None]:
    """Inside this context, kernels are made for `target` and run in the browser."""

    def load(kernels: CompiledCell, name: str, kernel: Kernel) -> Program:
        return _program(machine, target, kernels, name, kernel)

    def like_target(lanes: int = 0) -> Target:
        return replace(host(), vector_bits=target.vector_bits, lanes=lanes)

    before = machine.calls
    program._compiled.cache_clear()
    with mock.patch.object(program, "host", like_target), mock.patch.object(CompiledCell, "_load", load):
        yield
    program._compiled.cache_clear()
    assert machine.calls > before
