"""Converts the weights of a cell in one direction to W, R, B and P of an ONNX node, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from gatewise.interop.gates import Stacked, blocks, from_order, to_order
from gatewise.interop.onnx.cells import GATES, PEEPHOLES, Variant, cell_of
from gatewise.language import Cell
from gatewise.nn.walk.walk import Weights


class Packed(NamedTuple):
    """``W [G*H, I]``, ``R [G*H, H]``, ``B [2*G*H]``, ``P [3*H]``, with gates in the standard's order."""

    W: Tensor
    R: Tensor
    B: Tensor | None
    P: Tensor | None


def packed(variant: Variant, names: Mapping[str, str], cell: Cell, weights: Weights) -> Packed:
    """The weights of `cell` in the layout of `variant`. `names` maps the operator's parameters to the cell's.

    Blocks that the operator does not use (the forget gate if it is coupled to the input gate) are zeros.
    """
    W, R, b_x, b_h = to_order(cell, GATES[variant.operator], weights, names)
    B = None if b_x is None or b_h is None else torch.cat([b_x, b_h])
    return Packed(W, R, B, _peepholes(names, cell, weights) if variant.peepholes else None)


def _peepholes(names: Mapping[str, str], cell: Cell, weights: Weights) -> Tensor:
    vectors = dict(zip(cell.vectors, weights.vectors, strict=True))
    nothing = torch.zeros_like(weights.vectors[0])
    return torch.cat([vectors[names[p]] if p in names else nothing for p in PEEPHOLES])


def unpacked(variant: Variant, given: Packed) -> Weights:
    """The weights of an operator, as weights of ``cell_of(variant)``."""
    b_x, b_h = (None, None) if given.B is None else given.B.chunk(2)
    peepholes = {} if given.P is None else blocks(PEEPHOLES, given.P)
    stacked = Stacked(given.W, given.R, b_x, b_h)
    return from_order(cell_of(variant), GATES[variant.operator], stacked, peepholes)
