"""Layouts: everything that calls with tensors of the same sizes have in common, except addresses.

Computing a layout takes longer than running a small kernel. So it is computed once for each `Key`, and cached
with the kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, final

from gatewise.compiler.emit.arguments import Blank
from gatewise.compiler.run.program import CompiledCell, Program, Team, room, split
from gatewise.language import Cell
from gatewise.runtime.arrays import Shape
from gatewise.runtime.weights import shapes

_MOST = 32  # the most cached layouts of a cell's kernels; each has about 8 kB


class Sizes(NamedTuple):
    """The numbers of steps, rows, inputs and units, and the width of the output."""

    T: int
    B: int
    I: int
    H: int
    P: int


@final
class Key(NamedTuple):
    """Everything that a layout depends on, besides the kernels.

    Attributes:
        options: the flags of the kind of call (forward or backward).
        sizes: T, B, I, H and P.
        strides: the strides of x.
        threads: the number of threads.
        reverse, batch_first: as in the walk.
        packed: whether rows have different lengths, so that internal arrays are packed.
        padded: whether x, output and recorded values are padded while everything internal is packed.
        biased: whether the gates have biases.
        given: whether initial states are given.
        resets: whether there is a reset mask.
    """

    options: tuple[bool, ...]
    sizes: Sizes
    strides: tuple[int, ...]
    threads: int
    reverse: bool
    batch_first: bool
    packed: bool
    padded: bool
    biased: bool
    given: bool
    resets: bool

    def way(self, width: int) -> Way:
        """The strides of a new sequence of this width, in the layout of x."""
        if self.packed:
            return Way(0, 1, width)
        T, B = self.sizes[:2]
        return self.along(*((width, T * width) if self.batch_first else (B * width, width)))

    def along(self, t: int, b: int) -> Way:
        """The walk's start and strides in a sequence with these strides of time and batch."""
        return Way((self.sizes.T - 1) * t, -t, b) if self.reverse else Way(0, t, b)

    def way_of_x(self) -> Way:
        """The walk's start and strides in x."""
        if self.packed and not self.padded:
            return Way(0, 1, self.strides[0])
        return self.along(*(self.strides[:2][::-1] if self.batch_first else self.strides[:2]))


class Way(NamedTuple):
    """The start of a walk in a sequence, and its strides of time and batch, in elements."""

    first: int
    t: int
    b: int


@final
class Layout(NamedTuple):
    """The arguments of a kernel call with tensors of some sizes, without addresses.

    Attributes:
        sizes: T, B, I, H and P.
        team: the threads.
        chunk: the number of steps whose input products are computed together.
        program: the kernel.
        fields: all its fields, without addresses.
        given: for each tensor of a call after x, the name of its field, or None if the kernel has none.
        names, shapes: the names of these tensors, and the shapes in which the kernel reads them.
        ways: the start (in bytes) and the strides of the walk in each sequence.
        scratch: the offset of each array in scratch memory, in bytes.
        room: the number of elements of scratch memory.
    """

    sizes: Sizes
    team: Team
    chunk: int
    program: Program
    fields: Blank
    given: tuple[str | None, ...]
    names: tuple[str, ...]
    shapes: list[Shape]
    ways: Mapping[str, Way]
    scratch: Mapping[str, int]
    room: int


class Parts(NamedTuple):
    """The parts of a layout that depend on the kind of call.

    These are the kernel, the steps of a chunk, further fields, the strides of sequences, and the number of
    elements of each array in scratch memory.
    """

    program: Program
    chunk: int
    fields: dict[str, int]
    ways: dict[str, Way]
    scratch: dict[str, int]


Find = Callable[[CompiledCell, Key, Team, int], Parts]


def layout(kernels: CompiledCell, key: Key, find: Find) -> Layout:
    """The cached layout for `key`, or a new one from the parts that `find` returns."""
    known = kernels.layouts.get((find, key))
    if known is None:
        if len(kernels.layouts) >= _MOST:
            kernels.layouts.clear()
        known = kernels.layouts[find, key] = _lay_out(kernels, key, find)
    return known


def _lay_out(kernels: CompiledCell, key: Key, find: Find) -> Layout:
    cell, (T, B, I, H, P), itemsize = kernels.plan.cell, key.sizes, kernels.number.bytes
    team = kernels.team(key.threads, T, B, I, H, key.packed)
    chunk = min(T, kernels.chunk(B, H, team.rows_apart))
    widths = dict.fromkeys(cell.states, H) | {cell.states[0]: P}
    parts = find(kernels, key, team, chunk)
    fields = {"T": T, "B": B, "I": I, "H": H, "P": P, "chunk": chunk, "by_units": int(team.by_units)}
    for name, width in widths.items():
        fields |= {f"init_{name}.b": width if key.given else 0}
        fields |= {f"restart_{name}.b": width}
    for name in parts.ways.keys() & set(parts.program.arguments.names):  # backward has no field for x
        fields |= {f"{name}.t": parts.ways[name].t, f"{name}.b": parts.ways[name].b}
    scratch = parts.scratch
    if key.packed or key.resets:
        scratch |= {f"entering_{name}": B * width for name, width in widths.items()}
    blank = parts.program.arguments.blank(fields | parts.fields)
    names, expected = zip(*given(cell, key), strict=True)
    return Layout(
        key.sizes, team, parts.chunk, parts.program, blank,
        tuple(name if name in blank else None for name in names), names, list(expected),
        {name: way._replace(first=way.first * itemsize) for name, way in parts.ways.items()},
        split(0, scratch, itemsize), room(scratch, itemsize),
    )  # fmt: skip


def given(cell: Cell, key: Key) -> Iterator[tuple[str, Shape]]:
    """The field and the shape of each tensor of a call after x, in the order of `Walk.arguments`."""
    _, B, I, H, P = key.sizes
    shaped = shapes(cell, I, H, key.biased, P if cell.projects else 0)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        if name in shaped:
            yield _field(name), shaped[name]
    yield from ((f"vector_{name}", (H,)) for name in cell.vectors)
    for name in ("weight_hr", "weight_linear", "bias_linear"):
        if name in shaped:
            yield _field(name), shaped[name]
    if key.given:
        yield from ((f"init_{name}", (B, H if n else P)) for n, name in enumerate(cell.states))


def _field(weight: str) -> str:
    """The field of a weight: "w_ih" of "weight_ih"."""
    kind, _, side = weight.partition("_")
    return f"{kind[0]}_{side}"
