"""Weights converted between the gate order of a cell and that of another library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gatewise.language import Cell
from gatewise.nn.walk.walk import Weights


class Stacked(NamedTuple):
    """Weights with stacked gates: W ``[G*H, I]``, R ``[G*H, H]``, b_x and b_h ``[G*H]``."""

    W: Tensor
    R: Tensor
    b_x: Tensor | None = None
    b_h: Tensor | None = None


def from_order(
    cell: Cell, order: Sequence[str], stacked: Stacked, vectors: Mapping[str, Tensor] | None = None
) -> Weights:
    """The weights of `cell`, from weights with gates in `order`. Gates that the cell lacks are dropped.

    If the cell resets the state before the product, the recurrent rows of the candidate become the weights of
    that product (a `linear`).
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
    """The weights of `cell` with its gates in `order`. A gate that the cell does not have becomes zeros.

    `names` maps the gates in `order` to the names of the cell, if these differ.
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
    """Stacked blocks of rows, by name."""
    size = len(stacked) // len(names)
    # torch's exporters fold slices of constants, but not chunks.
    return {name: stacked[k * size : (k + 1) * size] for k, name in enumerate(names)}


def _joined(parts: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    return torch.cat([parts[name] for name in names])


def _reset_first(cell: Cell) -> str:
    """The gate whose recurrent part is a `linear` of the cell, or "" if there is none."""
    return next((g for g in cell.input_gates if g not in cell.state_gates), "") if cell.linears else ""
