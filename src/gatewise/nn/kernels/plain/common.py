"""What is the same in all plain calls of one layer for tensors of some shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, final

import torch
from torch import Tensor

from gatewise.compiler.run.program import CompiledCell, compiled, room, split
from gatewise.language import Cell
from gatewise.nn.kernels.layout import Find, Key, Layout, Sizes, layout
from gatewise.nn.kernels.prepared import Prepared
from gatewise.nn.walk.obstacles import COMPILED
from gatewise.nn.walk.walk import Walk


@final
class Shapes(NamedTuple):
    """The shapes of the tensors that go in and come out.

    Attributes:
        x: the input as it is given.
        output: the output; None for a single step, which gives its states alone.
        states: the final states, and the initial ones where they are given.
        weights: by the names of the parameters, in the order of `Weights.flat`.
    """

    x: torch.Size
    output: torch.Size | None
    states: tuple[torch.Size, ...]
    weights: Mapping[str, torch.Size]

    @property
    def results(self) -> list[torch.Size]:
        """The shapes of what a call gives."""
        return [*self.states] if self.output is None else [self.output, *self.states]


@final
class Tape(NamedTuple):
    """What backward reads, in one tensor ``[size]``.

    Attributes:
        offsets: where the array of each field begins, in bytes.
        outputs: where the outputs begin, in bytes.
        size: how many elements it has.
    """

    offsets: Mapping[str, int]
    outputs: int
    size: int

    @classmethod
    def of(cls, cell: Cell, sizes: Sizes, kernels: CompiledCell) -> Tape:
        """The tape of calls of these sizes."""
        plan, (T, B, _, H, P) = kernels.plan, sizes
        output, *behind = cell.states
        widths = {"gates": plan.gates * H, "means": len(plan.forward.means)} if plan.keeps else {}
        widths |= {f"out_{output}": P} | {f"out_{state}": H for state in behind}
        elements = {name: T * B * width for name, width in widths.items()}
        itemsize = kernels.number.bytes
        offsets = split(0, elements, itemsize)
        return cls(offsets, offsets[f"out_{output}"], room(elements, itemsize))


@final
class Common:
    """What forward and backward have in common.

    Attributes:
        walk: what is asked, without tensors.
        sizes: T, B, I, H and P.
        shapes: of the tensors.
        dtype: of all of them.
        kernels: of the cell for that type.
        key: of the layouts, but for their options.
        zeros: read for every row where the initial states, or the gradient of the output, are not given.
        tape: what forward saves for backward.
        single: whether calls are single steps.
    """

    def __init__(self, walk: Walk, sizes: Sizes, shapes: Shapes, dtype: torch.dtype, threads: int) -> None:
        self.walk, self.sizes, self.shapes, self.dtype = walk, sizes, shapes, dtype
        self.kernels = compiled(walk.cell, COMPILED[dtype])
        self.single = shapes.output is None
        I, H, P = sizes[2:]
        t, b = self.strides(I)
        self.key = Key(
            (), sizes, (b, t, 1) if walk.batch_first else (t, b, 1), threads, walk.reverse, walk.batch_first,
            packed=False, padded=False, biased=walk.biased, given=walk.states is not None, resets=False,
        )  # fmt: skip
        self.zeros = torch.zeros(self.kernels.padded(max(I, H, P)), dtype=dtype, device="cpu")
        self.tape = Tape.of(walk.cell, sizes, self.kernels)

    def strides(self, width: int) -> tuple[int, int]:
        """Of time and batch, of a sequence in one piece of memory, so wide."""
        T, B = self.sizes[:2]
        return (width, T * width) if self.walk.batch_first else (B * width, width)

    def layout(self, find: Find, *options: bool) -> Layout:
        """The layout of a kernel's call."""
        return layout(self.kernels, self.key._replace(options=options), find)

    def prepared(self, found: Layout, more: Mapping[str, int]) -> Prepared:
        """A kernel's call with `more` fields than its layout has."""
        fields = {**found.fields, **more}
        if self.walk.states is None:
            fields |= {f"init_{name}": self.zeros.data_ptr() for name in self.walk.cell.states}
        return Prepared(found.program, fields, found.scratch, found.room, found.team.threads)

    def new_tape(self, like: Tensor) -> Tensor:
        """Memory for what backward reads."""
        return like.new_empty(self.tape.size)
