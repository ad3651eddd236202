"""Random masks for the eager interpreter, the same as those of the kernels.

Each element of a mask is a hash of (seed, draw, step, row, unit). So masks do not depend on the order of
computation, and backward computes the masks of forward again. The hash is that of
`gatewise.compiler.emit.random`, on tensors.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gatewise.compiler.emit.random import LAST, ROUNDS, threshold
from gatewise.language.graph import Node

_BITS = 0xFFFFFFFF


class Chance(NamedTuple):
    """The random seed of a scan, with 64 bits, and the number of its first step.

    The kernels need a number. The eager interpreter also accepts an int64 tensor ``[]`` as seed.
    """

    seed: int | Tensor
    first_step: int = 0


def drawn() -> Chance:
    """Draw the seed of one call from torch's generator.

    Under ``torch.func.vmap`` its option `randomness` decides: the same seed for all samples, a different one
    for each, or an error.
    """
    seed = torch.randint(2**63 - 1, (), device="cpu")
    if torch.compiler.is_compiling():
        return Chance(seed)
    transformed = torch._C._functorch.peek_interpreter_stack() is not None
    return Chance(seed if transformed else int(seed))


def decide(node: Node, chance: Chance, step: int, rows: Tensor, units: Tensor) -> Tensor:
    """The mask ``[B, H]`` of a `dropout` or `zoneout` for these rows and units, true with its rate."""
    seed = torch.as_tensor(chance.seed, device=rows.device)
    key = _hash((seed & _BITS) + int(node.name))
    key = _hash(key ^ (seed >> 32 & _BITS))
    key = _hash(key + (chance.first_step + step if node.part == "step" else 0))
    numbers = _hash(_hash(key + rows)[:, None] + units)
    return numbers < threshold(node.value)


def _hash(x: Tensor) -> Tensor:
    x = x & _BITS
    for shift, factor in ROUNDS:
        x = (x ^ (x >> shift)) * factor & _BITS  # int64 overflows only in bits that are dropped
    return x ^ (x >> LAST)
