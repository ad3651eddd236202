"""The compiled kernels behind torch's autograd."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, final

import torch
from torch import Tensor

from gatewise.language import Cell
from gatewise.nn import eager
from gatewise.nn.gradients import Backward
from gatewise.nn.kernels import Call, Forward, flat
from gatewise.nn.listening import here
from gatewise.nn.obstacles import GRADIENT_OF_GRADIENT
from gatewise.nn.weights import Scanned, Weights


def scan(
    cell: Cell,
    x: Tensor,
    weights: Weights,
    states: tuple[Tensor, ...] | None,
    *,
    reverse: bool,
    batch_first: bool,
    record: Sequence[str],
    reset: Tensor | None,
    batch_sizes: Tensor | None,
) -> Scanned:
    """As `gatewise.nn.scan.scan`, for calls with no `obstacles`."""
    biased = weights.bias_ih is not None
    call = Call(cell, reverse, batch_first, tuple(record), biased, reset, batch_sizes)
    tensors = flat(x, weights, states or ())
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        output, *rest = _Scan.apply(call, *tensors)  # type: ignore[no-untyped-call]
    else:
        output, *rest = Forward(call, tensors, keep=False).results()
    finals, recorded = rest[: len(cell.states)], rest[len(cell.states) :]
    return Scanned(output, tuple(finals), dict(zip(record, recorded, strict=True)))


@final
class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        forward = Forward(call, tensors, keep=True)
        ctx.call = call
        ctx.tensors = len(tensors)
        ctx.save_for_backward(*tensors, *forward.tape())
        ctx.set_materialize_grads(False)
        results = forward.results()
        ctx.mark_non_differentiable(*results[1 + len(call.cell.states) :])
        return results

    @staticmethod
    def backward(ctx: Any, *by_results: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        tensors, tape = saved[: ctx.tensors], saved[ctx.tensors :]
        needed = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():
            return None, *_differentiable_backward(ctx.call, tensors, needed, by_results)
        return None, *Backward(ctx.call, tensors, tape, needed, by_results).gradients()


def _differentiable_backward(
    call: Call, tensors: Sequence[Tensor], needed: Sequence[bool], by_results: Sequence[Tensor | None]
) -> Iterator[Tensor | None]:
    """The gradient as torch operations, for those who differentiate it again (``create_graph=True``)."""
    x, weights, states = call.unpack(tensors)
    for listener in here.listeners:
        listener.scan(call.cell, x, weights, (GRADIENT_OF_GRADIENT,))
    again = eager.scan(
        call.cell,
        x,
        weights,
        states or None,
        reverse=call.reverse,
        batch_first=call.batch_first,
        reset=call.reset,
        batch_sizes=call.batch_sizes,
    )
    pairs = zip((again.output, *again.states), by_results, strict=False)
    outputs, by_outputs = zip(*((y, d) for y, d in pairs if d is not None), strict=True)
    wanted = [t for t, need in zip(tensors, needed, strict=True) if need]
    found = iter(torch.autograd.grad(outputs, wanted, by_outputs, create_graph=True, allow_unused=True))
    return (next(found) if need else None for need in needed)
