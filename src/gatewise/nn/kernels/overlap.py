"""Layers of a stack that overlap in time: each runs on its own thread, some steps behind the layer below.

Threads that divide the units of a layer have a barrier at every step, which costs more than small layers
gain. Overlapping layers wait for each other only once in several steps. The bits are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice, pairwise
from typing import Any, TypeVar, final

import torch
from torch import Tensor

from gatewise.compiler.run.program import compiled, worth
from gatewise.compiler.run.threads import available
from gatewise.nn.kernels.autograd import again, by_torch, derivatives
from gatewise.nn.kernels.backward import Backward
from gatewise.nn.kernels.flat import ByResults, Each, Tape
from gatewise.nn.kernels.forward import Forward
from gatewise.nn.kernels.problem import Problem, tell_side_by_side
from gatewise.nn.walk.obstacles import COMPILED
from gatewise.nn.walk.walk import Scanned, Walk

_STEPS = 16  # steps per chunk: the layer above starts a chunk when the layer below has finished it
_T = TypeVar("_T")
_LINE = 8  # numbers of 64 bits in a cache line


def pays(walks: Sequence[Walk]) -> bool:
    """Whether the layers of a stack should overlap.

    They should if each of them is too little work for two threads, but all together are enough.
    """
    threads = available(torch.get_num_threads())
    if min(threads, len(walks)) < 2 or any(w.batch_sizes is not None or w.record for w in walks):
        return False
    cell, (T, B) = walks[0].cell, walks[0].steps_and_rows
    kernels, work = compiled(cell, COMPILED[walks[0].x.dtype]), 0
    for walk in walks:
        I, H = walk.weights.weight_ih.size(1), walk.units
        if kernels.team(threads, T, B, I, H).threads > 1:
            return False
        work += len(kernels.plan.slots) * H * (H + I) * B * T
    return worth(threads, len(walks), work) > 1


def scan_stack(walks: Sequence[Walk]) -> list[Scanned]:
    """Run the layers of a stack. The input of each is the output of the layer before, not that of its walk.

    No values are recorded. All results have the output of the last layer.
    """
    last = len(walks) - 1
    walks = [walk._replace(layer=layer, inner=layer < last) for layer, walk in enumerate(walks)]
    tensors = [*walks[0].tensors, *chain(*(walk.tensors[1:] for walk in walks[1:]))]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        output, *finals = _Stack.apply(walks, *tensors)  # type: ignore[no-untyped-call]
        rest = iter(finals)
        return [Scanned(output, tuple(next(rest) for _ in walk.cell.states), {}) for walk in walks]
    forwards = _forwards(walks, keep=False)
    _run_overlapping(forwards)
    return [forward.results()._replace(output=forwards[-1].output) for forward in forwards]


def _forwards(walks: Sequence[Walk], keep: bool) -> list[Forward]:
    x, found = walks[0].x, list[Forward]()
    for walk in walks:
        found.append(Forward(walk._replace(x=x), keep))
        x = found[-1].output
    return found


def _of_stack(blank: Sequence[Walk], things: Sequence[_T], inner: Sequence[_T]) -> Iterator[_T]:
    """Values for the tensors of all layers: `inner` for inputs of layers above the first, else `things`."""
    rest, of_inputs = iter(things), iter(inner)
    for layer, walk in enumerate(blank):
        yield next(of_inputs) if layer else next(rest)
        yield from islice(rest, len(walk.tensors) - 1)


def _run_overlapping(problems: Sequence[Problem]) -> None:
    """Run calls of one kernel at the same time. Each reads what the one before writes."""
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
    def forward(ctx: Any, walks: Sequence[Walk], *tensors: Tensor) -> tuple[Tensor, ...]:
        forwards = _forwards(walks, keep=True)
        _run_overlapping(forwards)
        ctx.blank = [walk.blank() for walk in walks]
        ctx.save_for_backward(*tensors, *chain(*(forward.tape().flat for forward in forwards)))
        ctx.set_materialize_grads(False)
        return forwards[-1].output, *chain(*(forward.results().states for forward in forwards))

    @staticmethod
    def backward(ctx: Any, by_output: Tensor | None, *by_finals: Tensor | None) -> tuple[Tensor | None, ...]:
        blank, needs, n = ctx.blank, ctx.needs_input_grad[1:], len(ctx.needs_input_grad) - 1
        tensors, by_results = ctx.saved_tensors[:n], (by_output, *by_finals)
        if by_torch(by_results, tensors):
            return None, *derivatives(partial(_again, blank), tensors, needs, by_results)
        saved, by = iter(ctx.saved_tensors[n:]), iter(by_finals)
        tapes = [Tape.of(walk, saved) for walk in blank]
        walks = _filled(blank, tensors, [tape.states[0] for tape in tapes[:-1]])
        needed = _of_stack(blank, needs, [True] * (len(blank) - 1))
        parts = [
            (walk, tape, Each.of(walk, needed), tuple(next(by) for _ in walk.cell.states))
            for walk, tape in zip(walks, tapes, strict=True)
        ]
        backwards = list[Backward]()
        for walk, tape, need, by_states in reversed(parts):
            backwards.append(Backward(walk, tape, need, ByResults(by_output, by_states)))
            by_output = backwards[-1].dx
        _run_overlapping(backwards)
        first, *above = [backward.gradients().flat for backward in reversed(backwards)]
        return None, *first, *chain(*(found[1:] for found in above))


def _filled(
    blank: Sequence[Walk], tensors: Sequence[Tensor], inner: Sequence[Tensor] | None = None
) -> list[Walk]:
    """The walks of a stack with their tensors. `inner` are the inputs of layers above the first."""
    inner = [walk.x for walk in blank[1:]] if inner is None else inner
    rest = _of_stack(blank, tensors, inner)
    return [walk.filled(rest) for walk in blank]


def _again(blank: Sequence[Walk], tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Compute the output and all final states again, in torch operations."""
    output, finals = tensors[0], list[Tensor]()
    for walk in _filled(blank, tensors):
        found = again(walk._replace(x=output))
        output = found.output
        finals += found.states
    return output, *finals
