"""Layers of a stack that overlap in time: each on a thread of its own, some steps behind the layer below.

Threads that divide a layer meet at every step, which small layers are not worth; layers side by side wait for
each other now and then. The bits are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain, pairwise
from typing import Any, final

import torch
from torch import Tensor

from gatewise.compiler.run.program import compiled, worth
from gatewise.compiler.run.threads import available
from gatewise.nn.kernels.autograd import again, by_torch, derivatives, shared_out
from gatewise.nn.kernels.backward import Backward
from gatewise.nn.kernels.call import Call, flat, resets, with_resets
from gatewise.nn.kernels.forward import Forward
from gatewise.nn.kernels.problem import Problem, tell_side_by_side
from gatewise.nn.walk.obstacles import COMPILED
from gatewise.nn.walk.walk import Scanned, Walk

_STEPS = 16  # that a layer does before the one above goes on, where it makes its input products together
_LINE = 8  # numbers of 64 bits in a cache line


def pays(walks: Sequence[Walk]) -> bool:
    """Whether the layers of a stack should overlap: each is too little work for two threads, and all together
    are enough."""
    threads = available(torch.get_num_threads())
    if min(threads, len(walks)) < 2 or any(w.batch_sizes is not None or w.record for w in walks):
        return False
    cell, (T, B) = walks[0].cell, _steps_and_rows(walks[0])
    kernels, work = compiled(cell, COMPILED[walks[0].x.dtype]), 0
    for walk in walks:
        I, H = walk.weights.weight_ih.size(1), walk.weights.weight_ih.size(0) // len(cell.input_gates)
        if kernels.team(threads, T, B, I, H).threads > 1:
            return False
        work += len(kernels.plan.slots) * H * (H + I) * B * T
    return worth(threads, len(walks), work) > 1


def _steps_and_rows(walk: Walk) -> tuple[int, int]:
    B, T = walk.x.shape[:2] if walk.batch_first else walk.x.shape[1::-1]
    return T, B


def scan_stack(walks: Sequence[Walk]) -> list[Scanned]:
    """As `gatewise.nn.scan.scan_together`, of layers of one cell of which each reads the output of the one
    before: the walks after the first bring no input of their own. Nothing is recorded. Of the outputs there
    is the last one only.
    """
    last = len(walks) - 1
    calls = [Call.of(w)._replace(layer=layer, inner=layer < last) for layer, w in enumerate(walks)]
    own = [flat(walk.x, walk.weights, walk.states or ()) for walk in walks]
    tensors = [own[0][0], *chain(*(some[1:] for some in own))]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        output, *finals = _Stack.apply(calls, *tensors)  # type: ignore[no-untyped-call]
    else:
        forwards = _forwards(calls, tensors, keep=False)
        _run_overlapping(forwards)
        output, finals = forwards[-1].output, _finals(forwards)
    states = shared_out(finals, [len(call.cell.states) for call in calls])
    return [Scanned(output, tuple(some), {}) for some in states]


def _forwards(calls: Sequence[Call], tensors: Sequence[Tensor], keep: bool) -> list[Forward]:
    x, found = tensors[0], list[Forward]()
    for call, some in zip(calls, _by_layer(calls, tensors), strict=True):
        found.append(Forward(call, [x, *some], keep))
        x = found[-1].output
    return found


def _by_layer(calls: Sequence[Call], things: Sequence[Any]) -> list[Sequence[Any]]:
    """What belongs to the tensors of each layer, x left out."""
    return shared_out(things[1:], [call.tensors - 1 for call in calls])


def _finals(forwards: Sequence[Forward]) -> list[Tensor]:
    return [state for forward in forwards for state in forward.results()[1:]]


def _run_overlapping(problems: Sequence[Problem]) -> None:
    """Run calls of one kernel of which each reads what the one before writes."""
    done = torch.zeros(len(problems) * _LINE, dtype=torch.int64, device="cpu")
    for place, (problem, reader) in enumerate(pairwise(problems)):
        problem.fields["done"] = reader.fields["awaits"] = done[place * _LINE].data_ptr()
    for problem in problems:
        if problem.chunk > 1:
            problem.fields["chunk"] = min(problem.chunk, _STEPS)
    tell_side_by_side(problems)
    threads = min(available(torch.get_num_threads()), len(problems))
    problems[0].layout.program.side_by_side(threads, [problem.fields for problem in problems])


@final
class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, calls: Sequence[Call], *tensors: Tensor) -> tuple[Tensor, ...]:
        forwards = _forwards(calls, tensors, keep=True)
        _run_overlapping(forwards)
        masks = resets(calls)
        ctx.calls, ctx.masks = [call._replace(reset=None) for call in calls], len(masks)
        ctx.save_for_backward(*masks, *tensors, *chain(*(forward.tape() for forward in forwards)))
        ctx.set_materialize_grads(False)
        return forwards[-1].output, *_finals(forwards)

    @staticmethod
    def backward(ctx: Any, *by_results: Tensor | None) -> tuple[Tensor | None, ...]:
        (by_x, *needed), saved = ctx.needs_input_grad[1:], ctx.saved_tensors
        masks, saved = saved[: ctx.masks], saved[ctx.masks :]
        calls = with_resets(ctx.calls, masks)
        tensors, tapes = saved[: 1 + len(needed)], saved[1 + len(needed) :]
        if by_torch(by_results, [*masks, *tensors]):
            return None, *derivatives(partial(_again, calls), tensors, (by_x, *needed), by_results)
        by_output, *by_finals = by_results
        tapes = shared_out(tapes, [2 + len(call.cell.states) for call in calls])
        layers = list(zip(
            calls, [tensors[0], *(tape[2] for tape in tapes)], _by_layer(calls, tensors), tapes,
            shared_out(needed, [call.tensors - 1 for call in calls]), [by_x, *[True] * len(calls)],
            shared_out(by_finals, [len(call.cell.states) for call in calls]), strict=False,
        ))  # fmt: skip
        backwards = list[Backward]()
        for call, x, some, tape, need, need_x, by_states in reversed(layers):
            parts = [x, *some], tape, (need_x, *need), (by_output, *by_states)
            backwards.append(Backward(call, *parts))
            by_output = backwards[-1].dx
        _run_overlapping(backwards)
        found = [list(backward.gradients()) for backward in reversed(backwards)]
        return None, found[0][0], *chain(*(some[1:] for some in found))


def _again(calls: Sequence[Call], tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The output and all final states once more, in torch operations."""
    output, finals = tensors[0], list[Tensor]()
    for call, some in zip(calls, _by_layer(calls, tensors), strict=True):
        output, *states = again(call, [output, *some])
        finals += states
    return output, *finals
