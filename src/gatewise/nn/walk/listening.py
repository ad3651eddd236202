"""Listeners, which are told how scans run: `gatewise.explain` records it, `gatewise.strict` refuses it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from gatewise.compiler.run.program import CompiledCell, Team
from gatewise.language import Cell
from gatewise.nn.walk.obstacles import Obstacle
from gatewise.nn.walk.walk import Weights

# What a scan runs in.
KERNEL, INTERPRETER, TORCH = "compiled kernel", "eager interpreter", "torch"


@final
class KernelCall(NamedTuple):
    """The facts of a forward kernel call, for listeners.

    Attributes:
        cell: the equations.
        kernels: the compiled kernels.
        weight_ih: the input weights of the call, by which listeners find its scan.
        dtype: the element type.
        steps, rows, inputs, units, outputs: T, B, I, H and P.
        places: T times B; for packed rows, the sum of their lengths.
        packed: whether rows have different lengths.
        team: the threads.
        chunk: the number of steps whose input products are computed together.
        copied: the names of arguments that had to be copied: the input if its last axis is not contiguous,
            weights and states if they are not contiguous.
        wants_gradient: whether an argument requires a gradient.
        recorded: the number of values that are recorded at each step.
        inner: whether only gatewise reads the output, so that backward needs no copy of it.
        kept_gates, kept_states, kept_segments: the bytes saved for backward: gates, states besides the
            output, and states between segments.
    """

    cell: Cell
    kernels: CompiledCell
    weight_ih: Tensor
    dtype: torch.dtype
    steps: int
    rows: int
    inputs: int
    units: int
    outputs: int
    places: int
    packed: bool
    team: Team
    chunk: int
    copied: tuple[str, ...]
    wants_gradient: bool
    recorded: int
    inner: bool
    kept_gates: int
    kept_states: int
    kept_segments: int


class Listener:
    """Base class of listeners. Its methods are called during scans of its thread; an error ends the scan."""

    def converted(self, tensor: Tensor) -> None:
        """Under autocast, the argument `tensor` of a module is converted to the type of the weights."""

    def autocast(self, dtype: torch.dtype | None) -> None:
        """A module begins its scans, under autocast to `dtype`, or None without autocast."""

    def scan(self, cell: Cell, x: Tensor, weights: Weights, obstacles: Sequence[Obstacle], way: str) -> None:
        """A scan over `x` begins. It runs in `way`: in the compiled kernel if there are no `obstacles`."""

    def kernel(self, call: KernelCall) -> None:
        """The kernel of a scan is about to run."""

    def side_by_side(self, calls: Sequence[KernelCall]) -> None:
        """These kernel calls run at the same time, each on one thread."""

    def layer(self, module: nn.Module, name: str) -> None:
        """The first scan without a name so far was layer `name` of `module` ("l0", "l0_reverse")."""


class _Here(threading.local):
    """The listeners of each thread.

    This is not a ContextVar, which torch.compile cannot trace, and has no class attribute, which
    torch.compile does not guard.
    """

    def __init__(self) -> None:
        self.listeners: tuple[Listener, ...] = ()


here = _Here()


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call `listener` for every scan of this thread, while the context is open."""
    before = here.listeners
    here.listeners = (*before, listener)
    try:
        yield
    finally:
        here.listeners = before
