"""Who wants to know which way a scan goes: `gatewise.explain` writes it down, `gatewise.strict` objects."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gatewise.language import Cell
from gatewise.nn.obstacles import Obstacle
from gatewise.nn.weights import Weights

if TYPE_CHECKING:
    from gatewise.nn.forward import Forward
    from gatewise.nn.layer import Layer
    from gatewise.nn.problem import Problem


# The ways of a scan.
KERNEL, INTERPRETER, TORCH = "compiled kernel", "eager interpreter", "torch"


class Listener:
    """Is told what scans do in the thread that it listens in; what it raises ends the scan."""

    def converted(self, tensor: Tensor) -> None:
        """Of what a module is called with, autocast has `tensor` converted to the type of the weights."""

    def autocast(self, dtype: torch.dtype | None) -> None:
        """A module begins its scans, with autocast to `dtype` around it if there is one."""

    def scan(self, cell: Cell, x: Tensor, weights: Weights, obstacles: Sequence[Obstacle], way: str) -> None:
        """A scan over `x` begins, `way` one of those above: compiled if there are no `obstacles`."""

    def kernel(self, call: Forward, given: Sequence[Tensor]) -> None:
        """Its kernel will run; `given` are the tensors as they came (see `Call.unpack`)."""

    def side_by_side(self, calls: Sequence[Problem]) -> None:
        """Kernels, of which this may have been told, run at once, each on one thread."""

    def layer(self, module: Layer, name: str) -> None:
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
