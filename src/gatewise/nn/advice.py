"""What would make a compiled scan faster, read off a call of its kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gatewise.nn.kernels import Forward, flat

_IDLE = 0.05  # share of the lanes that may go unused before it is worth a word
_MOST_ROWS = 1 << 16  # to which a batch is enlarged in thought


def advice(call: Forward, given: Sequence[Tensor], side_by_side: int) -> Iterator[str]:
    """Sentences on what to change, the most rewarding first.

    `given` are the tensors as they came, `side_by_side` is how many calls ran at once.
    """
    for name in copied(call, given):
        yield f"make the {name} contiguous: it is copied at every call"
    if call.x.dtype == torch.float64:
        yield "use float32 (model.float()): a vector holds twice as many numbers"
    yield from _on_threads(call, side_by_side)
    whole = call.cell.padded(call.H)
    if whole - call.H > _IDLE * whole:
        yield f"use {whole} units: they cost what {call.H} do, in vectors of {call.cell.width}"
    if call.call.record:
        yield "close gatewise.watch: it writes every value at every step"
    if kept(call):
        yield "use torch.no_grad() if no gradient is wanted: then nothing is kept for it"


def kept(call: Forward) -> int:
    """Bytes that stay for backward: gates, and states behind the output (which is there anyway)."""
    return call.gates.nbytes + sum(states.nbytes for states in call.state_steps[1:])


def copied(call: Forward, given: Sequence[Tensor]) -> list[str]:
    """The arguments that had to be copied because their last axis is not contiguous (the input) or not all
    of their memory (weights and states)."""
    used = flat(call.x, call.weights, call.states)
    states = len(call.states)
    names = ["input", *["weight"] * (len(used) - 1 - states), *["initial state"] * states]
    pairs = zip(names, used, given, strict=True)
    return list(dict.fromkeys(name for name, ours, theirs in pairs if ours is not theirs))


def _on_threads(call: Forward, side_by_side: int) -> Iterator[str]:
    wanted, used = torch.get_num_threads(), max(call.team.threads, side_by_side)
    if wanted == 1:
        cores = _cores()
        if _team(call, cores, call.B) > 1:
            yield f"use torch.set_num_threads({cores}): torch is held to one thread"
    elif used < wanted:
        rows = call.B
        while rows < _MOST_ROWS and _team(call, wanted, rows) <= used:
            rows *= 2
        if rows < _MOST_ROWS:
            yield f"use a batch of {rows} rows: {call.B} are too little work for {used + 1} threads"


def _team(call: Forward, wanted: int, rows: int) -> int:
    packed = call.call.batch_sizes is not None
    return call.cell.team(wanted, call.T, rows, call.I, call.H, packed).threads


def _cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
