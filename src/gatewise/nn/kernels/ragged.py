"""Scans over rows of different lengths as operators of torch, for programs of `torch.export`.

What a tracer cannot know, how many steps all rows have together, stays inside: the operators take and give
padded tensors. Backward computes forward again, as what a kernel keeps has no size that a tracer could know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, library
from torch._decomp import register_decomposition

from gatewise.nn.kernels import operators
from gatewise.nn.kernels.autograd import scanned
from gatewise.nn.kernels.backward import Backward
from gatewise.nn.kernels.call import Call, flat
from gatewise.nn.kernels.forward import Forward
from gatewise.nn.kernels.problem import run
from gatewise.nn.walk.obstacles import Obstacle
from gatewise.nn.walk.packing import Packing
from gatewise.nn.walk.rows import row_lengths
from gatewise.nn.walk.walk import Scanned, Walk


def scan(walks: Sequence[Walk], lengths: Tensor, in_the_way: Iterable[Obstacle]) -> list[Scanned]:
    """As `gatewise.nn.scan.scan_together`, for walks over padded rows of ``lengths [B]``.

    Raises:
        ValueError: something keeps them from the kernels, or values are watched.
    """
    why = [obstacle.reason for obstacle in in_the_way] + ["it is watched"] * bool(walks[0].record)
    if why:
        raise ValueError(f"torch.export: a layer with lengths= must run in the compiled kernel; {why[0]}")
    tensors, *more = operators.arguments(walks)
    parts = operators.evenly(torch.ops.gatewise.scan_rows(tensors, lengths, *more), len(walks))
    return [scanned(walk, some) for walk, some in zip(walks, parts, strict=True)]


class _Rows(NamedTuple):
    """A call on the rows that have steps, in the order of packed data; `packing` is None if all have all."""

    call: Call
    tensors: list[Tensor]
    packing: Packing | None

    @classmethod
    def of(cls, call: Call, tensors: Sequence[Tensor], lengths: Tensor) -> _Rows:
        """Of padded tensors."""
        x, weights, states = call.unpack(tensors)
        B, T = x.shape[:2] if call.batch_first else x.shape[1::-1]
        packing = Packing.of_lengths(row_lengths(lengths, B, T), T)
        if packing.size == B * T:
            return cls(call, list(tensors), None)
        reset = None if call.reset is None else packing.pack(call.reset, call.batch_first)
        packed = call._replace(batch_sizes=packing.batch_sizes, padding=packing, reset=reset)
        order = packing.order
        return cls(packed, flat(x, weights, [state.index_select(0, order) for state in states]), packing)

    def padded(self, finals: Sequence[Tensor], given: Sequence[Tensor]) -> list[Tensor]:
        """States for all rows ``[B, H]``; those of a row without steps are the ones `given`, or zeros."""
        if self.packing is None:
            return list(finals)
        stacked = [[state.unsqueeze(0) for state in states] for states in (finals, given)]
        return [state.squeeze(0) for state in self.packing.pad_states(*stacked)]

    def packed(self, by_final: Tensor | None) -> Tensor | None:
        """The gradient by a final state, of the rows that have steps."""
        if self.packing is None or by_final is None:
            return by_final
        return by_final.index_select(0, self.packing.order)


_ROWS = "(Tensor[] tensors, Tensor lengths, str described, Tensor[] resets, Tensor[] seeds) -> Tensor[]"


@library.custom_op("gatewise::scan_rows", mutates_args=(), schema=_ROWS)
def _scan_rows(
    tensors: Sequence[Tensor],
    lengths: Tensor,
    described: str,
    resets: Sequence[Tensor],
    seeds: Sequence[Tensor],
) -> list[Tensor]:
    calls = operators.calls_on(tensors, described, resets, seeds)
    given = operators.evenly(tensors, len(calls))
    rows = [_Rows.of(*pair, lengths) for pair in zip(calls, given, strict=True)]
    forwards = [Forward(some.call, some.tensors, keep=False) for some in rows]
    run(*forwards)
    found = list[Tensor]()
    for some, forward, own, call in zip(rows, forwards, given, calls, strict=True):
        output, *finals = forward.results()
        found += [output, *some.padded(finals, call.unpack(own)[2])]
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
    calls = operators.calls_on(tensors, described, resets, seeds)
    parts = [operators.evenly(things, len(calls)) for things in (tensors, needed, by_results)]
    rows = [_Rows.of(call, given, lengths) for call, given in zip(calls, parts[0], strict=True)]
    forwards = [Forward(some.call, some.tensors, keep=True) for some in rows]
    run(*forwards)
    backwards = [
        Backward(some.call, some.tensors, forward.tape(), need, (by[0], *map(some.packed, by[1:])))
        for some, forward, need, by in zip(rows, forwards, *parts[1:], strict=True)
    ]
    run(*backwards)
    found = list[Tensor | None]()
    for some, backward, by in zip(rows, backwards, parts[2], strict=True):
        found += _for_all_rows(some, list(backward.gradients()), by)
    return [gradient for gradient, need in zip(found, needed, strict=True) if need and gradient is not None]


def _for_all_rows(
    rows: _Rows, gradients: list[Tensor | None], by_results: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Gradients by the tensors of a call; that by the initial state of a row without steps is its final's."""
    n = len(rows.call.cell.states) if rows.call.given else 0
    if not n or rows.packing is None:
        return gradients
    for place, by_final in zip(range(-n, 0), by_results[1:], strict=True):
        gradient = gradients[place]
        if gradient is not None:
            whole = (
                gradient.new_zeros(rows.packing.B, gradient.size(1)) if by_final is None else by_final.clone()
            )
            gradients[place] = whole.index_copy_(0, rows.packing.order, gradient)
    return gradients


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
