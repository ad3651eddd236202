"""The weights of a cell in the order of ONNX, and back: W, R, B and P of a node in one direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gatewise.interop.onnx.cells import GATES, PEEPHOLES, Variant, cell_of
from gatewise.language import Cell
from gatewise.nn.weights import Weights


class Packed(NamedTuple):
    """``W [G*H, I]``, ``R [G*H, H]``, ``B [2*G*H]``, ``P [3*H]``, the blocks in the order of the standard."""

    W: Tensor
    R: Tensor
    B: Tensor | None
    P: Tensor | None


def packed(variant: Variant, names: Mapping[str, str], cell: Cell, weights: Weights) -> Packed:
    """The weights of `cell`, which is the operator `variant` under other `names`, as that operator's.

    Blocks that the operator does not look at (the forget gate where the input gate stands for it) are zeros.
    """
    gates = GATES[variant.operator]
    biases = None
    if weights.bias_ih is not None and weights.bias_hh is not None:
        both = (
            _blocks(cell.input_gates, weights.bias_ih),
            _from_state(cell, names, weights.bias_hh, weights.bias_linear),
        )
        biases = torch.cat([_ordered(gates, names, blocks) for blocks in both])
    peepholes = dict(zip(cell.vectors, weights.vectors, strict=True))
    return Packed(
        _ordered(gates, names, _blocks(cell.input_gates, weights.weight_ih)),
        _ordered(gates, names, _from_state(cell, names, weights.weight_hh, weights.weight_linear)),
        biases,
        _ordered(PEEPHOLES, names, peepholes) if variant.peepholes else None,
    )


def unpacked(variant: Variant, given: Packed) -> Weights:
    """The weights of an operator as those of ``cell_of(variant)``."""
    cell, gates = cell_of(variant), GATES[variant.operator]
    W, R = _blocks(gates, given.W), _blocks(gates, given.R)
    bias_ih = bias_hh = bias_linear = weight_linear = None
    if given.B is not None:
        by_input, by_state = (_blocks(gates, half) for half in given.B.chunk(2))
        bias_ih = torch.cat([by_input[gate] for gate in cell.input_gates])
        bias_hh = torch.cat([by_state[gate] for gate in cell.state_gates])
        bias_linear = by_state["n"] if cell.linears else None
    if cell.linears:
        weight_linear = R["n"]
    peepholes = {} if given.P is None else _blocks(PEEPHOLES, given.P)
    return Weights(
        torch.cat([W[gate] for gate in cell.input_gates]),
        torch.cat([R[gate] for gate in cell.state_gates]),
        bias_ih,
        bias_hh,
        tuple(peepholes[name] for name in cell.vectors),
        weight_linear=weight_linear,
        bias_linear=bias_linear,
    )


def _blocks(names: Sequence[str], stacked: Tensor) -> dict[str, Tensor]:
    return dict(zip(names, stacked.chunk(len(names)), strict=True))


def _from_state(
    cell: Cell, names: Mapping[str, str], stacked: Tensor, linear: Tensor | None
) -> dict[str, Tensor]:
    """The blocks that multiply the state; that of a candidate that is reset first is its `linear`."""
    blocks = _blocks(cell.state_gates, stacked)
    return blocks if linear is None else {**blocks, names["n"]: linear}


def _ordered(order: Sequence[str], names: Mapping[str, str], blocks: Mapping[str, Tensor]) -> Tensor:
    nothing = torch.zeros_like(next(iter(blocks.values())))
    return torch.cat([blocks[names[name]] if name in names else nothing for name in order])
