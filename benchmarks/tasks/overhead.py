"""What training costs besides forward, backward and optimiser: an epoch of a small model, in CPU time.

``python -m benchmarks.tasks overhead`` trains an LSTM of 25 units on 1,000 batches (B32, T24) by the training
of all jobs, and by a plain loop with the same batches, losses, clipping and optimiser, on one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from time import process_time
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatewise.nn import LSTM
from gatewise.tasks.shared.batches import LengthBatches
from gatewise.tasks.shared.training import Epoch, Job, Settings, Summed, train

T, B, I, H, BATCHES, ROUNDS = 24, 32, 4, 25, 1000, 3


class Batch(NamedTuple):
    """``x [T, B, I]``, ``y [B]``."""

    x: Tensor
    y: Tensor


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.head = LSTM(I, H), nn.Linear(H, 1)

    def forward(self, x: Tensor) -> Tensor:
        sums: Tensor = self.head(self.recurrent(x)[0][-1])[:, 0]
        return sums


def loss(network: Network, batch: Batch) -> Summed:
    return ((network(batch.x) - batch.y) ** 2).sum(), len(batch.y)


def small_job() -> Job[Batch]:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(T, B * BATCHES, I)).astype(np.float32))
    y = x.sum((0, 2))

    def make(rows: NDArray[np.int64]) -> Batch:
        return Batch(x[:, rows], y[rows])

    batches = LengthBatches(np.full(B * BATCHES, T), B, 0, make)
    return Job(Network, batches, lambda: [Batch(x[:, :B], y[:B])], loss, loss)


def plain(job: Job[Batch]) -> dict[str, float]:
    """CPU seconds of each part of an epoch in a plain loop."""
    network = Network()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    spent = dict.fromkeys(("batches", "forward", "backward", "clipping", "optimiser"), 0.0)

    def timed(part: str, call: Callable[[], Any]) -> Any:
        begun = process_time()
        result = call()
        spent[part] += process_time() - begun
        return result

    begun = process_time()
    for batch in job.batches.at(0):
        spent["batches"] += process_time() - begun
        total = timed("forward", partial(loss, network, batch))[0] / B
        optimizer.zero_grad()
        timed("backward", total.backward)
        timed("clipping", partial(nn.utils.clip_grad_norm_, list(network.parameters()), 1.0))
        timed("optimiser", optimizer.step)
        begun = process_time()
    return spent


def _mark(marks: list[float], _: Epoch) -> None:
    marks.append(process_time())


def main(words: list[str]) -> None:
    if words:
        raise SystemExit("usage: python -m benchmarks.tasks overhead")
    torch.set_num_threads(1)
    job = small_job()
    loops, epochs = [], []
    for _ in range(ROUNDS):
        loops.append(plain(job))
        marks: list[float] = []
        train(job, Settings(1e-3, 3, 3, 0), partial(_mark, marks))
        epochs += np.diff(marks).tolist()  # the first epoch is not counted: it also starts the trainer
    parts = {part: median(loop[part] for loop in loops) for part in loops[0]}
    for part, seconds in parts.items():
        print(f"{part:<10} {seconds:6.3f} s")
    epoch, needed = median(epochs), parts["forward"] + parts["backward"] + parts["optimiser"]
    outside = f"{1 - needed / epoch:.0%} outside forward, backward and optimiser"
    print(f"{'epoch':<10} {epoch:6.3f} s, of it {outside}")
