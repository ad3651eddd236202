"""Any arithmetic on vectors, compiled into a function of NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gatewise.compiler.emit import entry
from gatewise.compiler.emit.arguments import Arguments, Fields
from gatewise.compiler.emit.matrix import Tiles
from gatewise.compiler.emit.vector import NUMBERS, Code, Value, i64
from gatewise.compiler.run.host import host
from gatewise.compiler.run.program import Program
from tests.compiler.problems import Array
from tests.compiler.running import Memory

Build = Callable[..., tuple[Value, ...]]  # the code and a vector for each input -> a vector for each output


def mapped(
    build: Build, inputs: int, outputs: int, dtype: str, width: int | None = None
) -> Callable[..., list[Array]]:
    """The function that applies `build`, as kernels do: whole vectors, then a masked one."""
    number = NUMBERS[dtype]
    names = [f"x{k}" for k in range(inputs)], [f"y{k}" for k in range(outputs)]
    arguments = Arguments([*entry.FIELDS, "n", *names[0], *names[1]])
    tiles = Tiles("map", number, host().width(number) if width is None else width, host().registers)

    def body(code: Code, f: Fields, _: Value, work: entry.Work) -> None:
        first, last = work.rows
        whole = code.b.add(first, code.b.and_(code.b.sub(last, first), i64(-code.width)))
        with code.loop(first, whole, i64(code.width)) as at:
            vectors(code, f, at, None)
        with code.b.if_then(code.b.icmp_signed("<", whole, last)):
            vectors(code, f, whole, code.first(code.b.sub(last, whole)))

    def vectors(code: Code, f: Fields, at: Value, mask: Value | None) -> None:
        values = build(code, *(code.load(code.at(f.pointer(name), at), mask) for name in names[0]))
        for name, value in zip(names[1], values, strict=True):
            code.store(value, code.at(f.pointer(name), at), mask)

    entry.write_entries(tiles, arguments, lambda code, f, share: None, body, split="n")
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
