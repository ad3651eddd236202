"""What all plain calls of one layer with the same shapes have in common."""

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
    """The shapes of arguments and results.

    Attributes:
        x: that of the input, as the caller passes it.
        output: that of the output; None for a single step, which only returns states.
        states: those of the final states, and of the initial states if they are given.
        weights: those of the weights, by parameter name, in the order of `Weights.flat`.
    """

    x: torch.Size
    output: torch.Size | None
    states: tuple[torch.Size, ...]
    weights: Mapping[str, torch.Size]

    @property
    def results(self) -> list[torch.Size]:
        """The shapes of the results."""
        return [*self.states] if self.output is None else [self.output, *self.states]


@final
class Tape(NamedTuple):
    """The layout of the tensor ``[size]`` with everything that is saved for backward.

    Attributes:
        offsets: the offset of the array of each field, in bytes.
        outputs: the offset of the outputs, in bytes.
        size: the number of elements.
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
        walk: the walk, with empty tensors.
        sizes: T, B, I, H and P.
        shapes: the shapes of the tensors.
        dtype: the type of all tensors.
        kernels: the kernels of the cell for this type.
        key: the key of layouts, without options.
        zeros: zeros that kernels read for every row, if there are no initial states or no output gradient.
        tape: the layout of the tensor that is saved for backward.
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
        """The strides of time and batch of a contiguous sequence of this width."""
        T, B = self.sizes[:2]
        return (width, T * width) if self.walk.batch_first else (B * width, width)

    def layout(self, find: Find, *options: bool) -> Layout:
        """The layout of a kernel call."""
        return layout(self.kernels, self.key._replace(options=options), find)

    def prepared(self, found: Layout, more: Mapping[str, int]) -> Prepared:
        """A prepared kernel call, with fields in addition to those of its layout."""
        fields = {**found.fields, **more}
        if self.walk.states is None:
            fields |= {f"init_{name}": self.zeros.data_ptr() for name in self.walk.cell.states}
        return Prepared(found.program, fields, found.scratch, found.room, found.team.threads)

    def new_tape(self, like: Tensor) -> Tensor:
        """A new tensor for everything that is saved for backward."""
        return like.new_empty(self.tape.size)
