"""Scans with gradient checkpointing: states are saved every few steps, and the rest is computed again.

Source: Chen, Xu, Zhang & Guestrin 2016, "Training Deep Nets with Sublinear Memory Cost".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from gatewise.nn.kernels.autograd import by_torch, gradients_by_torch
from gatewise.nn.kernels.backward import Backward
from gatewise.nn.kernels.flat import ByResults, Each
from gatewise.nn.kernels.forward import Forward
from gatewise.nn.kernels.problem import run
from gatewise.nn.scan import as_outside_of_training, scan_together
from gatewise.nn.walk.eager import first_rows_replaced, initial_states
from gatewise.nn.walk.listening import KERNEL, here
from gatewise.nn.walk.obstacles import serves, transform, watched
from gatewise.nn.walk.random import Chance
from gatewise.nn.walk.walk import Scanned, Walk, scanned

_States: TypeAlias = tuple[Tensor, ...]


def scan_in_segments(steps: int, walk: Walk) -> Scanned:
    """Run a walk in segments of `steps` steps, and save only the states before each segment.

    The memory besides input and output grows with ``T / steps + steps`` instead of T. In backward, the
    compiled kernels run each segment again. Walks that cannot be compiled use `torch.utils.checkpoint`.

    Every step is saved in three cases: the gradient is differentiated again; a transform of `torch.func` is
    active, which `torch.utils.checkpoint` does not support; or a tracer sees a walk with resets or random
    masks.
    """
    if walk.padding is not None:
        return scan_in_segments(steps, walk.packed()).padded(walk)
    walk = as_outside_of_training(walk)
    trains = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in walk.tensors)
    if not trains or transform() or _is_one_operator(walk):
        return scan_together([walk])[0]
    if walk.states is None:
        like = walk.x.new_empty(walk.steps_and_rows[1], 0)
        walk = walk._replace(states=initial_states(walk.cell, like, walk.weights))
    if torch.compiler.is_compiling() or watched() or not serves(walk.tensors):
        return _by_torch(walk, steps)
    for listener in here.listeners:
        listener.scan(walk.cell, walk.x, walk.weights, (), KERNEL)
    found = _Segments.apply(walk, steps, *walk.tensors)  # type: ignore[no-untyped-call]
    return scanned(walk, iter(found))


def _is_one_operator(walk: Walk) -> bool:
    """Whether a walk is not split, because the operator for tracers has no `restart` and no first step."""
    seen = torch.compiler.is_compiling() or watched()
    return seen and (walk.reset is not None or walk.chance is not None)


class _Segment(NamedTuple):
    """Consecutive steps of a walk.

    Attributes:
        walk: the walk over these steps. Its states are those of the whole walk.
        start, length: the steps of the sequence; for packed data, the positions.
    """

    walk: Walk
    start: int
    length: int

    @classmethod
    def over(cls, whole: Walk, start: int, length: int) -> _Segment:
        """The segment of a walk with these steps."""
        segment = cls(whole, start, length)
        walk = whole._replace(x=segment.of(whole.x))
        if whole.reset is not None:
            restart = tuple(state.contiguous() for state in segment.running(whole.states or ()))
            walk = walk._replace(reset=segment.of(whole.reset), restart=restart)
        return segment._replace(walk=walk)

    def of(self, sequence: Tensor) -> Tensor:
        """The part of a sequence, as a view."""
        return sequence.narrow(_time(self.walk), self.start, self.length)

    def running(self, states: Sequence[Tensor]) -> _States:
        """The states of the rows that have steps in the segment."""
        if self.walk.batch_sizes is None:
            return tuple(states)
        return tuple(state[: int(self.walk.batch_sizes[0])] for state in states)

    def leaving(self, state: Tensor) -> Tensor:
        """The state of the rows that have the last step of the segment, in the order of the walk."""
        sizes = self.walk.batch_sizes
        return state if sizes is None else state[: int(sizes[0 if self.walk.reverse else -1])]

    @property
    def resets_first(self) -> Tensor | None:
        """``[rows, 1]``: which rows are reset at the first step of the segment."""
        walk, reset = self.walk, self.walk.reset
        if reset is None or walk.restart is None:
            return None
        first = -1 if walk.reverse else 0
        if walk.batch_sizes is None:
            return reset.select(_time(walk), first)[:, None]
        resets = torch.split(reset, walk.batch_sizes.tolist())[first]
        return F.pad(resets, (0, len(walk.restart[0]) - len(resets)))[:, None]

    def entering(self, states: Sequence[Tensor]) -> _States:
        """The states of its rows before the segment, after resets."""
        reset, states = self.resets_first, self.running(states)
        if reset is None or self.walk.restart is None:
            return tuple(states)
        pairs = zip(self.walk.restart, states, strict=True)
        return tuple(torch.where(reset, restart, state) for restart, state in pairs)


def _segments(walk: Walk, steps: int) -> list[_Segment]:
    """The segments of a walk, in its order, each with `steps` steps except the last."""
    sizes, T = walk.batch_sizes, walk.steps_and_rows[0]
    walked = [(start, min(start + steps, T)) for start in range(0, T, steps)]
    spans = [(T - end, T - start) for start, end in walked] if walk.reverse else walked
    if sizes is None:
        segments = [_Segment.over(walk, start, end - start) for start, end in spans]
    else:
        ends = [0, *sizes.cumsum(0).tolist()]
        segments = [
            _Segment.over(walk._replace(batch_sizes=sizes[start:end]), ends[start], ends[end] - ends[start])
            for start, end in spans
        ]
    return segments if walk.chance is None else list(_counted(segments, walk.chance))


def _counted(segments: Sequence[_Segment], chance: Chance) -> Iterator[_Segment]:
    """Set the number of each segment's first step, on which random masks depend."""
    step = chance.first_step
    for segment in segments:
        walk, sizes = segment.walk, segment.walk.batch_sizes
        yield segment._replace(walk=walk._replace(chance=chance._replace(first_step=step)))
        step += segment.length if sizes is None else len(sizes)


def _time(walk: Walk) -> int:
    return 1 if walk.batch_first and walk.batch_sizes is None else 0


def _by_torch(walk: Walk, steps: int) -> Scanned:
    parts: list[Scanned] = []
    states = walk.states or ()
    for segment in _segments(walk, steps):
        part = segment.walk._replace(states=segment.entering(states), inner=False)
        (found,) = checkpoint(_as_it_was(part), [part], use_reentrant=False, preserve_rng_state=False)
        states = first_rows_replaced(states, found.states)
        parts.append(found)
    in_time = parts[::-1] if walk.reverse else parts
    output = torch.cat([part.output for part in in_time], _time(walk))
    recorded = {name: torch.cat([part.recorded[name] for part in in_time]) for name in walk.record}
    return Scanned(output, states, recorded)


def _as_it_was(part: Walk) -> Callable[[Sequence[Walk]], Sequence[Scanned]]:
    """`scan_together` for `part`, which refuses to run again if a tensor was changed in place."""
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
    def forward(ctx: Any, walk: Walk, steps: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        called = Forward(walk, keep=False, every=steps)
        run(called)
        results = called.results()
        ctx.blank, ctx.steps = walk.blank(), steps
        ctx.save_for_backward(*tensors, *called.passed)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*results.recorded.values())
        return tuple(results.flat)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        blank, saved = ctx.blank, iter(ctx.saved_tensors)
        walk, passed = blank.filled(saved), list(saved)
        needed = Each.of(blank, iter(ctx.needs_input_grad[2:]))
        by_results = ByResults.of(blank, iter(gradients))
        if by_torch(gradients, walk.tensors):
            return None, None, *gradients_by_torch(walk, needed, by_results)
        needed = needed._replace(states=(True,) * len(needed.states))  # by the states before each segment
        return None, None, *_gradients(walk, _stages(walk, ctx.steps, passed), needed, by_results).flat


class _Stage(NamedTuple):
    """A segment, and the states before it."""

    segment: _Segment
    entering: _States


def _stages(walk: Walk, steps: int, passed: Sequence[Tensor]) -> list[_Stage]:
    """The segments with the states before them. `passed` has, for each state, those after the segments."""
    segments, initial = _segments(walk, steps), walk.states or ()
    stages = [_Stage(segments[0], segments[0].entering(initial))]
    for k, (before, segment) in enumerate(pairwise(segments)):
        followed = tuple(before.leaving(states[k]) for states in passed)
        stages.append(_Stage(segment, segment.entering(first_rows_replaced(initial, followed))))
    return stages


def _gradients(
    walk: Walk, stages: Sequence[_Stage], needed: Each[bool], by_results: ByResults
) -> Each[Tensor | None]:
    """The gradients by all tensors of a walk, computed from the last segment to the first."""
    initial, by_output = walk.states or (), by_results.output
    by_x = torch.empty_like(walk.x) if needed.x else None
    by_weights: list[Tensor | None] = [None] * len(needed.weights)
    pairs = zip(initial, by_results.states, strict=True)
    by_states = tuple(torch.zeros_like(state) if by is None else by for state, by in pairs)
    by_restart = tuple(map(torch.zeros_like, initial))
    for segment, entering in reversed(stages):
        by = ByResults(None if by_output is None else segment.of(by_output), segment.running(by_states))
        found, by_resets = _once_more(segment.walk._replace(states=entering), needed, by)
        if by_x is not None and found.x is not None:
            segment.of(by_x).copy_(found.x)
        by_weights = [_sum(*both) for both in zip(by_weights, found.weights, strict=True)]
        by_entering = tuple(by for by in found.states if by is not None)
        _take_to_restart(segment, by_entering, segment.running(by_restart), by_resets)
        by_states = first_rows_replaced(by_states, by_entering)
    by_initial = tuple(torch.add(*both) for both in zip(by_states, by_restart, strict=True))
    return Each(by_x, tuple(by_weights), by_initial, (None,) * len(needed.resets))


def _take_to_restart(
    segment: _Segment, by_entering: _States, by_restart: _States, by_resets: Sequence[Tensor]
) -> None:
    """Add to `by_restart` the gradients of rows that are reset inside a segment or at its first step."""
    for total, by in zip(by_restart, by_resets, strict=False):
        total += by
    reset = segment.resets_first
    if reset is not None:
        for total, by in zip(by_restart, by_entering, strict=True):
            total += torch.where(reset, by, 0)
            by.masked_fill_(reset, 0)


def _once_more(
    walk: Walk, needed: Each[bool], by_results: ByResults
) -> tuple[Each[Tensor | None], list[Tensor]]:
    """Run a segment again. Returns its gradients, and those by the states of its reset rows."""
    walk = walk._replace(record=(), inner=True)
    forward = Forward(walk, keep=True)
    run(forward)
    backward = Backward(walk, forward.tape(), needed, by_results)
    run(backward)
    return backward.gradients(), backward.by_restart


def _sum(total: Tensor | None, part: Tensor | None) -> Tensor | None:
    return part if total is None or part is None else total.add_(part)
