"""Who wants to know which way a scan goes: `gatewise.explain` writes it down, `gatewise.strict` objects."""

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

# The ways of a scan.
KERNEL, INTERPRETER, TORCH = "compiled kernel", "eager interpreter", "torch"


@final
class KernelCall(NamedTuple):
    """A call of a forward kernel, as listeners are told of it.

    Attributes:
        cell: the equations.
        kernels: what runs.
        weight_ih: the weight that the call was given, by which it is known again.
        dtype: the type of its numbers.
        steps, rows, inputs, units, outputs: T, B, I, H and P.
        places: T times B; of packed rows, how many steps they have together.
        packed: whether rows have different lengths.
        team: the threads.
        chunk: for how many steps at a time the product with the input is made.
        copied: the arguments that had to be copied: the input if its last axis is not contiguous, weights
            and states if not all of their memory is.
        wants_gradient: whether an argument does.
        recorded: how many values are recorded at each step.
        inner: whether the output is read by gatewise alone, so that backward needs no copy of it.
        kept_gates, kept_states, kept_segments: bytes that are kept for backward: of the gates, of states
            beside the output, and of the states between segments.
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
    """Is told what scans do in the thread that it listens in; what it raises ends the scan."""

    def converted(self, tensor: Tensor) -> None:
        """Of what a module is called with, autocast has `tensor` converted to the type of the weights."""

    def autocast(self, dtype: torch.dtype | None) -> None:
        """A module begins its scans, with autocast to `dtype` around it if there is one."""

    def scan(self, cell: Cell, x: Tensor, weights: Weights, obstacles: Sequence[Obstacle], way: str) -> None:
        """A scan over `x` begins, `way` one of those above: compiled if there are no `obstacles`."""

    def kernel(self, call: KernelCall) -> None:
        """Its kernel will run."""

    def side_by_side(self, calls: Sequence[KernelCall]) -> None:
        """Kernels of which this was told run at once, each on one thread."""

    def layer(self, module: nn.Module, name: str) -> None:
        """The first scan that has no name yet was layer `name` of `module`, "l0" or "l0_reverse"."""


class _Here(threading.local):
    """Of each thread; no ContextVar, which torch.compile cannot trace, nor an attribute of the class, which
    it would not look at again."""

    def __init__(self) -> None:
        self.listeners: tuple[Listener, ...] = ()


here = _Here()


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell `listener` of every scan of this thread while the context is open."""
    before = here.listeners
    here.listeners = (*before, listener)
    try:
        yield
    finally:
        here.listeners = before
