"""The compiled kernels behind torch's autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate, chain, pairwise
from typing import Any, TypeVar, final

import torch
from torch import Tensor

from gatewise.nn.kernels.backward import Backward
from gatewise.nn.kernels.call import Call, flat, resets, with_resets
from gatewise.nn.kernels.forward import Forward
from gatewise.nn.kernels.problem import run
from gatewise.nn.walk import eager
from gatewise.nn.walk.listening import INTERPRETER, here
from gatewise.nn.walk.obstacles import GRADIENT_OF_GRADIENT, serves, watched
from gatewise.nn.walk.walk import Scanned, Walk

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
        masks = resets(calls)
        ctx.calls, ctx.masks = [call._replace(reset=None) for call in calls], len(masks)
        ctx.save_for_backward(*masks, *tensors, *tapes)
        ctx.set_materialize_grads(False)
        results = [forward.results() for forward in forwards]
        recorded = [
            r for call, some in zip(calls, results, strict=True) for r in some[1 + len(call.cell.states) :]
        ]
        ctx.mark_non_differentiable(*recorded)
        return tuple(chain(*results))

    @staticmethod
    def backward(ctx: Any, *by_results: Tensor | None) -> tuple[Tensor | None, ...]:
        needed, saved = ctx.needs_input_grad[1:], ctx.saved_tensors
        given = ctx.masks + len(needed)
        masks, tensors, tapes = saved[: ctx.masks], saved[ctx.masks : given], saved[given:]
        calls = with_resets(ctx.calls, masks)
        counts = [call.tensors for call in calls]
        parts = list(zip(
            calls, shared_out(tensors, counts), shared_out(tapes, [2 + len(c.cell.states) for c in calls]),
            shared_out(needed, counts),
            shared_out(by_results, [_results(call) for call in calls]), strict=True,
        ))  # fmt: skip
        if by_torch(by_results, saved[:given]):
            found = [derivatives(partial(again, call), some, need, by) for call, some, _, need, by in parts]
        else:
            backwards = [Backward(*part) for part in parts]
            run(*backwards)
            found = [backward.gradients() for backward in backwards]
        return None, *chain(*found)


def by_torch(by_results: Sequence[Tensor | None], saved: Sequence[Tensor]) -> bool:
    """Whether a gradient is made of torch's operations: those who differentiate it again
    (``create_graph=True``), batch it or watch it must see how it is computed."""
    given = [by for by in by_results if by is not None]
    return torch.is_grad_enabled() or watched() or not serves([*given, *saved])


def again(call: Call, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The output and the final states once more, in torch operations."""
    x, weights, states = call.unpack(tensors)
    for listener in here.listeners:
        listener.scan(call.cell, x, weights, (GRADIENT_OF_GRADIENT,), INTERPRETER)
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
    compute: Callable[[Sequence[Tensor]], Sequence[Tensor]],
    tensors: Sequence[Tensor],
    needed: Sequence[bool],
    by_results: Sequence[Tensor | None],
) -> Iterator[Tensor | None]:
    """By each of `tensors`, of what `compute` makes of them in torch operations; None where not needed."""
    with torch.enable_grad():
        # Stand-ins: one tensor may have been computed from another, which must not be reached through it.
        leaves = [tensor.view_as(tensor) for tensor in tensors]
        results = compute(leaves)
    pairs = [(y, by) for y, by in zip(results, by_results, strict=False) if by is not None]
    if not pairs:
        return iter([None] * len(needed))
    outputs, by_outputs = zip(*pairs, strict=True)
    wanted = [leaf for leaf, need in zip(leaves, needed, strict=True) if need]
    twice = torch.is_grad_enabled()
    found = iter(torch.autograd.grad(outputs, wanted, by_outputs, create_graph=twice, allow_unused=True))
    return (next(found) if need else None for need in needed)
