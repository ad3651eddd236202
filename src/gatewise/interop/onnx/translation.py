"""Translates the operator `gatewise::scan` to ONNX operators, for `torch.onnx.export`.

A layer whose cell is an ONNX operator becomes that node. Any other becomes torch's own scan over the
equations, which the exporter writes as a `Scan`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gatewise.interop.onnx.layers import attributes
from gatewise.interop.onnx.match import Native, native
from gatewise.interop.onnx.weights import packed
from gatewise.language import Cell
from gatewise.language.graph import Graph, Node
from gatewise.language.rewrites import rebuilt
from gatewise.nn.walk import eager
from gatewise.nn.walk.walk import Walk


class _Scan(NamedTuple):
    """A walk, time first, over rows with ``lengths [B]`` if these are given."""

    walk: Walk
    batch_first: bool  # whether results are
    lengths: Tensor | None

    @classmethod
    def of(cls, walk: Walk, lengths: Tensor | None) -> _Scan:
        """The scan that the arguments of the operator describe, without what only gradients need."""
        ours = walk.filled(tensor.detach() for tensor in walk.tensors)
        if walk.batch_first:
            reset = None if ours.reset is None else ours.reset.transpose(0, 1)
            ours = ours._replace(x=ours.x.transpose(0, 1), reset=reset, batch_first=False)
        return cls(ours, walk.batch_first, lengths)

    def results(self, output: Tensor, states: Sequence[Tensor], recorded: Sequence[Tensor]) -> list[Tensor]:
        """The results of the operator, with ``output [T, B, P]``."""
        return [output.transpose(0, 1) if self.batch_first else output, *states, *recorded]


def translated(walks: Sequence[Walk], lengths: Tensor | None = None) -> list[list[Tensor]]:
    """The results of each walk: output, final states, recorded values. Rows have ``lengths [B]``."""
    scans = [_Scan.of(walk, lengths) for walk in walks]
    operator = _operator(scans[0].walk)
    if operator is None:
        return [_scanned(scan) for scan in scans]
    together = [walk.reverse for walk in walks] == [False, True] and walks[0].x is walks[1].x
    groups = [scans] if together else [[scan] for scan in scans]
    return [results for group in groups for results in _operated(operator, group)]


def _operator(walk: Walk) -> Native | None:
    """The ONNX operator for a walk, or None. ONNX Runtime has them for float32 only."""
    if walk.x.dtype != torch.float32 or walk.record or walk.reset is not None:
        return None
    return native(walk.cell)


def _operated(operator: Native, scans: Sequence[_Scan]) -> Iterator[list[Tensor]]:
    """One ONNX node for all directions of a layer."""
    variant, first, lengths = operator.variant, scans[0].walk, scans[0].lengths
    walks = [scan.walk for scan in scans]
    columns = zip(*(packed(variant, operator.names, w.cell, w.weights) for w in walks), strict=True)
    W, R, bias, P = (None if column[0] is None else torch.stack(column) for column in columns)
    states = [torch.stack(column) for column in zip(*(w.states or () for w in walks), strict=True)]
    nothing = [None] * (len(first.cell.states) - len(states))
    lengths = None if lengths is None else lengths.to(torch.int32)
    inputs = [first.x, W, R, bias, lengths, *states, *nothing, P]
    direction = "bidirectional" if len(scans) > 1 else "reverse" if first.reverse else "forward"
    (T, B, _), H, D = first.x.shape, first.weights.weight_hh.size(1), len(scans)
    shapes = [(T, D, B, H), *[(D, B, H)] * len(first.cell.states)]
    output, *finals = torch.onnx.ops.symbolic_multi_out(
        variant.operator, inputs, attributes(operator, direction, H),
        dtypes=[first.x.dtype] * len(shapes), shapes=shapes,
    )  # fmt: skip
    if lengths is not None:  # the standard leaves rows without steps open
        runs = (lengths > 0)[:, None]
        before = states or [torch.zeros_like(final) for final in finals]
        finals = [torch.where(runs, *pair) for pair in zip(finals, before, strict=True)]
    for d, scan in enumerate(scans):
        yield scan.results(output[:, d], [final[d] for final in finals], ())


def _scanned(scan: _Scan) -> list[Tensor]:
    """torch's scan; its body is a step of the eager interpreter."""
    walk = scan.walk._replace(cell=_without_softplus(scan.walk.cell))
    weights, n = walk.weights, len(walk.cell.states)
    fed = F.linear(walk.x, weights.weight_ih, weights.bias_ih)
    states = walk.states or eager.initial_states(walk.cell, fed[0], weights)
    sequences, constants = [fed], weights.flat
    if scan.lengths is not None:
        steps = torch.arange(fed.size(0), device=fed.device)
        running = (steps[:, None] < scan.lengths)[..., None]
        sequences.append(running)
    if walk.reset is not None:
        sequences.append(walk.reset)
        constants += [_own(state) for state in states]
    walked = [sequence.flip(0) if walk.reverse else sequence for sequence in sequences]
    scan_op: Any = torch.ops.higher_order.scan
    body = _body(walk, scan.lengths is not None)
    finals, kept = _cut(scan_op(body, [_own(state) for state in states], walked, (*constants,)), n)
    output, *recorded = (values.flip(0) if walk.reverse else values for values in kept)
    return scan.results(output if scan.lengths is None else torch.where(running, output, 0), finals, recorded)


def _body(walk: Walk, ragged: bool) -> Callable[..., list[Tensor]]:
    """The body of torch's scan, a function of tensors.

    It takes the states, the input part of the gates, the mask of running rows (if `ragged`), the mask of
    resets (if any), the weights, and the states for reset rows. It returns the next states, the output and
    the recorded values.
    """
    cell, blank, record, resets = walk.cell, walk.weights, walk.record, walk.reset is not None

    def step(*given: Tensor) -> list[Tensor]:
        states, (fed, *rest) = _cut(given, len(cell.states))
        running = rest.pop(0) if ragged else None
        reset = rest.pop(0) if resets else None
        others = iter(rest)
        weights, restart = blank.filled(others), tuple(others)
        entering = eager.entering(tuple(states), restart, fed.size(0), reset) if resets else tuple(states)
        after, kept = eager.step(cell, fed, weights, entering, record)
        if running is not None:
            after = tuple(torch.where(running, *pair) for pair in zip(after, states, strict=True))
        return [_own(value) for value in (*after, after[0], *kept)]

    return step


@functools.cache
def _without_softplus(cell: Cell) -> Cell:
    """The cell with each softplus written as max(a, 0) + log(1 + exp(-|a|)).

    The exporter would write the logarithm of a sigmoid, which is infinite where the sigmoid rounds to 0.
    """

    def change(graph: Graph, node: Node, args: Sequence[Node]) -> Node:
        if node.op != "softplus":
            return graph.node(node.op, *args, name=node.name, part=node.part, value=node.value)
        small = graph.node("exp", graph.node("neg", graph.node("abs", *args)))
        logarithm = graph.node("log", graph.node("add", graph.constant(1), small))
        return graph.node("add", graph.node("relu", *args), logarithm)

    return rebuilt(cell, change)


def _cut(values: Sequence[Tensor], place: int) -> tuple[list[Tensor], list[Tensor]]:
    return list(values[:place]), list(values[place:])


def _own(value: Tensor) -> Tensor:
    """A copy: torch's scan does not allow the same tensor twice among its inputs and outputs."""
    return value.clone(memory_format=torch.contiguous_format)
