"""Calls of kernels with tensors.

Kernels get tensors as addresses and strides, without copies or transpositions. `batch_first` only changes
strides, and the second direction of a layer is the same kernel with negative time strides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor

from gatewise.compiler.emit.arguments import Blank
from gatewise.compiler.run.huge_pages import prefer_huge_pages
from gatewise.compiler.run.program import Team, compiled, worth
from gatewise.compiler.run.threads import available
from gatewise.nn.kernels.layout import Find, Key, Sizes, Way, layout
from gatewise.nn.kernels.scratch import in_rows, scratch, whole, zeros
from gatewise.nn.walk.listening import KernelCall, here
from gatewise.nn.walk.obstacles import COMPILED
from gatewise.nn.walk.storage import is_stored
from gatewise.nn.walk.walk import Walk, Weights

_SMALL_WEIGHTS = 1 << 20  # bytes: so many fit into the second-level cache of each thread


class Problem:
    """A kernel call for a walk, to be passed to `run`.

    Args:
        walk: the walk.
        options: the flags of this kind of call that are part of the layout's key (see `Key`).
    """

    find: Find

    def __init__(self, walk: Walk, *options: bool) -> None:
        self.walk = walk
        self.told: KernelCall | None = None  # the facts that listeners got
        x, *others = walk.arguments
        self.x = in_rows(x)
        self.others = [whole(tensor) for tensor in others]
        self.cell = compiled(walk.cell, COMPILED[x.dtype])
        self.packed = walk.packed_steps
        # The shape of sequences without the last axis: steps and rows, or packed places.
        self._steps_and_rows = self.x.shape[:-1] if walk.padding is None else (walk.padding.size,)
        self.layout = layout(self.cell, self._key(options), type(self).find)
        self.T, self.B, self.I, self.H, self.P = self.layout.sizes
        if [tensor.shape for tensor in self.others] != self.layout.shapes:
            self._refuse_shapes()
        self.fields = Blank(self.layout.fields)
        for name, tensor in zip(self.layout.given, self.others, strict=True):
            if name is not None:
                self.fields[name] = tensor.data_ptr()
        self.zeros = zeros(self.cell.padded(max(self.I, self.H)), self.x)
        if walk.chance is not None:
            self.fields |= walk.chance._asdict()
        if walk.states is None:
            self._give_states("init", ())
        if self.packed is not None:
            for name in ("starts", "counts"):
                self.fields[name] = getattr(self.packed, name).ctypes.data
            self.fields |= {"rows": walk.padding.order.data_ptr()} if walk.padding else {}
        if walk.reset is not None:
            self._give_resets(walk.reset)
            self._give_states("restart", walk.restart or self.states)
        # Directions or layers that run side by side use scratch memory of different lanes.
        self.scratch = scratch(self.layout.room, self.x, lane=2 * walk.layer + walk.reverse)
        at = self.scratch.data_ptr()
        for name, place in self.layout.scratch.items():
            self.fields[name] = at + place

    def _key(self, options: tuple[bool, ...]) -> Key:
        walk = self.walk
        T, B = walk.steps_and_rows
        sizes = Sizes(T, B, walk.x.size(-1), walk.units, walk.weights.weight_hh.size(1))
        return Key(
            options, sizes, self.x.stride(), available(torch.get_num_threads()), walk.reverse,
            walk.batch_first, packed=self.packed is not None, padded=walk.padding is not None,
            biased=walk.biased, given=walk.states is not None, resets=walk.reset is not None,
        )  # fmt: skip

    def _refuse_shapes(self) -> NoReturn:
        names = [name.replace("w_", "weight_").replace("b_", "bias_") for name in self.layout.names]
        wrong = next(n for n, tensor in enumerate(self.others) if tensor.shape != self.layout.shapes[n])
        raise RuntimeError(
            f"{self.walk.cell.name}: {names[wrong]} must have shape {self.layout.shapes[wrong]} beside "
            f"weight_ih {tuple(self.others[0].shape)} and input {tuple(self.x.shape)}. "
            f"Got {tuple(self.others[wrong].shape)}."
        )

    def _give_resets(self, reset: Tensor) -> None:
        if reset.shape != self._steps_and_rows or reset.dtype != torch.bool:
            came = f"{reset.dtype} {tuple(reset.shape)}"
            raise RuntimeError(f"reset must be booleans of shape {tuple(self._steps_and_rows)}. Got {came}.")
        if self.packed is None:
            self.give("resets", reset)
        else:
            self.fields |= {"resets": reset.data_ptr(), "resets.t": 1, "resets.b": reset.stride(0)}

    def _give_states(self, array: str, states: Sequence[Tensor]) -> None:
        """Pass the states of an array of the kernel, by default one row of zeros for all rows."""
        for n, name in enumerate(self.walk.cell.states):
            self.fields[f"{array}_{name}"] = (states[n] if states else self.zeros).data_ptr()
            if not states:
                self.fields[f"{array}_{name}.b"] = 0

    @property
    def team(self) -> Team:
        """The threads of the call."""
        return self.layout.team

    @property
    def chunk(self) -> int:
        """The number of steps whose input products are computed together."""
        return self.layout.chunk

    @property
    def weights(self) -> Weights:
        """The weights, as the kernel reads them."""
        return self.walk.weights.filled(iter(self.others))

    @property
    def states(self) -> tuple[Tensor, ...]:
        """The initial states; () if none are given."""
        return () if self.walk.states is None else tuple(self.others[-len(self.walk.states) :])

    @property
    def weights_read(self) -> int:
        """The number of weights that each row is multiplied by at each step."""
        return len(self.cell.plan.slots) * self.H * (self.H + self.I)

    def sequence(self, width: int) -> Tensor:
        """A new uninitialised sequence of this width, in the layout of x; packed if x is ragged."""
        return self._fresh((*self._steps_and_rows, width))

    def taken_back(self, kept: Tensor, width: int) -> Tensor:
        """Check a `sequence` that was saved for backward: hooks on saved tensors may have changed it.

        Raises:
            RuntimeError: the tensor has another shape or type.
        """
        expected = (*self._steps_and_rows, width)
        if kept.shape != expected or kept.dtype != self.x.dtype or not is_stored(kept):
            raise RuntimeError(
                f"{self.walk.cell.name}: a tensor saved for backward must come back as {self.x.dtype} of "
                f"shape {expected}. Got {kept.dtype} {tuple(kept.shape)}."
            )
        return whole(kept)

    def outside(self, width: int) -> Tensor:
        """A new sequence for the caller, in the layout of x; if padded, with zeros past the end of rows."""
        if self.walk.padding is None:
            return self.sequence(width)
        return self.x.new_zeros(*self.x.shape[:-1], width)

    def _fresh(self, shape: tuple[int, ...]) -> Tensor:
        fresh = self.x.new_empty(shape)
        prefer_huge_pages(fresh.data_ptr(), fresh.nbytes)
        return fresh

    def hand_over(self, name: str, sequence: Tensor) -> None:
        """Pass a sequence as the field `name`, whose strides the layout has."""
        self.fields[name] = sequence.data_ptr() + self.layout.ways[name].first

    def give(self, name: str, sequence: Tensor, batch_first: bool | None = None) -> None:
        """Pass a sequence of the caller as the field `name`, with its strides in the order of the walk."""
        way = self.way(sequence, self.walk.batch_first if batch_first is None else batch_first)
        self.fields[name] = sequence.data_ptr() + way.first
        self.fields[f"{name}.t"], self.fields[f"{name}.b"] = way.t, way.b

    def way(self, sequence: Tensor, batch_first: bool) -> Way:
        """The start (in bytes) and the strides of the walk in a sequence of the caller."""
        if self.packed is not None and self.walk.padding is None:
            return Way(0, 1, sequence.stride(0))
        t, b = sequence.stride(1 if batch_first else 0), sequence.stride(0 if batch_first else 1)
        return Way((self.T - 1) * t * sequence.itemsize, -t, b) if self.walk.reverse else Way(0, t, b)


def tell_side_by_side(problems: Sequence[Problem]) -> None:
    """Tell listeners that these calls run at the same time, with their final chunks."""
    told = [p.told._replace(chunk=min(p.chunk, p.fields["chunk"])) for p in problems if p.told is not None]
    if told:
        for listener in here.listeners:
            listener.side_by_side(told)


def run(*problems: Problem) -> None:
    """Run calls of one kernel, side by side if that is faster.

    Calls side by side have one thread each, and no barriers. But with large weights it is better to divide
    the units of each call, so that each thread reads only its part of the weights.
    """
    if len(problems) == 1:
        (problem,) = problems
        problem.layout.program(problem.team.threads, problem.fields)
        return
    work = sum(problem.weights_read * problem.B * problem.T for problem in problems)
    small = all(problem.weights_read * problem.x.itemsize <= _SMALL_WEIGHTS for problem in problems)
    if small and worth(torch.get_num_threads(), len(problems), work) == len(problems):
        tell_side_by_side(problems)
        problems[0].layout.program.side_by_side(len(problems), [problem.fields for problem in problems])
        return
    for problem in problems:
        problem.layout.program(problem.team.threads, problem.fields)
