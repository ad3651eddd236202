"""The network that learns to write, and its batches: windows of long rows.

Shapes: ``T`` steps of a window, ``B`` rows, ``V`` ids of the vocabulary, ``H`` units. Time first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatewise.language import Cell
from gatewise.nn.modules.recurrent import Recurrent
from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs.writer import BOUNDARY

_MOST_NUMBERS = 1 << 22  # scores of a window in validation
_CHECKED_WINDOWS, _FEWEST_CHECKED = 4, 16  # windows of the validation part, and tokens of each at least
_FEWEST_WINDOWS = 32  # windows of an epoch; a short text has fewer rows instead
_CHECKED_STEPS = 256  # steps that are checked at once


class Window(NamedTuple):
    """A piece of some rows: ``ids [T + 1, B]``. Each but the last is read, and each but the first predicted.

    ``first`` says that nothing was read before: the state is reset.
    """

    ids: Tensor
    first: bool


class WritingNetwork(nn.Module):
    """Predicts the next token: an embedding, recurrent layers, and a linear map to scores.

    It is trained by truncated backpropagation through time (Williams & Peng 1990): a window begins in the
    state in which the window before it ended. At a boundary between texts the state is reset.
    """

    def __init__(
        self, cell: Cell, tokens: int, embedding_size: int, hidden_size: int, num_layers: int, dropout: float,
        weight_drop: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding = nn.Embedding(tokens, embedding_size)
        between = dropout if num_layers > 1 else 0.0
        self.recurrent = Recurrent(
            cell, embedding_size, hidden_size, num_layers, dropout=between, weight_drop=weight_drop
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, tokens)
        nn.init.zeros_(self.head.bias)
        # The state after the last window. It is not a buffer: each epoch begins without it, so checkpoints do
        # not need it, and processes must not exchange it.
        self.carried: tuple[Tensor, ...] | None = None

    def forward(self, ids: Tensor, first: bool = True) -> Tensor:
        """The scores of the next token at each step, ``[T, B, V]``, for ``ids [T, B]``.

        The state is carried from call to call unless `first` is set.
        """
        given = None if first else self.carried
        reset = ids == BOUNDARY
        state = given[0] if given and len(given) == 1 else given
        output, last = self.recurrent(self.embedding(ids), state, reset=reset if bool(reset.any()) else None)
        kept = last if isinstance(last, tuple) else (last,)
        self.carried = tuple(state.detach() for state in kept)
        scores: Tensor = self.head(self.dropout(output))
        return scores


def loss(network: WritingNetwork, window: Window) -> tuple[Tensor, int]:
    """The summed cross-entropy of a window, in nats, and the number of tokens predicted."""
    scores = network(window.ids[:-1], window.first)
    total = F.cross_entropy(scores.flatten(0, 1), window.ids[1:].flatten(), reduction="sum")
    return total, window.ids[1:].numel()


def error(network: WritingNetwork, window: Window) -> tuple[Tensor, int]:
    """The loss of a window of any length, in pieces that need little memory."""
    ids, tokens = window.ids, network.head.out_features
    steps = max(1, min(_CHECKED_STEPS, _MOST_NUMBERS // (tokens * ids.size(1))))
    total, items = torch.zeros((), dtype=torch.float64), 0
    with torch.no_grad():
        for start in range(0, len(ids) - 1, steps):
            part = Window(ids[start : start + steps + 1], window.first and start == 0)
            found, count = loss(network, part)
            total, items = total + found.double(), items + count
    return total, items


@dataclass(frozen=True)
class Windows:
    """The windows of a long row of tokens, which is cut into rows of equal length that are read side by side.

    Each epoch cuts it at other places, drawn from the seed and the epoch.

    Attributes:
        ids: the tokens.
        batch_size: B, the rows of one process, at most.
        steps: T, the steps of a window.
        seed: the random seed.
    """

    ids: Array
    batch_size: int
    steps: int
    seed: int

    def _shape(self, world: int) -> tuple[int, int, int]:
        """The number of rows, the steps of a window, and the number of windows."""
        rows = max(world, min(self.batch_size * world, len(self.ids) // (_FEWEST_WINDOWS * self.steps)))
        length = len(self.ids) // rows - 1
        steps = max(1, min(self.steps, length))
        return rows, steps, max(1, length // steps)

    def count(self, world: int = 1) -> int:
        """The number of windows of an epoch."""
        return self._shape(world)[2]

    def at(self, epoch: int, rank: int = 0, world: int = 1) -> Iterator[Window]:
        """The windows of an epoch; those of one process have every ``world``-th row."""
        rows, steps, count = self._shape(world)
        start = int(np.random.default_rng([self.seed, epoch]).integers(len(self.ids)))
        length = count * steps + 1
        own = np.arange(rank, rows, world) * (len(self.ids) // rows)
        places = (start + own + np.arange(length)[:, None]) % len(self.ids)
        ids = torch.from_numpy(self.ids[places])
        for n in range(count):
            yield Window(ids[n * steps : (n + 1) * steps + 1], n == 0)


def checked(ids: Array) -> list[Window]:
    """The validation part as 4 long windows, of 2 rows each if it is long. Processes share the windows."""
    pieces = max(1, min(_CHECKED_WINDOWS, len(ids) // _FEWEST_CHECKED))
    rows = 2 if len(ids) >= 2 * pieces * _CHECKED_STEPS else 1
    length = len(ids) // (pieces * rows)
    cut = torch.from_numpy(ids[: pieces * rows * length].reshape(pieces, rows, length))
    return [Window(piece.T.contiguous(), first=True) for piece in cut]
