"""Scans that keep their states every few steps only, and compute the rest again when gradients are asked for.

Source: Chen, Xu, Zhang & Guestrin 2016, "Training Deep Nets with Sublinear Memory Cost".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from gatewise.nn.kernels.autograd import again, by_torch, derivatives
from gatewise.nn.kernels.backward import Backward
from gatewise.nn.kernels.call import Call, flat, resets, with_resets
from gatewise.nn.kernels.forward import Forward
from gatewise.nn.kernels.problem import run
from gatewise.nn.scan import as_outside_of_training, scan_together
from gatewise.nn.walk.eager import first_rows_replaced, initial_states
from gatewise.nn.walk.listening import KERNEL, here
from gatewise.nn.walk.obstacles import serves, transform, watched
from gatewise.nn.walk.random import Chance
from gatewise.nn.walk.walk import Scanned, Walk, Weights

_States: TypeAlias = tuple[Tensor, ...]


def scan_in_segments(steps: int, walk: Walk) -> Scanned:
    """A walk in segments of so many `steps`, of which only the entering states are kept.

    Memory beside input and output grows with ``T / steps + steps`` in place of T. The compiled kernels run
    each segment once more in backward; where they do not serve, `torch.utils.checkpoint` does the same.

    Every step is kept for a gradient that is to be differentiated again, under a transform of `torch.func`
    (`torch.utils.checkpoint` knows none), and where a tracer sees a walk with resets or random masks.
    """
    if walk.padding is not None:
        return scan_in_segments(steps, walk.packed()).padded(walk)
    walk = as_outside_of_training(walk)
    x, weights, states = walk.x, walk.weights, walk.states
    trains = torch.is_grad_enabled() and any(t.requires_grad for t in flat(x, weights, states or ()))
    if not trains or transform() or _is_one_operator(walk):
        return scan_together([walk])[0]
    if states is None:
        sizes = walk.batch_sizes
        rows = x.size(0 if walk.batch_first else 1) if sizes is None else int(sizes[0])
        states = initial_states(walk.cell, x.new_empty(rows, 0), weights)
    call = Call.of(walk._replace(states=states))
    if torch.compiler.is_compiling() or watched() or not serves(walk._replace(states=states).tensors):
        return _by_torch(call, steps, x, weights, states)
    for listener in here.listeners:
        listener.scan(walk.cell, x, weights, (), KERNEL)
    output, *rest = _Segments.apply(call, steps, *flat(x, weights, states))  # type: ignore[no-untyped-call]
    finals, recorded = rest[: len(states)], rest[len(states) :]
    return Scanned(output, tuple(finals), dict(zip(walk.record, recorded, strict=True)))


def _is_one_operator(walk: Walk) -> bool:
    """Whether a walk is made whole: the operator that tracers see has no other restart and no first step."""
    seen = torch.compiler.is_compiling() or watched()
    return seen and (walk.reset is not None or walk.chance is not None)


class _Segment(NamedTuple):
    """Consecutive steps of a sequence, and how its kernels are called."""

    call: Call
    start: int
    length: int

    def of(self, sequence: Tensor) -> Tensor:
        """Its part, a view; packed, a part of the places."""
        return sequence.narrow(_time(self.call), self.start, self.length)

    def running(self, states: Sequence[Tensor]) -> _States:
        """The rows that take part in it."""
        if self.call.batch_sizes is None:
            return tuple(states)
        return tuple(state[: int(self.call.batch_sizes[0])] for state in states)

    def leaving(self, state: Tensor) -> Tensor:
        """The rows of the last step of the walk through it."""
        sizes = self.call.batch_sizes
        return state if sizes is None else state[: int(sizes[0 if self.call.reverse else -1])]

    def with_resets(self, reset: Tensor, initial: Sequence[Tensor]) -> _Segment:
        """Itself with its part of the resets."""
        restart = tuple(state.contiguous() for state in self.running(initial))
        return self._replace(call=self.call._replace(reset=self.of(reset), restart=restart))

    @property
    def resets_first(self) -> Tensor | None:
        """``[rows, 1]``: which of its rows are reset at its first step."""
        call, reset = self.call, self.call.reset
        if reset is None or call.restart is None:
            return None
        first = -1 if call.reverse else 0
        if call.batch_sizes is None:
            return reset.select(_time(call), first)[:, None]
        resets = torch.split(reset, call.batch_sizes.tolist())[first]
        return F.pad(resets, (0, len(call.restart[0]) - len(resets)))[:, None]

    def entering(self, states: Sequence[Tensor]) -> _States:
        """The states of its rows as they enter it."""
        anew, states = self.resets_first, self.running(states)
        if anew is None or self.call.restart is None:
            return tuple(states)
        pairs = zip(self.call.restart, states, strict=True)
        return tuple(torch.where(anew, restart, state) for restart, state in pairs)


def _segments(call: Call, steps: int, x: Tensor, initial: _States) -> list[_Segment]:
    """In the order of the walk, of so many steps each but the last."""
    sizes = call.batch_sizes
    T = x.size(_time(call)) if sizes is None else len(sizes)
    walked = [(start, min(start + steps, T)) for start in range(0, T, steps)]
    spans = [(T - end, T - start) for start, end in walked] if call.reverse else walked
    if sizes is None:
        segments = [_Segment(call, start, end - start) for start, end in spans]
    else:
        ends = [0, *sizes.cumsum(0).tolist()]
        segments = [
            _Segment(call._replace(batch_sizes=sizes[start:end]), ends[start], ends[end] - ends[start])
            for start, end in spans
        ]
    if call.reset is not None:
        segments = [segment.with_resets(call.reset, initial) for segment in segments]
    return segments if call.chance is None else list(_counted(segments, call.chance))


def _counted(segments: Sequence[_Segment], chance: Chance) -> Iterator[_Segment]:
    """With the number of its first step, by which chance decides."""
    step = chance.first_step
    for segment in segments:
        call, sizes = segment.call, segment.call.batch_sizes
        yield segment._replace(call=call._replace(chance=chance._replace(first_step=step)))
        step += segment.length if sizes is None else len(sizes)


def _time(call: Call) -> int:
    return 1 if call.batch_first and call.batch_sizes is None else 0


def _by_torch(call: Call, steps: int, x: Tensor, weights: Weights, states: _States) -> Scanned:
    parts = []
    for segment in _segments(call, steps, x, states):
        part = Walk(
            call.cell, segment.of(x), weights, segment.entering(states), call.reverse, call.batch_first,
            call.record, reset=segment.call.reset, batch_sizes=segment.call.batch_sizes,
            chance=segment.call.chance, restart=segment.call.restart,
        )  # fmt: skip
        (found,) = checkpoint(_as_it_was(part), [part], use_reentrant=False, preserve_rng_state=False)
        states = first_rows_replaced(states, found.states)
        parts.append(found)
    in_time = parts[::-1] if call.reverse else parts
    output = torch.cat([part.output for part in in_time], _time(call))
    recorded = {name: torch.cat([part.recorded[name] for part in in_time]) for name in call.record}
    return Scanned(output, states, recorded)


def _as_it_was(part: Walk) -> Callable[[Sequence[Walk]], Sequence[Scanned]]:
    """`scan_together` for `part`, and once more in backward unless its tensors have changed by then."""
    if torch.compiler.is_compiling():
        return scan_together
    versions = [tensor._version for tensor in part.tensors]

    def scan(walks: Sequence[Walk]) -> Sequence[Scanned]:
        if [tensor._version for tensor in part.tensors] != versions:
            raise RuntimeError(
                "A tensor which checkpoint reads again has been modified by an inplace operation. "
                "Give the call a clone of it."
            )
        return scan_together(walks)

    return scan


@final
class _Segments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Call, steps: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        called = Forward(call, tensors, keep=False, every=steps)
        run(called)
        results = called.results()
        masks = resets([call])
        ctx.call, ctx.masks, ctx.steps = call._replace(reset=None), len(masks), steps
        ctx.save_for_backward(*masks, *tensors, *called.passed)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*results[1 + len(call.cell.states) :])
        return results

    @staticmethod
    def backward(ctx: Any, *by_results: Tensor | None) -> tuple[Tensor | None, ...]:
        saved, n = ctx.saved_tensors, len(ctx.call.cell.states)
        masks, tensors, passed = saved[: ctx.masks], saved[ctx.masks : -n], saved[-n:]
        (call,), needed = with_resets([ctx.call], masks), ctx.needs_input_grad[2:]
        if by_torch(by_results, [*masks, *tensors]):
            return None, None, *derivatives(partial(again, call), tensors, needed, by_results)
        stages = _stages(call, ctx.steps, tensors[0], tensors[-n:], passed)
        return None, None, *_gradients(stages, tensors, (*needed[:-n], *n * [True]), by_results)


def _stages(
    call: Call, steps: int, x: Tensor, initial: _States, passed: Sequence[Tensor]
) -> list[tuple[_Segment, _States]]:
    """The segments, and what entered each: of each state `passed` are those that followed the segments."""
    segments = _segments(call, steps, x, initial)
    stages = [(segments[0], segments[0].entering(initial))]
    for k, (before, segment) in enumerate(pairwise(segments)):
        followed = tuple(before.leaving(states[k]) for states in passed)
        stages.append((segment, segment.entering(first_rows_replaced(initial, followed))))
    return stages


def _gradients(
    stages: Sequence[tuple[_Segment, _States]],
    tensors: Sequence[Tensor],
    needed: Sequence[bool],
    by_results: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """By each of `tensors`, from the segments and what entered them, the last first."""
    n = len(stages[0][1])
    x, weights, initial = tensors[0], tensors[1:-n], tensors[-n:]
    by_output, by_finals = by_results[0], by_results[1 : 1 + n]
    by_x = torch.empty_like(x) if needed[0] else None
    by_weights: list[Tensor | None] = [None] * len(weights)
    pairs = zip(initial, by_finals, strict=True)
    by_states = tuple(torch.zeros_like(state) if by is None else by for state, by in pairs)
    by_restart = tuple(map(torch.zeros_like, initial))
    for segment, entering in reversed(stages):
        given = [segment.of(x), *weights, *entering]
        by_given = [None if by_output is None else segment.of(by_output), *segment.running(by_states)]
        found, by_anew = _once_more(segment.call, given, needed, by_given)
        if by_x is not None and found[0] is not None:
            segment.of(by_x).copy_(found[0])
        by_weights = [_sum(*both) for both in zip(by_weights, found[1:-n], strict=True)]
        by_entering = tuple(by for by in found[-n:] if by is not None)
        _take_to_restart(segment, by_entering, segment.running(by_restart), by_anew)
        by_states = first_rows_replaced(by_states, by_entering)
    by_initial = [torch.add(*both) for both in zip(by_states, by_restart, strict=True)]
    return [by_x, *by_weights, *by_initial]


def _take_to_restart(
    segment: _Segment, by_entering: _States, by_restart: _States, by_anew: Sequence[Tensor]
) -> None:
    """Add to `by_restart` what comes of rows that are reset in a segment, and at its first step."""
    for total, by in zip(by_restart, by_anew, strict=False):
        total += by
    anew = segment.resets_first
    if anew is not None:
        for total, by in zip(by_restart, by_entering, strict=True):
            total += torch.where(anew, by, 0)
            by.masked_fill_(anew, 0)


def _once_more(
    call: Call, given: Sequence[Tensor], needed: Sequence[bool], by_results: Sequence[Tensor | None]
) -> tuple[list[Tensor | None], list[Tensor]]:
    """The gradients of one segment, by running it again, and those by what its reset rows begin from."""
    call = call._replace(record=(), inner=True)
    forward = Forward(call, given, keep=True)
    run(forward)
    backward = Backward(call, given, forward.tape(), needed, by_results)
    run(backward)
    return list(backward.gradients()), backward.by_restart


def _sum(total: Tensor | None, part: Tensor | None) -> Tensor | None:
    return part if total is None or part is None else total.add_(part)
