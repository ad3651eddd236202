"""Scans over rows of different lengths as operators of torch, for programs of `torch.export`.

A tracer cannot know the sum of the lengths, so packed data exist only inside the operators: these take and
return padded tensors. Backward computes forward again, because the tensors that a kernel saves have sizes
that a tracer cannot know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, library
from torch._decomp import register_decomposition

from gatewise.nn.kernels import operators
from gatewise.nn.kernels.backward import Backward
from gatewise.nn.kernels.flat import ByResults, Each, evenly
from gatewise.nn.kernels.forward import Forward
from gatewise.nn.kernels.problem import run
from gatewise.nn.walk.obstacles import Obstacle
from gatewise.nn.walk.packing import Packing
from gatewise.nn.walk.rows import row_lengths
from gatewise.nn.walk.walk import Scanned, Walk, scanned


def scan(walks: Sequence[Walk], lengths: Tensor, in_the_way: Iterable[Obstacle]) -> list[Scanned]:
    """The same as `gatewise.nn.scan.scan_together`, for walks over padded rows of ``lengths [B]``.

    Raises:
        ValueError: the walks cannot be compiled, or values are watched.
    """
    why = [obstacle.reason for obstacle in in_the_way] + ["it is watched"] * bool(walks[0].record)
    if why:
        raise ValueError(f"torch.export: a layer with lengths= must run in the compiled kernel; {why[0]}")
    tensors, *more = operators.arguments(walks)
    parts = evenly(torch.ops.gatewise.scan_rows(tensors, lengths, *more), len(walks))
    return [scanned(walk, iter(part)) for walk, part in zip(walks, parts, strict=True)]


class _Rows(NamedTuple):
    """A walk over the rows with steps, in packed order. `packing` is None if all rows have all steps."""

    walk: Walk
    packing: Packing | None

    @classmethod
    def of(cls, walk: Walk, lengths: Tensor) -> _Rows:
        """From a walk over padded rows."""
        T, B = walk.steps_and_rows
        packing = Packing.of_lengths(row_lengths(lengths, B, T), T)
        if packing.size == B * T:
            return cls(walk, None)
        states = tuple(state.index_select(0, packing.order) for state in walk.states or ()) or None
        reset = None if walk.reset is None else packing.pack(walk.reset, walk.batch_first)
        sizes = packing.batch_sizes
        return cls(walk._replace(states=states, reset=reset, batch_sizes=sizes, padding=packing), packing)

    def padded(self, finals: Sequence[Tensor], given: Sequence[Tensor]) -> list[Tensor]:
        """Final states for all rows ``[B, H]``. A row without steps keeps the state in `given`, or zeros."""
        if self.packing is None:
            return list(finals)
        stacked = [[state.unsqueeze(0) for state in states] for states in (finals, given)]
        return [state.squeeze(0) for state in self.packing.pad_states(*stacked)]

    def packed(self, by_results: ByResults) -> ByResults:
        """The gradients by results, with those by final states only for the rows with steps."""
        if self.packing is None:
            return by_results
        order = self.packing.order
        states = (None if by is None else by.index_select(0, order) for by in by_results.states)
        return by_results._replace(states=tuple(states))


_ROWS = "(Tensor[] tensors, Tensor lengths, str described, Tensor[] resets, Tensor[] seeds) -> Tensor[]"


@library.custom_op("gatewise::scan_rows", mutates_args=(), schema=_ROWS)
def _scan_rows(
    tensors: Sequence[Tensor],
    lengths: Tensor,
    described: str,
    resets: Sequence[Tensor],
    seeds: Sequence[Tensor],
) -> list[Tensor]:
    walks = operators.walks_on(tensors, described, resets, seeds)
    rows = [_Rows.of(walk, lengths) for walk in walks]
    forwards = [Forward(some.walk, keep=False) for some in rows]
    run(*forwards)
    found = list[Tensor]()
    for some, forward, walk in zip(rows, forwards, walks, strict=True):
        results = forward.results()
        found += [results.output, *some.padded(results.states, walk.states or ())]
    return found


@_scan_rows.register_fake
def _of_shapes(tensors: Sequence[Tensor], lengths: Tensor, described: str, *_: object) -> list[Tensor]:
    found: list[Tensor] = operators.shapes(tensors, described, keep=False)
    return found


@register_decomposition(torch.ops.gatewise.scan_rows.default)
def _decomposed(
    tensors: Sequence[Tensor],
    lengths: Tensor,
    described: str,
    resets: Sequence[Tensor],
    seeds: Sequence[Tensor],
) -> Any:
    return operators.decomposed(tensors, described, False, resets, seeds, lengths)


_GRADIENT = (
    "(Tensor[] tensors, bool[] needed, Tensor lengths, str described, Tensor[] resets, Tensor[] seeds, "
    "Tensor?[] by_results) -> Tensor[]"
)


@library.custom_op("gatewise::scan_rows_gradient", mutates_args=(), schema=_GRADIENT)
def _gradient(
    tensors: Sequence[Tensor],
    needed: Sequence[bool],
    lengths: Tensor,
    described: str,
    resets: Sequence[Tensor],
    seeds: Sequence[Tensor],
    by_results: Sequence[Tensor | None],
) -> list[Tensor]:
    walks = operators.walks_on(tensors, described, resets, seeds)
    needs, by = iter(needed), iter(by_results)
    rows = [_Rows.of(walk, lengths) for walk in walks]
    each = [Each.of(walk._replace(reset=None), needs) for walk in walks]  # masks are separate arguments
    by_all_rows = [ByResults.of(walk, by) for walk in walks]
    forwards = [Forward(some.walk, keep=True) for some in rows]
    run(*forwards)
    backwards = [
        Backward(some.walk, forward.tape(), need, some.packed(by_these))
        for some, forward, need, by_these in zip(rows, forwards, each, by_all_rows, strict=True)
    ]
    run(*backwards)
    found = list[Tensor | None]()
    for some, backward, by_these in zip(rows, backwards, by_all_rows, strict=True):
        found += _for_all_rows(some, backward.gradients(), by_these).flat
    return [gradient for gradient, need in zip(found, needed, strict=True) if need and gradient is not None]


def _for_all_rows(rows: _Rows, gradients: Each[Tensor | None], by_results: ByResults) -> Each[Tensor | None]:
    """Gradients for all rows. For a row without steps, the final state's gradient is the initial state's."""
    if rows.packing is None:
        return gradients
    states = list[Tensor | None]()
    for gradient, by_final in zip(gradients.states, by_results.states, strict=False):
        if gradient is None:
            states.append(None)
            continue
        shape = rows.packing.B, gradient.size(1)
        whole = gradient.new_zeros(shape) if by_final is None else by_final.clone()
        states.append(whole.index_copy_(0, rows.packing.order, gradient))
    return gradients._replace(states=tuple(states))


@_gradient.register_fake
def _of_gradients(tensors: Sequence[Tensor], needed: Sequence[bool], *_: object) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor, need in zip(tensors, needed, strict=True) if need]


def _set_up(ctx: Any, inputs: tuple[Any, ...], output: Sequence[Tensor]) -> None:
    tensors, lengths, ctx.described, resets, seeds = inputs
    ctx.counts = len(tensors), len(resets), len(seeds)
    ctx.save_for_backward(lengths, *tensors, *resets, *seeds)
    ctx.set_materialize_grads(False)


def _gradients(ctx: Any, by_results: Sequence[Tensor | None]) -> tuple[Any, ...]:
    lengths, *saved = ctx.saved_tensors
    tensors, resets, seeds = ([saved.pop(0) for _ in range(count)] for count in ctx.counts)
    needed = list(ctx.needs_input_grad[0])
    arguments = tensors, needed, lengths, ctx.described, resets, seeds, list(by_results)
    found = iter(torch.ops.gatewise.scan_rows_gradient(*arguments))
    by_tensors = [next(found) if need else None for need in needed]
    return by_tensors, None, None, [None] * len(resets), [None] * len(seeds)


_scan_rows.register_autograd(_gradients, setup_context=_set_up)
