"""The autograd function that runs compiled kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, final

import torch
from torch import Tensor

from gatewise.nn.kernels.backward import Backward
from gatewise.nn.kernels.flat import ByResults, Each, Tape
from gatewise.nn.kernels.forward import Forward
from gatewise.nn.kernels.problem import run
from gatewise.nn.walk import eager
from gatewise.nn.walk.listening import INTERPRETER, here
from gatewise.nn.walk.obstacles import GRADIENT_OF_GRADIENT, serves, watched
from gatewise.nn.walk.walk import Scanned, Walk, scanned


def scan(walks: Sequence[Walk]) -> list[Scanned]:
    """The same as `gatewise.nn.scan.scan_together`, for walks without `obstacles`."""
    tensors = [walk.tensors for walk in walks]
    if torch.is_grad_enabled() and any(t.requires_grad for t in chain(*tensors)):
        found = iter(_Scan.apply(walks, *chain(*tensors)))  # type: ignore[no-untyped-call]
        return [scanned(walk, found) for walk in walks]
    forwards = [Forward(walk, keep=False) for walk in walks]
    run(*forwards)
    return [forward.results() for forward in forwards]


@final
class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, walks: Sequence[Walk], *tensors: Tensor) -> tuple[Tensor, ...]:
        """Run walks. Their tensors are passed a second time, for autograd to see them."""
        forwards = [Forward(walk, keep=True) for walk in walks]
        run(*forwards)
        tapes = [forward.tape().flat for forward in forwards]
        ctx.blank = [walk.blank() for walk in walks]
        ctx.save_for_backward(*tensors, *chain(*tapes))
        ctx.set_materialize_grads(False)
        results = [forward.results() for forward in forwards]
        ctx.mark_non_differentiable(*chain(*[result.recorded.values() for result in results]))
        return tuple(chain(*[result.flat for result in results]))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        blank, needs, all_saved = ctx.blank, ctx.needs_input_grad[1:], ctx.saved_tensors
        saved, needs_in_turn, by = iter(all_saved), iter(needs), iter(gradients)
        walks = [walk.filled(saved) for walk in blank]
        needed = [Each.of(walk, needs_in_turn) for walk in blank]
        by_results = [ByResults.of(walk, by) for walk in blank]
        if by_torch(gradients, all_saved[: len(needs)]):
            parts = zip(walks, needed, by_results, strict=True)
            return None, *chain(*(gradients_by_torch(*part) for part in parts))
        tapes = [Tape.of(walk, saved) for walk in walks]
        backwards = [Backward(*part) for part in zip(walks, tapes, needed, by_results, strict=True)]
        run(*backwards)
        return None, *chain(*(backward.gradients().flat for backward in backwards))


def by_torch(by_results: Sequence[Tensor | None], saved: Sequence[Tensor]) -> bool:
    """Whether a gradient must be computed by torch's operations.

    This is so if it is differentiated again (``create_graph=True``), batched, or watched by a dispatch mode.
    """
    given = [by for by in by_results if by is not None]
    return torch.is_grad_enabled() or watched() or not serves([*given, *saved])


def gradients_by_torch(walk: Walk, needed: Each[bool], by_results: ByResults) -> list[Tensor | None]:
    """The gradients by all tensors of a walk, in torch operations; None where not needed."""

    def compute(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        return again(walk.filled(iter(tensors))).differentiable

    return derivatives(compute, walk.tensors, needed.flat, by_results.flat)


def again(walk: Walk) -> Scanned:
    """Run a walk again, in torch operations, without recording values."""
    for listener in here.listeners:
        listener.scan(walk.cell, walk.x, walk.weights, (GRADIENT_OF_GRADIENT,), INTERPRETER)
    return eager.scan(walk._replace(record=()))


def derivatives(
    compute: Callable[[Sequence[Tensor]], Sequence[Tensor]],
    tensors: Sequence[Tensor],
    needed: Sequence[bool],
    by_results: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """The derivatives of ``compute(tensors)`` by `tensors`, in torch operations; None where not needed."""
    with torch.enable_grad():
        # Views stand in for the tensors, so that no gradient flows from one to another.
        leaves = [tensor.view_as(tensor) for tensor in tensors]
        results = compute(leaves)
    pairs = [(y, by) for y, by in zip(results, by_results, strict=True) if by is not None]
    if not pairs:
        return [None] * len(needed)
    outputs, by_outputs = zip(*pairs, strict=True)
    wanted = [leaf for leaf, need in zip(leaves, needed, strict=True) if need]
    twice = torch.is_grad_enabled()
    found = iter(torch.autograd.grad(outputs, wanted, by_outputs, create_graph=twice, allow_unused=True))
    return [next(found) if need else None for need in needed]
