"""Batches for training. The batches of an epoch depend on the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

B_co = TypeVar("B_co", covariant=True)
B = TypeVar("B")

POOL = 64  # batches that are sorted by length together


class Batches(Protocol[B_co]):
    """The training batches of a job. Several processes (`world`) share an epoch; `rank` is one of them."""

    def count(self, world: int = 1) -> int:
        """The number of batches of each process in an epoch."""

    def at(self, epoch: int, rank: int = 0, world: int = 1) -> Iterator[B_co]:
        """The batches of one process in an epoch, which counts from 0."""


class LengthBatches(Generic[B]):
    """Batches of sequences of similar length, in random order, with every sequence once in an epoch.

    Sequences are shuffled, then sorted by length within pools of 64 batches, so that little of a padded batch
    is padding, and the batches change from epoch to epoch. With several processes, each batch of
    ``batch_size * world`` sequences is divided among them.

    Args:
        lengths: steps of each sequence.
        batch_size: sequences in a batch of one process.
        seed: the random seed.
        make: makes a batch of the sequences with the given indices.

    Raises:
        ValueError: there are no sequences, or `batch_size` is below 1.

    Example:
        >>> batches = LengthBatches([1, 5, 2, 9], batch_size=2, seed=0, make=lambda rows: rows.tolist())
        >>> sorted(sum(batches.at(0), []))
        [0, 1, 2, 3]
        >>> round(batches.padding(0), 2)
        0.23
    """

    def __init__(
        self, lengths: Sequence[int] | NDArray[np.integer], batch_size: int, seed: int,
        make: Callable[[NDArray[np.int64]], B],
    ) -> None:  # fmt: skip
        self.lengths = np.asarray(lengths, np.int64)
        if not len(self.lengths) or batch_size < 1:
            raise ValueError(
                f"batches need a sequence, and batch_size 1. Got {len(lengths)} and {batch_size}"
            )
        self.batch_size, self.seed, self.make = int(batch_size), seed, make

    def count(self, world: int = 1) -> int:
        """The number of batches of each process in an epoch."""
        return max(-(-len(self.lengths) // (self.batch_size * world)), 1)

    def at(self, epoch: int, rank: int = 0, world: int = 1) -> Iterator[B]:
        """The batches of one process in an epoch."""
        for rows in self.rows(epoch, world):
            yield self.make(rows[rank::world])

    def rows(self, epoch: int, world: int = 1) -> list[NDArray[np.int64]]:
        """The indices of each batch of all processes together, in the order of training.

        With fewer sequences than processes, sequences are repeated: no process has an empty batch.
        """
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.lengths))
        size = self.batch_size * world
        pools = np.split(order, range(POOL * size, len(order), POOL * size))
        order = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        parts = np.split(order, range(size, len(order), size))
        batches = [np.resize(rows, max(len(rows), world)) for rows in parts]
        return [batches[k] for k in rng.permutation(len(batches))]

    def padding(self, epoch: int) -> float:
        """The share of all steps in padded batches that is padding, from 0 to 1."""
        batches = [self.lengths[rows] for rows in self.rows(epoch)]
        padded = sum(int(lengths.max()) * len(lengths) for lengths in batches)
        return 1 - sum(int(lengths.sum()) for lengths in batches) / padded if padded else 0.0
