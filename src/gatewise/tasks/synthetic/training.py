"""Trains one cell on one task, with one length and one seed, until it is learned or a limit is reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from time import perf_counter

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_

from gatewise.language import Cell
from gatewise.tasks.synthetic.flow import Flow, gradient_flow
from gatewise.tasks.synthetic.network import Network
from gatewise.tasks.synthetic.task import Task

LEARNED = 0.99  # the share of test sequences that must be right
CHECKED = 256  # sequences in a check, which decides whether to run the test
TESTED = 10 * CHECKED  # sequences in the test, as in Hochreiter & Schmidhuber 1997
EVERY = 1000  # sequences between two checks
FLOWING = 32  # sequences over which the gradient flow is measured


@dataclass(frozen=True)
class Settings:
    """Settings for training with Adam (Kingma & Ba 2015).

    Attributes:
        hidden_size: H, the number of units.
        most: the most sequences to train on, rounded up to whole batches.
        batch: B, the number of rows in a batch.
        learning_rate: the constant learning rate of Adam.
        clip: the norm to which larger gradients are scaled down (Pascanu, Mikolov & Bengio 2013).
        biases: numbers added to the initial biases of gates, by name.
    """

    hidden_size: int = 32
    most: int = 100_000
    batch: int = 16
    learning_rate: float = 0.01
    clip: float = 1.0
    biases: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """The progress at a check: the sequences so far, and the share of checked sequences that are right."""

    sequences: int
    right: float


@dataclass(frozen=True)
class Run:
    """The result of a training run.

    Attributes:
        cell: the name of the cell.
        length, seed: the length and the seed.
        parameters: the number of learned numbers.
        learned: whether 99 % of the last test were right.
        sequences: the number of training sequences.
        right: the share of right answers in the last test, of 2,560 new sequences.
        diverged: whether the loss became NaN or infinite, which ends training.
        seconds: the duration of training, checks and tests.
        start, end: the gradient flow before and after training.
        network: the trained network.
    """

    cell: str
    length: int
    seed: int
    parameters: int
    learned: bool
    sequences: int
    right: float
    diverged: bool
    seconds: float
    start: Flow
    end: Flow
    network: Network | None = field(default=None, compare=False, repr=False)


def train(
    task: Task, cell: Cell, length: int, seed: int, settings: Settings, on_check: Callable[[Check], None]
) -> Run:
    """Train a new network. The same arguments give the same weights, and all cells get the same sequences.

    After every 1,000 sequences there is a check of 256 new ones. If 99 % of them are right, there is a test
    of 2,560 new ones. If 99 % of these are right too, the task is learned. Training, checks and tests never
    share sequences.

    Raises:
        ValueError: the length is too short for the task.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _Training(task, cell, length, seed, settings).run(on_check)


class _Training:
    """A network in training, with its random generators."""

    def __init__(self, task: Task, cell: Cell, length: int, seed: int, settings: Settings) -> None:
        self.task, self.cell, self.length, self.seed, self.settings = task, cell, length, seed, settings
        purposes = ("train", "check", "test", "flow")
        self.generators = {name: np.random.default_rng([seed, k]) for k, name in enumerate(purposes)}
        self.flowing = task.sequences(self.generators["flow"], FLOWING, length)
        sizes = self.flowing.input.shape[-1], settings.hidden_size, self.flowing.target.shape[-1]
        self.network = Network(cell, *sizes, settings.biases)
        self.optimiser = torch.optim.Adam(self.network.parameters(), settings.learning_rate)

    def run(self, on_check: Callable[[Check], None]) -> Run:
        begun, start = perf_counter(), self._flow()
        sequences, right, diverged = 0, 0.0, False
        while sequences < self.settings.most and right < LEARNED and not diverged:
            for _ in range(-(-min(EVERY, self.settings.most - sequences) // self.settings.batch)):
                diverged = diverged or not self._step()
                sequences += self.settings.batch
            right = 0.0 if diverged else self._right("check", CHECKED)
            on_check(Check(sequences, right))
            if right >= LEARNED:
                right = self._right("test", TESTED)
        right = self._right("test", TESTED) if right < LEARNED and not diverged else right
        return Run(
            self.cell.name, self.length, self.seed, self.network.parameters_count,
            right >= LEARNED, sequences, right, diverged, perf_counter() - begun, start, self._flow(),
            self.network,
        )  # fmt: skip

    def _step(self) -> bool:
        """Take a training step. Returns false if the loss or its gradient is not finite."""
        rows = self.task.sequences(self.generators["train"], self.settings.batch, self.length)
        self.network.train()
        loss = self.network.loss(self.task, rows)
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        norm = clip_grad_norm_(self.network.parameters(), self.settings.clip)
        if not torch.isfinite(loss + norm):
            return False
        self.optimiser.step()
        return True

    def _right(self, purpose: str, rows: int) -> float:
        """The share of new rows that are right. They are drawn in parts to save memory."""
        self.network.eval()
        draw = partial(self.task.sequences, self.generators[purpose], CHECKED, self.length)
        return fmean(self.network.right(self.task, draw()) for _ in range(rows // CHECKED))

    def _flow(self) -> Flow:
        return gradient_flow(self.network, self.task, self.flowing)
