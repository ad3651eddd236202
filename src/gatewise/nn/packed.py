"""Scans over packed sequences: rows of different lengths, without padding and without a loop over steps.

In packed data the steps between two changes of the batch size form a block ``[steps, rows, I]``, so one scan
a block does; there are at most as many blocks as there are different lengths.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from gatewise.language import Cell
from gatewise.nn.eager import initial_states
from gatewise.nn.scan import scan
from gatewise.nn.weights import Scanned, Weights


def scan_packed(
    cell: Cell,
    layout: PackedSequence,
    x: Tensor,
    weights: Weights,
    states: tuple[Tensor, ...] | None = None,
    *,
    reverse: bool = False,
    record: Sequence[str] = (),
) -> Scanned:
    """Run `cell` over ``x [N, I]``, whose N rows lie as in `layout`; ``output [N, H]``.

    `states` and the final states are in the order of the packed rows, the longest first. Values recorded are
    ``[T, B, H]`` in the caller's order of rows, NaN past the end of a row.
    """
    states = states or initial_states(cell, x[: int(layout.batch_sizes[0])], weights)
    outputs: list[Tensor] = []
    recorded: list[dict[str, Tensor]] = []
    blocks = _blocks(layout.batch_sizes, x)
    for block in reversed(blocks) if reverse else blocks:
        rows = block.size(1)
        running = tuple(state[:rows] for state in states)
        scanned = scan(cell, block, weights, running, reverse=reverse, record=record)
        # The rows that are not running keep what they have: the end of a row, or in reverse its beginning.
        states = tuple(torch.cat([new, old[rows:]]) for new, old in zip(scanned.states, states, strict=True))
        outputs.append(scanned.output)
        recorded.append(scanned.recorded)
    columns = {name: _join([block[name] for block in recorded], reverse) for name in record}
    return Scanned(
        _join(outputs, reverse), states, {name: _padded(column, layout) for name, column in columns.items()}
    )


def _blocks(batch_sizes: Tensor, x: Tensor) -> list[Tensor]:
    """``x [N, I]`` cut where the batch size changes, each piece ``[steps, rows, I]``."""
    rows, steps = torch.unique_consecutive(batch_sizes, return_counts=True)
    pieces = x.split_with_sizes((rows * steps).tolist())
    return [piece.view(-1, r, x.size(1)) for piece, r in zip(pieces, rows.tolist(), strict=True)]


def _join(blocks: list[Tensor], reverse: bool) -> Tensor:
    """Blocks in the order they were walked, as packed data ``[N, H]``."""
    return torch.cat([block.flatten(0, 1) for block in (reversed(blocks) if reverse else blocks)])


def _padded(data: Tensor, layout: PackedSequence) -> Tensor:
    """Packed data as ``[T, B, H]`` in the caller's order of rows."""
    return pad_packed_sequence(like(layout, data), padding_value=torch.nan)[0]


def like(layout: PackedSequence, data: Tensor) -> PackedSequence:
    """Packed `data` whose rows lie as in `layout`."""
    return PackedSequence(data, layout.batch_sizes, layout.sorted_indices, layout.unsorted_indices)
