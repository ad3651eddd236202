"""The classic cells by torch's own recurrent operators, for calls that kernels cannot run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gatewise import cells
from gatewise.language import Cell
from gatewise.language.rewrites import projected
from gatewise.nn.walk.eager import initial_states
from gatewise.nn.walk.obstacles import traced
from gatewise.nn.walk.under_compile import constant
from gatewise.nn.walk.walk import Scanned, Walk

_OPERATORS = {
    cells.lstm.signature(): "lstm",
    projected(cells.lstm).signature(): "lstm",
    cells.gru.signature(): "gru",
    cells.rnn.signature(): "rnn_tanh",
    cells.rnn_relu.signature(): "rnn_relu",
}


def serves(walks: Sequence[Walk]) -> bool:
    """Whether torch has an operator for these walks: one walk, or both directions of a layer."""
    same = all(walk.x is walks[0].x and walk.cell is walks[0].cell for walk in walks)
    plain = not any(walk.record or walk.reset is not None or walk.restart is not None for walk in walks)
    directions = [walk.reverse for walk in walks]
    if torch.compiler.is_compiling():  # under torch.compile the interpreter is as fast
        return False
    return same and plain and directions in ([False], [False, True]) and bool(_operator(walks[0].cell))


@constant
def _operator(cell: Cell) -> str:
    """The name of torch's operator for a cell, or ""."""
    return _OPERATORS.get(cell.signature(), "")


def scan(walks: Sequence[Walk]) -> list[Scanned]:
    """The same as `gatewise.nn.scan.scan_together`, for walks that torch `serves`."""
    if walks[0].padding is not None:
        return [f.padded(w) for f, w in zip(scan([w.packed() for w in walks]), walks, strict=True)]
    first = walks[0]
    operator = getattr(torch, _operator(first.cell))
    # A traced program may be trained later, even if it was traced without gradients.
    trains = torch.is_grad_enabled() or traced()
    weights = [tensor for walk in walks for tensor in walk.weights.flat]
    columns = zip(*(walk.states or _beginning(walk) for walk in walks), strict=True)
    states = [torch.stack(column) for column in columns]
    hx = states if len(states) > 1 else states[0]
    # has biases, number of layers, dropout, in training, bidirectional
    options = first.weights.bias_ih is not None, 1, 0.0, trains, len(walks) == 2
    if first.batch_sizes is None:
        output, *finals = operator(first.x, hx, weights, *options, first.batch_first)
    else:
        output, *finals = operator(first.x, first.batch_sizes, hx, weights, *options)
    outputs = output.chunk(2, -1) if len(walks) == 2 else [output]
    return [Scanned(out, tuple(f[k] for f in finals), {}) for k, out in enumerate(outputs)]


def _beginning(walk: Walk) -> tuple[Tensor, ...]:
    """Initial states of zeros, for each row of the first step."""
    x = (
        walk.x[: walk.batch_sizes[0]]
        if walk.batch_sizes is not None
        else walk.x.select(int(walk.batch_first), 0)
    )
    return initial_states(walk.cell, x, walk.weights)
