"""The weights of a cell in the gate order of another library, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gatewise.language import Cell
from gatewise.nn.walk.walk import Weights


class Stacked(NamedTuple):
    """Weights whose gates lie one below another: W ``[G*H, I]``, R ``[G*H, H]``, b_x and b_h ``[G*H]``."""

    W: Tensor
    R: Tensor
    b_x: Tensor | None = None
    b_h: Tensor | None = None


def from_order(
    cell: Cell, order: Sequence[str], stacked: Stacked, vectors: Mapping[str, Tensor] | None = None
) -> Weights:
    """The weights of `cell`, whose gates another library has in this `order`; others of its gates are left.

    Where the cell resets the state before the product, the rows of that product come from the gate that sees
    the input alone.
    """
    W, R, b_x, b_h = (None if part is None else blocks(order, part) for part in stacked)
    assert W is not None  # for the types
    assert R is not None
    reset = _reset_first(cell)
    return Weights(
        _joined(W, cell.input_gates),
        _joined(R, cell.state_gates),
        None if b_x is None else _joined(b_x, cell.input_gates),
        None if b_h is None else _joined(b_h, cell.state_gates),
        tuple((vectors or {})[name] for name in cell.vectors),
        weight_linear=R[reset] if reset else None,
        bias_linear=b_h[reset] if reset and b_h is not None else None,
    )


def to_order(
    cell: Cell, order: Sequence[str], weights: Weights, names: Mapping[str, str] | None = None
) -> Stacked:
    """The weights of `cell` with its gates in this `order`; a gate that the cell has not is zeros.

    `names` has the cell's name for each gate, where the cell has other names.
    """
    names = {name: name for name in cell.input_gates} if names is None else names
    reset = _reset_first(cell)

    def ordered(gates: Sequence[str], stacked: Tensor, linear: Tensor | None = None) -> Tensor:
        found = blocks(gates, stacked)
        if linear is not None:
            found[reset] = linear
        nothing = torch.zeros_like(next(iter(found.values())))
        return torch.cat([found[names[gate]] if gate in names else nothing for gate in order])

    b_x, b_h = weights.bias_ih, weights.bias_hh
    return Stacked(
        ordered(cell.input_gates, weights.weight_ih),
        ordered(cell.state_gates, weights.weight_hh, weights.weight_linear),
        None if b_x is None else ordered(cell.input_gates, b_x),
        None if b_h is None else ordered(cell.state_gates, b_h, weights.bias_linear),
    )


def blocks(names: Sequence[str], stacked: Tensor) -> dict[str, Tensor]:
    """What lies one below another, by name."""
    size = len(stacked) // len(names)
    # Slices, unlike chunks, are constants to the exporters of torch if the whole is one.
    return {name: stacked[k * size : (k + 1) * size] for k, name in enumerate(names)}


def _joined(parts: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    return torch.cat([parts[name] for name in names])


def _reset_first(cell: Cell) -> str:
    """The gate whose state goes through a `linear` of the cell; empty if there is none."""
    return next((g for g in cell.input_gates if g not in cell.state_gates), "") if cell.linears else ""
