"""What would make a compiled scan faster, read off a call of its kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import torch

from gatewise.compiler.run.host import host
from gatewise.nn.explain.found import in_bytes
from gatewise.nn.modules.layer import Layer
from gatewise.nn.modules.recurrent import Recurrent
from gatewise.nn.modules.step import Step
from gatewise.nn.walk.listening import KernelCall

_IDLE = 0.05  # share of the lanes that may go unused before it is worth a word
_MORE_ROWS = 8  # times as many as there are: a batch that is further away is another task
_FEW_ROWS = 32  # of single steps, up to which a stream on one thread is the fastest


class Called(NamedTuple):
    """A call of a kernel, and what it cannot know.

    Attributes:
        side_by_side: how many calls ran at once.
        trains: whether a gradient may be asked for.
        module: whose call it was.
        calls: how often that was called.
    """

    call: KernelCall
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
    for name in call.copied:
        yield f"make {name} contiguous: it is copied at every call"
    if call.steps == 1:
        yield from _on_single_steps(called)
    else:
        yield from _on_work(called)
    if called.in_segments:
        yield _on_checkpoint(called)
    if call.recorded:
        yield f"close gatewise.watch: it writes {call.recorded} values at each step"
    if called.trains and not called.module.training:
        yield "use torch.no_grad() if no gradient is wanted: eval() does not say so"


def _on_single_steps(called: Called) -> Iterator[str]:
    if called.calls > 1:
        yield f"use a layer over the sequence, where it is known: {called.calls} single steps were taken"
    if _could_stream(called.module) and not called.trains and called.call.rows <= _FEW_ROWS:
        yield "use gatewise.runtime.Stream for steps as they come: it packs the weights once"


def _could_stream(module: Layer) -> bool:
    forwards = isinstance(module, Step) or (isinstance(module, Recurrent) and not module.bidirectional)
    return forwards and not module._edits_here


def _on_work(called: Called) -> Iterator[str]:
    call = called.call
    if call.dtype == torch.float64:
        yield "use float32 (model.float()): a vector holds twice as many numbers"
    lanes = host().vector_bits // (8 * call.dtype.itemsize)
    if call.kernels.width < lanes:
        yield f"unset GATEWISE_WIDTH: vectors have {call.kernels.width} of {lanes} lanes"
    yield from _on_threads(called)
    whole = call.kernels.padded(call.units)
    idle = whole - call.units
    if idle > _IDLE * whole:
        width = call.kernels.width
        units = f"{whole - width} or {whole}" if whole > width else f"{whole}"
        yield f"use {units} units: {call.units} leave {idle} of {whole} lanes idle, in vectors of {width}"


def _on_threads(called: Called) -> Iterator[str]:
    call = called.call
    wanted, used = torch.get_num_threads(), max(call.team.threads, called.side_by_side)
    if wanted == 1:
        cores = _cores()
        if _team(call, cores, call.rows) > 1:
            yield f"use torch.set_num_threads({cores}): torch is held to one thread"
    elif used < wanted:
        rows = 2 * call.rows
        while rows < _MORE_ROWS * call.rows and _team(call, wanted, rows) <= used:
            rows *= 2
        if _team(call, wanted, rows) > used:
            yield f"use a batch of {rows} rows: {call.rows} are too little work for {used + 1} threads"


def _team(call: KernelCall, wanted: int, rows: int) -> int:
    return call.kernels.team(wanted, call.steps, rows, call.inputs, call.units, call.packed).threads


def _cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _on_checkpoint(called: Called) -> str:
    call, plan = called.call, called.call.kernels.plan
    gates = plan.gates * call.units + len(plan.forward.means) if plan.keeps else 0
    own_output = 0 if call.inner else call.outputs
    row = gates + own_output + (len(call.cell.states) - 1) * call.units
    kept = row * call.dtype.itemsize * call.places
    steps = getattr(called.module, "checkpoint", 0)
    return f"leave checkpoint={steps} out if there is room for {in_bytes(kept)}: each step is computed twice"
