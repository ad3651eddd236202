"""Calls of one scan, for tests: as layers make it, and by the eager interpreter."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gatewise.language import Cell
from gatewise.nn.scan import scan_together
from gatewise.nn.walk import eager
from gatewise.nn.walk.walk import Scanned, Walk, Weights


def scan(
    cell: Cell, x: Tensor, weights: Weights, states: tuple[Tensor, ...] | None = None, **more: Any
) -> Scanned:
    """Run a scan by kernels or by the interpreter; `more` are the other fields of its `Walk`."""
    return scan_together([Walk(cell, x, weights, states, **more)])[0]


def interpreted(
    cell: Cell, x: Tensor, weights: Weights, states: tuple[Tensor, ...] | None = None, **more: Any
) -> Scanned:
    """Run a scan by the eager interpreter."""
    return eager.scan(Walk(cell, x, weights, states, **more))
