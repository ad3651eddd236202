"""One layer in one direction over a sequence: compiled where it can be, the eager interpreter elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gatewise.language import Cell
from gatewise.nn import compiled, eager
from gatewise.nn.weights import Scanned, Weights


def scan(
    cell: Cell,
    x: Tensor,
    weights: Weights,
    states: tuple[Tensor, ...] | None = None,
    *,
    reverse: bool = False,
    batch_first: bool = False,
    record: Sequence[str] = (),
) -> Scanned:
    """Run `cell` over ``x [T, B, I]`` (``[B, T, I]`` with `batch_first`, which the output then follows).

    `states` are the initial states, each ``[B, H]``; None stands for zeros. `reverse` walks from the last
    step to the first. `record` names values of ``cell.values`` to be kept at every step, always time first.
    """
    run = compiled.scan if compiled.can_run(x, weights, states or ()) else eager.scan
    return run(cell, x, weights, states, reverse=reverse, batch_first=batch_first, record=record)
