"""Calls of the forward kernel, prepared once and run many times.

Each state has two buffers. A call reads one and writes the other, then they swap. So no unit reads a state
that another unit has already replaced, and a step that is interrupted leaves the states unchanged.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple, final

from gatewise.compiler.run.program import Program
from gatewise.runtime.arrays import Array, address, aligned
from gatewise.runtime.stack import Stack


@final
class Call:
    """A prepared call of the kernel; `run` makes it. The caller keeps the memory of its fields alive."""

    def __init__(self, program: Program, fields: Mapping[str, int]) -> None:
        self._fields = program.arguments.fill(fields)
        self._place = {name: n for n, name in enumerate(program.arguments.names)}
        # ctypes need not convert arguments that have its own types, which saves 0.1 microseconds.
        whole = ctypes.byref(self._fields), ctypes.c_int64(0), ctypes.c_int64(1)
        self.run = partial(program.part, *whole)

    def set(self, **fields: int) -> None:
        """Change some fields."""
        for name, value in fields.items():
            self._fields[self._place[name]] = value


class Memory(NamedTuple):
    """The memory of one stream.

    Attributes:
        x: the input of a step, ``[B, I]``.
        states: both buffers of each state by name, ``[2, L, B, H]`` (the output ``[2, L, B, P]``).
        between: the outputs of all layers but the last over a block of N steps, ``[L-1, N, B, P]``.
        gates: the gates of a block, ``[N, B, .]``.
        joined: input and state of a step side by side, ``[B, I + P]``.
        scratch: working memory of the kernel, by its names.
    """

    x: Array
    states: dict[str, Array]
    between: Array
    gates: Array
    joined: Array
    scratch: dict[str, Array]


def memory_of(stack: Stack, B: int) -> Memory:
    """Uninitialised memory for B rows. A block has as many steps as fit into the cache."""
    L, H, P, plan = stack.L, stack.H, stack.P, stack.kernels.plan
    N = stack.kernels.chunk(B, H, threads=1)
    shapes = {"x": (B, stack.I), "between": (L - 1, N, B, P), "gates": (N, B, plan.gates * H)}
    shapes["joined"] = (B, max(stack.I, P) + P)
    states = {name: (2, L, B, width) for name, width in stack.widths.items()}
    sizes = stack.kernels.forward_scratch(B, H, P) | {"means": B * len(plan.forward.means)}
    scratch = {name: (size,) for name, size in sizes.items()}
    return Memory(
        **aligned(shapes, stack.dtype),
        states=aligned(states, stack.dtype), scratch=aligned(scratch, stack.dtype),
    )  # fmt: skip


def step_call(stack: Stack, memory: Memory, layer: int, turn: int) -> Call:
    """One step of a layer, from the states in buffer `turn` to the other buffer."""
    return Call(stack.program, _fields(stack, memory, layer, turn, T=1))


def block_call(stack: Stack, memory: Memory, layer: int, turn: int) -> Call:
    """A block of steps of a layer. To be set later: ``T``, ``x`` of the first layer, output of the last."""
    fields = _fields(stack, memory, layer, turn, T=len(memory.gates))
    output = f"out_{stack.cell.states[0]}"
    fields[f"{output}.t"] = fields["B"] * stack.P
    if layer > 0:
        fields["x"] = address(memory.between[layer - 1])
    if layer < stack.L - 1:
        fields[output] = address(memory.between[layer])
    return Call(stack.program, fields)


def _fields(stack: Stack, memory: Memory, layer: int, turn: int, T: int) -> dict[str, int]:
    x = memory.states[stack.cell.states[0]][1 - turn, layer - 1] if layer else memory.x
    N, B, width = memory.gates.shape
    means = len(stack.kernels.plan.forward.means)
    fields = stack.fields[layer] | {
        "T": T, "B": B, "chunk": N, "x": address(x), "x.t": x.size, "x.b": x.shape[1],
        "gates": address(memory.gates), "gates.t": B * width, "gates.b": width,
        "means.t": 0, "means.b": means, **{name: address(room) for name, room in memory.scratch.items()},
    }  # fmt: skip
    if stack.kernels.joins(T, B):
        fields["joined"] = address(memory.joined)
    for name, places in memory.states.items():
        before, after, width = places[turn, layer], places[1 - turn, layer], places.shape[-1]
        fields |= {f"init_{name}": address(before), f"init_{name}.b": width}
        # The stride over time is 0 by default: every step writes to the same place, so the last one remains.
        fields |= {f"out_{name}": address(after), f"out_{name}.b": width}
    return fields
