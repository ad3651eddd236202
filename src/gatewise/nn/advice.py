"""What would make a compiled scan faster, read off a call of its kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gatewise.compiler.host import host
from gatewise.nn.explained import in_bytes
from gatewise.nn.forward import Forward
from gatewise.nn.layer import Layer
from gatewise.nn.recurrent import Recurrent
from gatewise.nn.step import Step

_IDLE = 0.05  # share of the lanes that may go unused before it is worth a word
_MORE_ROWS = 8  # times as many as there are: a batch that is further away is another task
_FEW_ROWS = 32  # of single steps, up to which a stream on one thread is the fastest


class Called(NamedTuple):
    """A call of a kernel, and what it cannot know.

    Attributes:
        given: the tensors as they came.
        side_by_side: how many calls ran at once.
        trains: whether a gradient may be asked for.
        module: whose call it was.
        calls: how often that was called.
    """

    call: Forward
    given: Sequence[Tensor]
    side_by_side: int
    trains: bool
    module: Layer
    calls: int

    @property
    def in_segments(self) -> bool:
        """Whether only the states between segments are kept."""
        return self.trains and bool(getattr(self.module, "checkpoint", 0))


def advice(called: Called) -> Iterator[str]:
    """Sentences on what to change, the most rewarding first."""
    call = called.call
    for name in copied(call, called.given):
        yield f"make {name} contiguous: it is copied at every call"
    if call.T == 1:
        yield from _on_single_steps(called)
    else:
        yield from _on_work(called)
    if called.in_segments:
        yield _on_checkpoint(called)
    if call.call.record:
        yield f"close gatewise.watch: it writes {len(call.call.record)} values at each step"
    if called.trains and not called.module.training:
        yield "use torch.no_grad() if no gradient is wanted: eval() does not say so"


def copied(call: Forward, given: Sequence[Tensor]) -> list[str]:
    """The arguments that had to be copied: the input if its last axis is not contiguous, weights and states
    if not all of their memory is. A state that is one row for all is no mistake, and not among them."""
    pairs = zip((call.x, *call.others), given, strict=True)
    ours = [mine for mine, came in pairs if mine is not came and 0 not in came.stride()]
    names = _names(call) if ours else {}
    return list(dict.fromkeys(names[id(tensor)] for tensor in ours))


def _names(call: Forward) -> dict[int, str]:
    """What the tensors of a call are called, by their `id`."""
    names = {id(weight): name for name, weight in call.weights._asdict().items()}
    names |= {id(v): name for name, v in zip(call.call.cell.vectors, call.weights.vectors, strict=True)}
    return names | {id(call.x): "the input"} | {id(state): "the initial state" for state in call.states}


def _on_single_steps(called: Called) -> Iterator[str]:
    if called.calls > 1:
        yield f"use a layer over the sequence, where it is known: {called.calls} single steps were taken"
    if _could_stream(called.module) and not called.trains and called.call.B <= _FEW_ROWS:
        yield "use gatewise.runtime.Stream for steps as they come: it packs the weights once"


def _could_stream(module: Layer) -> bool:
    forwards = isinstance(module, Step) or (isinstance(module, Recurrent) and not module.bidirectional)
    return forwards and not module._edits_here


def _on_work(called: Called) -> Iterator[str]:
    call = called.call
    if call.x.dtype == torch.float64:
        yield "use float32 (model.float()): a vector holds twice as many numbers"
    lanes = host().vector_bits // (8 * call.x.itemsize)
    if call.cell.width < lanes:
        yield f"unset GATEWISE_WIDTH: vectors have {call.cell.width} of {lanes} lanes"
    yield from _on_threads(called)
    whole = call.cell.padded(call.H)
    idle = whole - call.H
    if idle > _IDLE * whole:
        width = call.cell.width
        units = f"{whole - width} or {whole}" if whole > width else f"{whole}"
        yield f"use {units} units: {call.H} leave {idle} of {whole} lanes idle, in vectors of {width}"


def _on_threads(called: Called) -> Iterator[str]:
    call = called.call
    wanted, used = torch.get_num_threads(), max(call.team.threads, called.side_by_side)
    if wanted == 1:
        cores = _cores()
        if _team(call, cores, call.B) > 1:
            yield f"use torch.set_num_threads({cores}): torch is held to one thread"
    elif used < wanted:
        rows = 2 * call.B
        while rows < _MORE_ROWS * call.B and _team(call, wanted, rows) <= used:
            rows *= 2
        if _team(call, wanted, rows) > used:
            yield f"use a batch of {rows} rows: {call.B} are too little work for {used + 1} threads"


def _team(call: Forward, wanted: int, rows: int) -> int:
    packed = call.call.batch_sizes is not None
    return call.cell.team(wanted, call.T, rows, call.I, call.H, packed).threads


def _cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _on_checkpoint(called: Called) -> str:
    call, plan = called.call, called.call.cell.plan
    gates = plan.gates * call.H + len(plan.forward.means) if plan.keeps else 0
    own_output = 0 if call.call.inner else call.P
    row = gates + own_output + (len(call.call.cell.states) - 1) * call.H
    kept = row * call.x.itemsize * call.x.numel() // call.I
    steps = getattr(called.module, "checkpoint", 0)
    return f"leave checkpoint={steps} out if there is room for {in_bytes(kept)}: each step is computed twice"
