"""Compiles arithmetic on vectors into a function of NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gatewise.compiler.emit import entry
from gatewise.compiler.emit.arguments import Arguments, Fields
from gatewise.compiler.emit.number import NUMBERS
from gatewise.compiler.emit.tiles import Tiles
from gatewise.compiler.emit.vector import Code, Value, i64
from gatewise.compiler.run.host import host
from gatewise.compiler.run.program import Program
from tests.compiler.problems import Array
from tests.compiler.running import Memory

Build = Callable[..., tuple[Value, ...]]  # of the code and a vector for each input


@dataclass
class _Body:
    """The body of the compiled function: it packs no weights, and maps input vectors to output vectors."""

    build: Build
    inputs: list[str]
    outputs: list[str]

    def pack(self, code: Code, f: Fields, share: entry.Share) -> None:
        pass

    def walk(self, code: Code, f: Fields, array: Value, work: entry.Work) -> None:
        first, last = work.rows
        whole = code.b.add(first, code.b.and_(code.b.sub(last, first), i64(-code.width)))
        with code.loop(first, whole, i64(code.width)) as at:
            self._vectors(code, f, at, None)
        with code.b.if_then(code.b.icmp_signed("<", whole, last)):
            self._vectors(code, f, whole, code.first(code.b.sub(last, whole)))

    def _vectors(self, code: Code, f: Fields, at: Value, mask: Value | None) -> None:
        values = self.build(code, *(code.load(code.at(f.pointer(name), at), mask) for name in self.inputs))
        for name, value in zip(self.outputs, values, strict=True):
            code.store(value, code.at(f.pointer(name), at), mask)


def mapped(
    build: Build, inputs: int, outputs: int, dtype: str, width: int | None = None
) -> Callable[..., list[Array]]:
    """Compile `build` as kernels do: it works on full vectors, then on a masked one."""
    number = NUMBERS[dtype]
    names = [f"x{k}" for k in range(inputs)], [f"y{k}" for k in range(outputs)]
    arguments = Arguments([*entry.FIELDS, "n", *names[0], *names[1]])
    tiles = Tiles("map", number, host(width))
    entry.write_entries(tiles, arguments, _Body(build, *names), rows="n")
    text = str(tiles.module)
    program = Program(text, arguments, lambda: text)

    def function(*values: Array, threads: int = 1) -> list[Array]:
        memory = Memory(dtype)
        given = [memory.copy(np.atleast_1d(value)) for value in values]
        results = [memory.array(*given[0].shape) for _ in names[1]]
        arrays = dict(zip(names[0] + names[1], given + results, strict=True))
        fields = {name: array.ctypes.data for name, array in arrays.items()}
        program(threads, {"n": given[0].size, **fields})
        memory.check()
        return results

    return function
