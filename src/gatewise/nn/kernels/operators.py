"""The compiled kernels as operators of torch, for `torch.compile` and `torch.export`.

A graph has one operator for the scans of a layer, and one for their gradient. Operators take tensors, and one
text with all other arguments of the scans, including the equations of the cell.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import chain
from math import prod
from typing import Any

import torch
from torch import Tensor, library
from torch._decomp import register_decomposition
from torch.utils.flop_counter import register_flop_formula

from gatewise.compiler.plan.plan import plan
from gatewise.language import Cell
from gatewise.nn.kernels.backward import Backward
from gatewise.nn.kernels.flat import ByResults, Each, Tape, evenly
from gatewise.nn.kernels.forward import Forward
from gatewise.nn.kernels.problem import run
from gatewise.nn.walk.obstacles import readable
from gatewise.nn.walk.random import Chance
from gatewise.nn.walk.under_compile import cell_of, constant, form_of
from gatewise.nn.walk.walk import Scanned, Walk, scanned


def scan(walks: Sequence[Walk]) -> list[Scanned]:
    """The same as `gatewise.nn.kernels.autograd.scan`, for tracers, and for rows of equal length."""
    tensors, described, resets, seeds = arguments(walks)
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    found = torch.ops.gatewise.scan(tensors, described, keep, resets, seeds)
    parts = evenly(found, len(walks))
    return [scanned(walk, iter(part)) for walk, part in zip(walks, parts, strict=True)]


def arguments(walks: Sequence[Walk]) -> tuple[list[Tensor], str, list[Tensor], list[Tensor]]:
    """The arguments of an operator for walks: tensors, the text, reset masks and seeds."""
    assert all(walk.restart is None and not (walk.chance and walk.chance.first_step) for walk in walks)
    first = walks[0]
    described = _described(
        first.cell, tuple(walk.reverse for walk in walks), first.batch_first, tuple(first.record),
        first.biased, first.states is not None, first.inner,
    )  # fmt: skip
    tensors = [tensor for walk in walks for tensor in walk.arguments]
    resets = [walk.reset for walk in walks if walk.reset is not None]
    seeds = [torch.as_tensor(walk.chance.seed) for walk in walks if walk.chance is not None]
    return tensors, described, resets, seeds


@constant
def _described(
    cell: Cell,
    reverse: tuple[bool, ...],
    batch_first: bool,
    record: tuple[str, ...],
    biased: bool,
    given: bool,
    inner: bool,
) -> str:
    """The text with the other arguments of all scans of an operator."""
    return json.dumps([form_of(cell), reverse, batch_first, record, biased, given, inner])


@functools.lru_cache(maxsize=256)
def _read(described: str) -> tuple[Walk, ...]:
    """Read the text. Returns the walks, with empty tensors."""
    form, reverse, batch_first, record, biased, given, inner = json.loads(described)
    return tuple(
        Walk.without_tensors(
            cell_of(form), biased, given,
            reverse=back, batch_first=batch_first, record=tuple(record), inner=inner,
        )
        for back in reverse
    )  # fmt: skip


def walks_on(
    tensors: Sequence[Tensor], described: str, resets: Sequence[Tensor], seeds: Sequence[Tensor]
) -> list[Walk]:
    """The walks that an operator computes.

    Raises:
        TypeError: kernels cannot read these tensors.
    """
    if not readable([*tensors, *resets]):
        kinds = ", ".join(sorted({f"{tensor.dtype} on {tensor.device}" for tensor in tensors}))
        raise TypeError(f"gatewise::scan takes CPU tensors, all float32 or all float64. Got {kinds}.")
    return walks_of(tensors, described, resets, seeds)


def walks_of(
    tensors: Sequence[Tensor], described: str, resets: Sequence[Tensor] = (), seeds: Sequence[Tensor] = ()
) -> list[Walk]:
    """The walks that an operator computes, without a check of the tensors."""
    rest = iter(tensors)
    walks = [walk.filled(rest) for walk in _read(described)]
    if resets:
        walks = [walk._replace(reset=mask) for walk, mask in zip(walks, resets, strict=True)]
    if seeds:
        walks = [w._replace(chance=Chance(int(seed))) for w, seed in zip(walks, seeds, strict=True)]
    return walks


# AOTInductor passes None for an empty list.
_SCAN = "(Tensor[] tensors, str described, bool keep, Tensor[]? resets, Tensor[]? seeds) -> Tensor[]"


@library.custom_op("gatewise::scan", mutates_args=(), schema=_SCAN)
def _scan(
    tensors: Sequence[Tensor],
    described: str,
    keep: bool,
    resets: Sequence[Tensor] | None,
    seeds: Sequence[Tensor] | None,
) -> list[Tensor]:
    forwards = [Forward(walk, keep) for walk in walks_on(tensors, described, resets or (), seeds or ())]
    run(*forwards)
    return [tensor for forward in forwards for tensor in _handed_out(forward, keep)]


def _handed_out(forward: Forward, keep: bool) -> Iterator[Tensor]:
    """The results, and further tensors that backward reads. No two of them share memory."""
    results = forward.results()
    yield from (*results.differentiable, *(values.clone() for values in results.recorded.values()))
    if keep:
        tape = forward.tape()
        if forward.walk.inner:  # the output is on the tape already
            tape = tape._replace(states=tape.states[1:])
        yield from (tensor if tensor.numel() else tensor.clone() for tensor in tape.flat)


@_scan.register_fake
def shapes(tensors: Sequence[Tensor], described: str, keep: bool, *_: object) -> list[Tensor]:
    """Empty tensors with the shapes of the operator's results."""
    return [tensor for walk in walks_of(tensors, described) for tensor in _shaped(walk, keep)]


def _shaped(walk: Walk, keep: bool) -> Iterator[Tensor]:
    """Empty tensors with the shapes of the results of `_handed_out`."""
    yield from _shaped_results(walk)
    if keep:
        yield from _shaped_tape(walk)


def _shaped_results(walk: Walk) -> Iterator[Tensor]:
    x, (T, B), H, P = walk.x, walk.steps_and_rows, walk.units, walk.weights.weight_hh.size(1)
    yield x.new_empty(*x.shape[:2], P)
    for n in range(len(walk.cell.states)):
        yield x.new_empty(B, H if n else P)
    for name in walk.record:
        yield x.new_empty(T, B, P if walk.cell.values[name].op == "project" else H)


def _shaped_tape(walk: Walk) -> Iterator[Tensor]:
    x, planned, H, P = walk.x, plan(walk.cell), walk.units, walk.weights.weight_hh.size(1)
    for width in (planned.gates * H, len(planned.forward.means)):
        yield x.new_empty(*x.shape[:2], width) if planned.keeps and width else x.new_empty(0)
    for n in range(walk.inner, len(walk.cell.states)):
        yield x.new_empty(*x.shape[:2], H if n else P)


@register_decomposition(torch.ops.gatewise.scan.default)
def decomposed(
    tensors: Sequence[Tensor],
    described: str,
    keep: bool,
    resets: Sequence[Tensor],
    seeds: Sequence[Tensor],
    lengths: Tensor | None = None,
) -> Any:
    """Decompose the operator for `torch.onnx.export`. Elsewhere it stays an operator."""
    from torch.fx.experimental.proxy_tensor import get_proxy_mode

    if get_proxy_mode() is None:  # fake tensors call this for shapes too
        return shapes(tensors, described, keep)
    if not torch.onnx.is_in_onnx_export():
        return NotImplemented
    if seeds:
        raise ValueError("a layer is random in training, and an ONNX file cannot be: call model.eval() first")
    walks = walks_of(tensors, described, resets)
    # Imported by name, because it is in a higher part, and needs onnx.
    found = import_module("gatewise.interop.onnx.translation").translated(walks, lengths)
    tapes = [list(_shaped_tape(walk)) if keep else [] for walk in walks]  # never read
    return [tensor for pair in zip(found, tapes, strict=True) for tensor in chain(*pair)]


def _without_recorded(described: str) -> list[Walk]:
    """The walks, with empty tensors and without recorded values."""
    return [walk._replace(record=()) for walk in _read(described)]


_GRADIENT = (
    "(Tensor[] tensors, bool[] needed, str described, Tensor[] tapes, Tensor[] resets, Tensor[] seeds, "
    "Tensor?[] by_results) -> Tensor[]"
)


@library.custom_op("gatewise::scan_gradient", mutates_args=(), schema=_GRADIENT)
def _gradient(
    tensors: Sequence[Tensor],
    needed: Sequence[bool],
    described: str,
    tapes: Sequence[Tensor],
    resets: Sequence[Tensor],
    seeds: Sequence[Tensor],
    by_results: Sequence[Tensor | None],
) -> list[Tensor]:
    walks = walks_on(tensors, described, resets, seeds)
    needs, by, saved = iter(needed), iter(by_results), iter(tapes)
    # A compiler may merge equal scans, so several gradients may read the same tape.
    backwards = [
        Backward(walk, Tape.of(walk, saved), Each.of(blank, needs), ByResults.of(blank, by), in_place=False)
        for walk, blank in zip(walks, _without_recorded(described), strict=True)
    ]
    run(*backwards)
    found = chain(*(backward.gradients().flat for backward in backwards))
    return [gradient for gradient in found if gradient is not None]


@_gradient.register_fake
def _of_gradients(tensors: Sequence[Tensor], needed: Sequence[bool], *_: object) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor, need in zip(tensors, needed, strict=True) if need]


def _set_up(ctx: Any, inputs: tuple[Any, ...], output: Sequence[Tensor]) -> None:
    tensors, ctx.described, keep, resets, seeds = inputs
    if not keep:  # the program was exported without gradients
        ctx.mark_non_differentiable(*output)
        return
    silent, tapes = list[Tensor](), list[Tensor]()
    walks = _read(ctx.described)
    for walk, handed_out in zip(walks, evenly(output, len(walks)), strict=True):
        rest = iter(handed_out)
        results = scanned(walk, rest)
        gates, means, *steps = rest
        silent += [*results.recorded.values(), gates, means, *steps]
        tapes += [gates, means, *[results.output] * walk.inner, *steps]
    ctx.counts = len(tensors), len(resets), len(seeds)
    ctx.save_for_backward(*tensors, *resets, *seeds, *tapes)
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*silent)


def _gradients(ctx: Any, by_output: Sequence[Tensor | None]) -> tuple[Any, ...]:
    walks, saved = _read(ctx.described), list(ctx.saved_tensors)
    tensors, resets, seeds = ([saved.pop(0) for _ in range(count)] for count in ctx.counts)
    parts, needed = evenly(by_output, len(walks)), list(ctx.needs_input_grad[0])
    by_results = [by for w, part in zip(walks, parts, strict=True) for by in ByResults.of(w, iter(part)).flat]
    arguments = (tensors, needed, ctx.described, saved, resets, seeds, by_results)
    found = iter(torch.ops.gatewise.scan_gradient(*arguments))
    by_tensors = [next(found) if need else None for need in needed]
    return by_tensors, None, None, [None] * len(resets), [None] * len(seeds)


_scan.register_autograd(_gradients, setup_context=_set_up)


@register_flop_formula(torch.ops.gatewise.scan)
def _flops(tensors: Sequence[torch.Size], described: str, *_: object, **__: object) -> int:
    """The FLOPs of the matrix products of a call, for `torch.utils.flop_counter`, from shapes of tensors."""
    walks = walks_of(tensors, described)  # type: ignore[arg-type]  # of shapes in place of tensors
    return sum(rows * size for walk in walks for rows, size, _ in _products(walk))


@register_flop_formula(torch.ops.gatewise.scan_gradient)
def _flops_of_gradient(
    tensors: Sequence[torch.Size], needed: Sequence[bool], described: str, *_: object, **__: object
) -> int:
    """The FLOPs of a gradient: for each product, the gradients by its matrix and by its vectors."""
    found, needs = 0, iter(needed)
    for walk in walks_of(tensors, described):  # type: ignore[arg-type]  # of shapes in place of tensors
        need: Any = walk.filled(needs)  # type: ignore[arg-type]  # of answers
        for rows, size, name in _products(walk):
            found += rows * size * (getattr(need.weights, name) + (need.x if name == "weight_ih" else True))
    return found


def _products(walk: Walk) -> Iterator[tuple[int, int, str]]:
    """For each matrix: the number of rows it multiplies, the operations for each row, and its name."""
    for name in ("weight_ih", "weight_hh", "weight_hr", "weight_linear"):
        shape: Any = getattr(walk.weights, name)
        if shape is not None:
            yield prod(walk.x[:-1]), 2 * prod(shape), name
