"""One layer in one direction over a sequence: compiled where it can be, the eager interpreter elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from gatewise.language import Cell
from gatewise.nn import eager


class Weights(NamedTuple):
    """The parameters of one layer in one direction, as `torch.nn` lays them out.

    ``weight_ih [Gx*H, I]``, ``weight_hh [Gh*H, P or H]``, ``bias_ih [Gx*H]``, ``bias_hh [Gh*H]``, ``vectors``
    each ``[H]``, ``weight_hr [P, H]``; Gx and Gh count the cell's `input_gates` and `state_gates`.
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None = None
    bias_hh: Tensor | None = None
    vectors: tuple[Tensor, ...] = ()
    weight_hr: Tensor | None = None


class Scanned(NamedTuple):
    """What a scan gives: ``output [T, B, H]``, final ``states`` each ``[B, H]``, ``recorded`` each ``[T, B, H]``."""

    output: Tensor
    states: tuple[Tensor, ...]
    recorded: dict[str, Tensor]


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
    return eager.scan(cell, x, weights, states, reverse=reverse, batch_first=batch_first, record=record)
