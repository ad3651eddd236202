"""What goes into a scan and what comes out of it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


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
    """What a scan gives.

    ``output [T, B, H]``, the final ``states`` each ``[B, H]``, and ``recorded`` by name, each ``[T, B, H]``.
    """

    output: Tensor
    states: tuple[Tensor, ...]
    recorded: dict[str, Tensor]
