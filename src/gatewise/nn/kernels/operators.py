"""The compiled kernels as operators of torch, for `torch.compile` and `torch.export`.

A graph has one operator for the scans of a layer, and one for their gradient. Operators take tensors and
text; all else that a scan is asked to do goes in as one text, the equations of the cell among it.
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
from gatewise.nn.kernels.autograd import scanned, shared_out
from gatewise.nn.kernels.backward import Backward
from gatewise.nn.kernels.call import Call, flat, with_resets
from gatewise.nn.kernels.forward import Forward
from gatewise.nn.kernels.problem import run
from gatewise.nn.walk.obstacles import readable
from gatewise.nn.walk.random import Chance
from gatewise.nn.walk.under_compile import cell_of, constant, form_of
from gatewise.nn.walk.walk import Scanned, Walk


def scan(walks: Sequence[Walk]) -> list[Scanned]:
    """As `gatewise.nn.kernels.autograd.scan`, for a tracer; of walks over rows of one length."""
    tensors, described, resets, seeds = arguments(walks)
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    found = torch.ops.gatewise.scan(tensors, described, keep, resets, seeds)
    results = 1 + len(walks[0].cell.states) + len(walks[0].record)
    parts = evenly(found, len(walks))
    return [scanned(walk, some[:results]) for walk, some in zip(walks, parts, strict=True)]


def arguments(walks: Sequence[Walk]) -> tuple[list[Tensor], str, list[Tensor], list[Tensor]]:
    """What an operator is given of walks: tensors, the text, reset masks and seeds."""
    assert all(walk.restart is None and not (walk.chance and walk.chance.first_step) for walk in walks)
    first = walks[0]
    described = _described(
        first.cell, tuple(walk.reverse for walk in walks), first.batch_first, tuple(first.record),
        first.weights.bias_ih is not None, first.states is not None, first.inner,
    )  # fmt: skip
    tensors = [tensor for w in walks for tensor in flat(w.x, w.weights, w.states or ())]
    resets = [walk.reset for walk in walks if walk.reset is not None]
    seeds = [torch.as_tensor(walk.chance.seed) for walk in walks if walk.chance is not None]
    return tensors, described, resets, seeds


def evenly(things: Sequence[Any], parts: int) -> list[Sequence[Any]]:
    """As many things for each part."""
    return shared_out(things, [len(things) // parts] * parts)


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
    """What all scans of an operator are asked to do, and which of them go backwards."""
    return json.dumps([form_of(cell), reverse, batch_first, record, biased, given, inner])


@functools.lru_cache(maxsize=256)
def _read(described: str) -> tuple[Call, ...]:
    """The calls, without tensors."""
    form, reverse, batch_first, record, biased, given, inner = json.loads(described)
    return tuple(
        Call(
            cell_of(form), back, batch_first, tuple(record), biased,
            reset=None, batch_sizes=None, given=given, chance=None, inner=inner,
        )
        for back in reverse
    )  # fmt: skip


def calls_on(
    tensors: Sequence[Tensor], described: str, resets: Sequence[Tensor], seeds: Sequence[Tensor]
) -> list[Call]:
    """The calls that an operator is to make with these tensors.

    Raises:
        TypeError: they are none that kernels read.
    """
    if not readable([*tensors, *resets]):
        kinds = ", ".join(sorted({f"{tensor.dtype} on {tensor.device}" for tensor in tensors}))
        raise TypeError(f"gatewise::scan takes CPU tensors, all float32 or all float64. Got {kinds}.")
    return calls_of(described, resets, seeds)


def calls_of(described: str, resets: Sequence[Tensor], seeds: Sequence[Tensor]) -> list[Call]:
    """The calls that an operator is asked to make."""
    calls = with_resets(_read(described), resets)
    if seeds:
        calls = [c._replace(chance=Chance(int(seed))) for c, seed in zip(calls, seeds, strict=True)]
    return calls


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
    calls = calls_on(tensors, described, resets or (), seeds or ())
    given = evenly(tensors, len(calls))
    forwards = [Forward(call, some, keep) for call, some in zip(calls, given, strict=True)]
    run(*forwards)
    return [tensor for forward in forwards for tensor in _handed_out(forward, keep)]


def _handed_out(forward: Forward, keep: bool) -> Iterator[Tensor]:
    """Results, and what else backward reads; none may share its memory with another."""
    results, n = forward.results(), 1 + len(forward.call.cell.states)
    yield from (*results[:n], *(recorded.clone() for recorded in results[n:]))
    if keep:
        gates, means, *steps = forward.tape()
        more = steps[1:] if forward.call.inner else steps
        yield from (tape if tape.numel() else tape.clone() for tape in (gates, means, *more))


@_scan.register_fake
def shapes(tensors: Sequence[Tensor], described: str, keep: bool, *_: object) -> list[Tensor]:
    """Tensors of the shapes that the operator gives."""
    calls = _read(described)
    parts = zip(calls, evenly(tensors, len(calls)), strict=True)
    return [tensor for call, given in parts for tensor in _shaped(call, given, keep)]


def _shaped(call: Call, given: Sequence[Tensor], keep: bool) -> Iterator[Tensor]:
    """Tensors of the shapes that `_handed_out` gives."""
    x, weights, _ = call.unpack(given)
    planned, behind = plan(call.cell), len(call.cell.states) - 1
    T, B = x.shape[:2][:: -1 if call.batch_first else 1]
    H, P = weights.weight_ih.size(0) // len(call.cell.input_gates), weights.weight_hh.size(1)
    yield x.new_empty(*x.shape[:2], P)
    yield from (x.new_empty(B, width) for width in (P, *[H] * behind))
    for name in call.record:
        yield x.new_empty(T, B, P if call.cell.values[name].op == "project" else H)
    if keep:
        for width in (planned.gates * H, len(planned.forward.means)):
            yield x.new_empty(*x.shape[:2], width) if planned.keeps and width else x.new_empty(0)
        widths = [H] * behind if call.inner else [P, *[H] * behind]
        yield from (x.new_empty(*x.shape[:2], width) for width in widths)


@register_decomposition(torch.ops.gatewise.scan.default)
def decomposed(
    tensors: Sequence[Tensor],
    described: str,
    keep: bool,
    resets: Sequence[Tensor],
    seeds: Sequence[Tensor],
    lengths: Tensor | None = None,
) -> Any:
    """What `torch.onnx.export` writes for the operator; elsewhere it stays an operator."""
    from torch.fx.experimental.proxy_tensor import get_proxy_mode

    if get_proxy_mode() is None:  # fake tensors look for shapes here too
        return shapes(tensors, described, keep)
    if not torch.onnx.is_in_onnx_export():
        return NotImplemented
    if seeds:
        raise ValueError("a layer is random in training, and an ONNX file cannot be: call model.eval() first")
    calls = calls_of(described, resets, ())
    given = evenly(tensors, len(calls))
    # By its name: it is in a part above this one, and needs onnx.
    found = import_module("gatewise.interop.onnx.translation").translated(calls, given, lengths)
    results = 1 + len(calls[0].cell.states) + len(calls[0].record)
    tapes = [list(_shaped(*pair, keep))[results:] for pair in zip(calls, given, strict=True)]  # never read
    return [tensor for pair in zip(found, tapes, strict=True) for tensor in chain(*pair)]


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
    calls = calls_on(tensors, described, resets, seeds)
    parts = [evenly(things, len(calls)) for things in (tensors, tapes, needed, by_results)]
    # A tape may be read by several: a compiler finds equal scans, and makes one of them.
    backwards = [
        Backward(call, given, tape, need, by, in_place=False)
        for call, given, tape, need, by in zip(calls, *parts, strict=True)
    ]
    run(*backwards)
    found = chain(*(backward.gradients() for backward in backwards))
    return [gradient for gradient in found if gradient is not None]


@_gradient.register_fake
def _of_gradients(tensors: Sequence[Tensor], needed: Sequence[bool], *_: object) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor, need in zip(tensors, needed, strict=True) if need]


def _set_up(ctx: Any, inputs: tuple[Any, ...], output: Sequence[Tensor]) -> None:
    tensors, ctx.described, keep, resets, seeds = inputs
    if not keep:  # a program that was exported without gradients
        ctx.mark_non_differentiable(*output)
        return
    calls = _read(ctx.described)
    n, silent, tapes = 1 + len(calls[0].cell.states), list[Tensor](), list[Tensor]()
    for handed_out in evenly(output, len(calls)):
        silent += handed_out[n:]
        gates, means, *steps = handed_out[n + len(calls[0].record) :]
        tapes += [gates, means, *handed_out[: calls[0].inner], *steps]
    ctx.counts = len(tensors), len(resets), len(seeds)
    ctx.save_for_backward(*tensors, *resets, *seeds, *tapes)
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*silent)


def _gradients(ctx: Any, by_output: Sequence[Tensor | None]) -> tuple[Any, ...]:
    calls, saved = _read(ctx.described), list(ctx.saved_tensors)
    tensors, resets, seeds = ([saved.pop(0) for _ in range(count)] for count in ctx.counts)
    n, parts = 1 + len(calls[0].cell.states), evenly(by_output, len(calls))
    by_results, needed = [by for part in parts for by in part[:n]], list(ctx.needs_input_grad[0])
    arguments = (tensors, needed, ctx.described, saved, resets, seeds, by_results)
    found = iter(torch.ops.gatewise.scan_gradient(*arguments))
    by_tensors = [next(found) if need else None for need in needed]
    return by_tensors, None, None, [None] * len(resets), [None] * len(seeds)


_scan.register_autograd(_gradients, setup_context=_set_up)


@register_flop_formula(torch.ops.gatewise.scan)
def _flops(tensors: Sequence[torch.Size], described: str, *_: object, **__: object) -> int:
    """The matrix products of a call, as `torch.utils.flop_counter` counts them, from shapes of tensors."""
    calls = _read(described)
    parts = zip(calls, evenly(tensors, len(calls)), strict=True)
    return sum(rows * size for part in parts for rows, size, _ in _products(*part))


@register_flop_formula(torch.ops.gatewise.scan_gradient)
def _flops_of_gradient(
    tensors: Sequence[torch.Size], needed: Sequence[bool], described: str, *_: object, **__: object
) -> int:
    """Of each product one gradient by what it multiplies, and one by its matrix."""
    calls, found = _read(described), 0
    parts = zip(calls, evenly(tensors, len(calls)), evenly(needed, len(calls)), strict=True)
    for call, given, need in parts:
        x, by_weights, _ = call.unpack(need)
        for rows, size, name in _products(call, given):
            found += rows * size * (getattr(by_weights, name) + (x if name == "weight_ih" else True))
    return found


def _products(call: Call, given: Sequence[torch.Size]) -> Iterator[tuple[int, int, str]]:
    """How many rows each matrix multiplies, the operations that a row takes, and its name."""
    x, weights, _ = call.unpack(given)  # type: ignore[arg-type]
    for name in ("weight_ih", "weight_hh", "weight_hr", "weight_linear"):
        shape = getattr(weights, name)
        if shape is not None:
            yield prod(x[:-1]), 2 * prod(shape), name
