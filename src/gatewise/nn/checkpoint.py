"""Scans that keep their states every k steps only, and compute the rest again when gradients are asked for.

Source: Chen, Xu, Zhang & Guestrin 2016, "Training Deep Nets with Sublinear Memory Cost".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gatewise.language import Cell
from gatewise.nn.eager import first_rows_replaced, initial_states
from gatewise.nn.scan import scan
from gatewise.nn.weights import Scanned, Weights


def scan_in_segments(
    steps: int,
    cell: Cell,
    x: Tensor,
    weights: Weights,
    states: tuple[Tensor, ...] | None = None,
    *,
    reverse: bool = False,
    batch_first: bool = False,
    record: Sequence[str] = (),
    batch_sizes: Tensor | None = None,
) -> Scanned:
    """As `gatewise.nn.scan.scan`, in segments of as many `steps`, of which only the entering states are kept.

    Memory beside x and the output grows with ``T / steps + steps`` instead of T.
    """
    time = 1 if batch_first and batch_sizes is None else 0
    segments = list(_segments(x, steps, time, batch_sizes))
    rows = x.select(time, 0) if batch_sizes is None else x[: int(batch_sizes[0])]
    states = states or initial_states(cell, rows, weights)
    outputs: list[Tensor] = []
    recorded: list[dict[str, Tensor]] = []
    for segment, sizes in reversed(segments) if reverse else segments:
        running = states if sizes is None else tuple(state[: int(sizes[0])] for state in states)
        scanned: Scanned = checkpoint(
            scan, cell, segment, weights, running, reverse=reverse, batch_first=batch_first, record=record,
            batch_sizes=sizes, use_reentrant=False, preserve_rng_state=False, determinism_check="none",
        )  # fmt: skip
        states = first_rows_replaced(states, scanned.states)
        outputs.append(scanned.output)
        recorded.append(scanned.recorded)
    turn = slice(None, None, -1 if reverse else 1)
    return Scanned(
        torch.cat(outputs[turn], time),
        states,
        {name: torch.cat([values[name] for values in recorded[turn]]) for name in record},
    )


def _segments(
    x: Tensor, steps: int, time: int, batch_sizes: Tensor | None
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Views of as many steps each, and their batch sizes if `x` is packed."""
    if batch_sizes is None:
        yield from ((segment, None) for segment in x.split(steps, time))
        return
    sizes = batch_sizes.split(steps)
    yield from zip(x.split([int(size.sum()) for size in sizes]), sizes, strict=True)
