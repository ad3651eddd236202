"""What chance decides for each unit of each row at each step: a function of numbers, the same everywhere.

Every decision is a hash of (seed, draw, step, row, unit), so it does not depend on the order in which anybody
computes, and backward asks again for what forward was told. The hash is that of
`gatewise.compiler.emit.random`, in tensors.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gatewise.compiler.emit.random import LAST, ROUNDS, threshold
from gatewise.language.graph import Node

_BITS = 0xFFFFFFFF


class Chance(NamedTuple):
    """The seed of a scan, of 64 bits, and the number of its first step.

    The kernels need a number; the eager interpreter also takes a seed ``[]`` (int64) that is a tensor.
    """

    seed: int | Tensor
    first_step: int = 0


def drawn() -> Chance:
    """The chance of one call, seeded by torch's generator.

    Under ``torch.func.vmap`` it is what its `randomness` asks for: the same seed for all samples, another for
    each, or an error.
    """
    seed = torch.randint(2**63 - 1, (), device="cpu")
    if torch.compiler.is_compiling():
        return Chance(seed)
    transformed = torch._C._functorch.peek_interpreter_stack() is not None
    return Chance(seed if transformed else int(seed))


def decide(node: Node, chance: Chance, step: int, rows: Tensor, units: Tensor) -> Tensor:
    """Where chance strikes: true with the node's rate, for ``rows [B]`` and ``units [H]`` (int64)."""
    seed = torch.as_tensor(chance.seed, device=rows.device)
    key = _hash((seed & _BITS) + int(node.name))
    key = _hash(key ^ (seed >> 32 & _BITS))
    key = _hash(key + (chance.first_step + step if node.part == "step" else 0))
    numbers = _hash(_hash(key + rows)[:, None] + units)
    return numbers < threshold(node.value)


def _hash(x: Tensor) -> Tensor:
    x = x & _BITS
    for shift, factor in ROUNDS:
        x = (x ^ (x >> shift)) * factor & _BITS  # int64 overflows in bits that are cut off
    return x ^ (x >> LAST)
