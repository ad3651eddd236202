"""Advice on how to make a compiled scan faster, from the facts of one kernel call."""

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

_IDLE = 0.05  # the share of unused lanes from which there is advice
_MORE_ROWS = 8  # larger batches are advised up to this multiple of the rows
_FEW_ROWS = 32  # for single steps, the most rows for which a stream on one thread is the fastest


class Called(NamedTuple):
    """A kernel call, with facts about the module that made it.

    Attributes:
        call: the kernel call.
        side_by_side: the number of kernel calls that ran at the same time.
        trains: whether a gradient may be computed from its results.
        module: the layer that made the call.
        calls: how often the layer was called.
    """

    call: KernelCall
    side_by_side: int
    trains: bool
    module: Layer
    calls: int

    @property
    def in_segments(self) -> bool:
        """Whether only the states between segments are saved for backward."""
        return self.trains and bool(getattr(self.module, "checkpoint", 0))


def advice(called: Called) -> Iterator[str]:
    """Sentences that say what to change, the largest gain first."""
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
        yield "use torch.no_grad() if no gradient is needed: eval() does not turn gradients off"


def _on_single_steps(called: Called) -> Iterator[str]:
    if called.calls > 1:
        yield f"use a layer over the sequence, where it is known: {called.calls} single steps were taken"
    if _could_stream(called.module) and not called.trains and called.call.rows <= _FEW_ROWS:
        yield "use gatewise.runtime.Stream if steps arrive one by one: it packs the weights once"


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
            yield f"use torch.set_num_threads({cores}): torch is limited to one thread"
    elif used < wanted:
        rows = 2 * call.rows
        while rows < _MORE_ROWS * call.rows and _team(call, wanted, rows) <= used:
            rows *= 2
        if _team(call, wanted, rows) > used:
            yield f"use a batch of {rows} rows: {call.rows} are too little work for {used + 1} threads"


def _team(call: KernelCall, wanted: int, rows: int) -> int:
    return call.kernels.team(wanted, call.steps, rows, call.inputs, call.units, call.packed).threads


def _cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _on_checkpoint(called: Called) -> str:
    call, plan = called.call, called.call.kernels.plan
    gates = plan.gates * call.units + len(plan.forward.means) if plan.keeps else 0
    own_output = 0 if call.inner else call.outputs
    row = gates + own_output + (len(call.cell.states) - 1) * call.units
    kept = row * call.dtype.itemsize * call.places
    steps = getattr(called.module, "checkpoint", 0)
    return f"leave checkpoint={steps} out if {in_bytes(kept)} of memory are free: each step is computed twice"
