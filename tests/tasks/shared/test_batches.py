"""Batches by length: every sequence once, divided among processes, the same for a seed and an epoch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise.tasks.shared.batches import POOL, LengthBatches

lengths_ = st.lists(st.integers(0, 50), min_size=1, max_size=200)


def batches(lengths: list[int], batch_size: int, seed: int = 0) -> LengthBatches[list[int]]:
    return LengthBatches(lengths, batch_size, seed, lambda rows: [int(row) for row in rows])


@settings(deadline=None)
@given(lengths_, st.integers(1, 20), st.integers(0, 3), st.integers(0, 3), st.integers(1, 4))
def test_every_sequence_is_once_in_an_epoch(
    lengths: list[int], batch_size: int, seed: int, epoch: int, world: int
) -> None:
    made = batches(lengths, batch_size, seed)
    shares = [list(made.at(epoch, rank, world)) for rank in range(world)]
    assert {len(share) for share in shares} == {made.count(world)}
    rows = [row for share in shares for batch in share for row in batch]
    assert set(rows) == set(range(len(lengths)))
    assert len(rows) - len(lengths) < world  # repeated, so that no process has an empty batch
    assert all(1 <= len(batch) <= batch_size for share in shares for batch in share)
    assert shares == [
        list(batches(lengths, batch_size, seed).at(epoch, rank, world)) for rank in range(world)
    ]


def test_epochs_and_seeds_differ() -> None:
    lengths = list(range(100))
    made = [list(batches(lengths, 5, seed).at(epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert all(a != b for k, a in enumerate(made) for b in made[:k])


def test_lengths_within_a_batch_are_similar() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 32 * POOL).tolist()
    made = batches(lengths, 32)
    spans = [max(lengths[row] for row in rows) - min(lengths[row] for row in rows) for rows in made.at(0)]
    assert np.mean(spans) < 4
    assert made.padding(0) < 0.03
    assert batches(lengths, len(lengths)).padding(0) > 0.4


@settings(deadline=None)
@given(lengths_, st.integers(1, 20))
def test_padding_is_the_share_of_padded_steps(lengths: list[int], batch_size: int) -> None:
    made = batches(lengths, batch_size)
    padded = [np.zeros((max(lengths[row] for row in rows), len(rows)), bool) for rows in made.at(0)]
    steps = sum(array.size for array in padded)
    assert made.padding(0) == pytest.approx(1 - sum(lengths) / steps if steps else 0.0)


@pytest.mark.parametrize(("lengths", "batch_size"), [([], 4), ([3], 0)])
def test_no_sequences_or_no_batch_is_refused(lengths: list[int], batch_size: int) -> None:
    with pytest.raises(ValueError, match="batches need a sequence, and"):
        batches(lengths, batch_size)
