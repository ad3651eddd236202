"""The compiled kernels behind torch's autograd."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, TypeVar, final

import torch
from torch import Tensor

from gatewise.nn import eager
from gatewise.nn.backward import Backward
from gatewise.nn.call import Call, flat
from gatewise.nn.forward import Forward
from gatewise.nn.listening import here
from gatewise.nn.obstacles import GRADIENT_OF_GRADIENT
from gatewise.nn.problem import run
from gatewise.nn.weights import Scanned, Walk

_T = TypeVar("_T")


def scan(walks: Sequence[Walk]) -> list[Scanned]:
    """As `gatewise.nn.scan.scan_together`, for walks with no `obstacles`."""
    calls = [Call.of(walk) for walk in walks]
    tensors = [flat(w.x, w.weights, w.states or ()) for w in walks]
    if torch.is_grad_enabled() and any(t.requires_grad for t in chain(*tensors)):
        found = _Scan.apply(calls, *chain(*tensors))  # type: ignore[no-untyped-call]
        results = shared_out(found, [_results(call) for call in calls])
    else:
        forwards = [Forward(call, some, keep=False) for call, some in zip(calls, tensors, strict=True)]
        run(*forwards)
        results = [forward.results() for forward in forwards]
    return [scanned(walk, some) for walk, some in zip(walks, results, strict=True)]


def _results(call: Call) -> int:
    """How many tensors a call gives."""
    return 1 + len(call.cell.states) + len(call.record)


def scanned(walk: Walk, results: Sequence[Tensor]) -> Scanned:
    """What a call gives, by name."""
    n = 1 + len(walk.cell.states)
    return Scanned(results[0], tuple(results[1:n]), dict(zip(walk.record, results[n:], strict=True)))


def shared_out(things: Sequence[_T], counts: Sequence[int]) -> list[Sequence[_T]]:
    """`things` in runs of so many."""
    if len(counts) == 1:
        return [things]
    ends = [0, *accumulate(counts)]
    return [things[start:end] for start, end in pairwise(ends)]


@final
class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, calls: Sequence[Call], *tensors: Tensor) -> tuple[Tensor, ...]:
        given = shared_out(tensors, [call.tensors for call in calls])
        forwards = [Forward(call, some, keep=True) for call, some in zip(calls, given, strict=True)]
        run(*forwards)
        tapes = chain(*(forward.tape() for forward in forwards))
        ctx.calls = calls
        ctx.save_for_backward(*tensors, *tapes)
        ctx.set_materialize_grads(False)
        results = [forward.results() for forward in forwards]
        recorded = [
            r for call, some in zip(calls, results, strict=True) for r in some[1 + len(call.cell.states) :]
        ]
        ctx.mark_non_differentiable(*recorded)
        return tuple(chain(*results))

    @staticmethod
    def backward(ctx: Any, *by_results: Tensor | None) -> tuple[Tensor | None, ...]:
        calls, needed = ctx.calls, ctx.needs_input_grad[1:]
        counts = [call.tensors for call in calls]
        saved = ctx.saved_tensors
        tapes = shared_out(saved[len(needed) :], [2 + len(call.cell.states) for call in calls])
        parts = list(zip(
            calls, shared_out(saved[: len(needed)], counts), tapes, shared_out(needed, counts),
            shared_out(by_results, [_results(call) for call in calls]), strict=True,
        ))  # fmt: skip
        if torch.is_grad_enabled():
            found = [_differentiable_backward(call, some, need, by) for call, some, _, need, by in parts]
        else:
            backwards = [Backward(*part) for part in parts]
            run(*backwards)
            found = [backward.gradients() for backward in backwards]
        return None, *chain(*found)


def _differentiable_backward(
    call: Call, tensors: Sequence[Tensor], needed: Sequence[bool], by_results: Sequence[Tensor | None]
) -> Iterator[Tensor | None]:
    """The gradient as torch operations, for those who differentiate it again (``create_graph=True``)."""
    return derivatives(again(call, tensors), tensors, needed, by_results)


def again(call: Call, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The output and the final states once more, in torch operations."""
    x, weights, states = call.unpack(tensors)
    for listener in here.listeners:
        listener.scan(call.cell, x, weights, (GRADIENT_OF_GRADIENT,))
    packing = call.padding
    found = eager.scan(
        call.cell,
        x if packing is None else packing.pack(x, call.batch_first),
        weights,
        states or None,
        reverse=call.reverse,
        batch_first=call.batch_first and packing is None,
        reset=call.reset,
        batch_sizes=call.batch_sizes,
        chance=call.chance,
    )
    output = found.output if packing is None else packing.pad(found.output, call.batch_first)
    return output, *found.states


def derivatives(
    results: Sequence[Tensor],
    tensors: Sequence[Tensor],
    needed: Sequence[bool],
    by_results: Sequence[Tensor | None],
) -> Iterator[Tensor | None]:
    """By each of `tensors`, to be differentiated again; None where it is not needed."""
    pairs = zip(results, by_results, strict=False)
    outputs, by_outputs = zip(*((y, d) for y, d in pairs if d is not None), strict=True)
    wanted = [t for t, need in zip(tensors, needed, strict=True) if need]
    found = iter(torch.autograd.grad(outputs, wanted, by_outputs, create_graph=True, allow_unused=True))
    return (next(found) if need else None for need in needed)
