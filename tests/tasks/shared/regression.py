"""A small job for tests of training: the sum of a sequence, with some rows that do not count.

Run by torchrun, it trains in two processes and writes what it reached to the file in its first argument.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatewise.nn import GRU
from gatewise.tasks.shared.batches import LengthBatches
from gatewise.tasks.shared.training import Epoch, Job, Outcome, Settings, Summed, train

ROWS, T = 15, 5


class Batch(NamedTuple):
    """``x [T, B, 2]``, ``y [B]``."""

    x: Tensor
    y: Tensor


class Network(nn.Module):
    calls: Tensor

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.recurrent, self.dropout, self.head = GRU(2, 4), nn.Dropout(dropout), nn.Linear(4, 1)
        self.register_buffer("calls", torch.zeros(()))  # DDP copies buffers in every batch

    def forward(self, x: Tensor) -> Tensor:
        self.calls += int(self.training)
        sums: Tensor = self.head(self.dropout(self.recurrent(x)[0][-1]))[:, 0]
        return sums


def loss(network: Network, batch: Batch) -> Summed:
    counts = batch.y != 0  # unequal numbers in batches and processes
    return ((network(batch.x) - batch.y)[counts] ** 2).sum(), int(counts.sum())


def job(
    batch_size: int = 4, dropout: float = 0.3, made: Callable[[], None] = lambda: None, scale: float = 1.0
) -> Job[Batch]:
    """The job. `made` is called before each training batch; `scale` is that of the data."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(scale * rng.normal(size=(T, ROWS, 2)).astype(np.float32))
    y = x.sum((0, 2))
    y[::3] = 0

    def make(rows: NDArray[np.int64]) -> Batch:
        made()
        return Batch(x[:, rows], y[rows])

    checked = [Batch(x[:, rows], y[rows]) for rows in (slice(4), slice(4, 9), slice(9, None))]
    return Job(
        lambda: Network(dropout), LengthBatches([T] * ROWS, batch_size, 0, make), lambda: checked, loss, loss
    )


def trained(
    job: Job[Batch], on_epoch: Callable[[Epoch], None] = lambda epoch: None, **settings: Any
) -> tuple[dict[str, Tensor], Outcome]:
    """Weights and outcome of training."""
    given = {"learning_rate": 0.02, "max_epochs": 4, "patience": 4, "seed": 1, **settings}
    network, outcome = train(job, Settings(**given), on_epoch)
    return network.state_dict(), outcome


if __name__ == "__main__":
    torch.set_num_threads(1)
    weights, outcome = trained(job(2, dropout=0), average=0.5, trainer={"devices": 2, "strategy": "ddp"})
    reached = {"error": outcome.best_error, "weights": {n: w.tolist() for n, w in weights.items()}}
    Path(f"{sys.argv[1]}.{os.environ['RANK']}").write_text(json.dumps(reached), encoding="utf-8")
    # Lightning does not end a group of gloo, whose threads would run until the interpreter ends.
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
