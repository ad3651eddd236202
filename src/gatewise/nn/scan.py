"""One layer in one direction over a sequence: compiled where it can be, the eager interpreter elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gatewise.language import Cell
from gatewise.nn import compiled, eager
from gatewise.nn.listening import here
from gatewise.nn.obstacles import obstacles
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
    reset: Tensor | None = None,
    batch_sizes: Tensor | None = None,
) -> Scanned:
    """Run `cell` over ``x [T, B, I]`` (``[B, T, I]`` with `batch_first`, which the output then follows).

    `states` are the initial states, each ``[B, H]``; None stands for zeros. `reverse` walks from the last
    step to the first. `record` names values of ``cell.values`` to be kept at every step, always time first.

    `reset`, bool, as many steps and rows as `x`, is true where a row enters a step of the walk from its
    initial state. `batch_sizes [T]` makes all sequences packed, in the layout of `PackedSequence`: x
    ``[N, I]``, output and recorded values ``[N, H]``, `reset` ``[N]``; states have a row for each of the
    first step's.
    """
    in_the_way = tuple(obstacles(x, weights, states or ()))
    for listener in here.listeners:
        listener.scan(cell, x, weights, in_the_way)
    run = eager.scan if in_the_way else compiled.scan
    return run(
        cell, x, weights, states,
        reverse=reverse, batch_first=batch_first, record=record, reset=reset, batch_sizes=batch_sizes,
    )  # fmt: skip
