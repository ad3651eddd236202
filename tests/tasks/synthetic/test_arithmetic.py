from __future__ import annotations

import math
from functools import reduce
from operator import xor

import numpy as np
import pytest

from gatewise.tasks.synthetic import TASKS, Sequences

ROWS, T = 20_000, 50
MARKED = ("adding", "multiplication")


def drawn(name: str, rows: int = ROWS, length: int = T, seed: int = 0) -> Sequences:
    return TASKS[name].sequences(np.random.default_rng(seed), rows, length)


def pairs(rows: Sequences, b: int) -> list[tuple[float, float]]:
    return [(float(value), float(marker)) for value, marker in rows.input[: rows.lengths[b], b]]


def is_share(found: float, expected: float, rows: int = ROWS) -> bool:
    """Whether a share is within five standard deviations of a probability."""
    return abs(found - expected) < 5 * math.sqrt(expected * (1 - expected) / rows)


def test_the_target_is_the_sum_of_the_marked_values() -> None:
    rows = drawn("adding", 500)
    for b, length in enumerate(rows.lengths):
        wanted = 0.5 + sum(value for value, marker in pairs(rows, b) if marker == 1) / 4
        assert rows.target[length - 1, b, 0] == pytest.approx(wanted, abs=1e-6)


def test_the_target_is_the_product_of_the_marked_values() -> None:
    rows = drawn("multiplication", 500)
    for b, length in enumerate(rows.lengths):
        wanted = math.prod(value for value, marker in pairs(rows, b) if marker == 1)
        assert rows.target[length - 1, b, 0] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(("name", "low", "neutral"), [("adding", -1, 0), ("multiplication", 0, 1)])
def test_values_and_markers_are_those_of_the_paper(name: str, low: float, neutral: float) -> None:
    rows = drawn(name)
    values, markers = rows.input[..., 0], rows.input[..., 1]
    assert low <= values.min() < low + 0.01
    assert 0.99 < values.max() <= 1
    assert set(np.unique(markers)) == {-1, 0, 1}
    ends = rows.lengths - 1
    assert (markers[0] == -1).all()
    assert (markers[ends, np.arange(ROWS)] == -1).all()
    assert ((markers == -1).sum(axis=0) == 2).all()
    chosen = (markers == 1).sum(axis=0)
    assert set(np.unique(chosen)) == {1, 2}
    assert (values[0, chosen == 1] == neutral).all()  # the first pair was chosen
    assert (values[0, chosen == 2] != neutral).mean() > 0.99


@pytest.mark.parametrize("name", MARKED)
def test_the_two_positions_are_drawn_as_in_the_paper(name: str) -> None:
    rows = drawn(name)
    marked = rows.input[..., 1] == 1
    places = np.where(marked.sum(axis=0) == 2, marked.argmax(axis=0), 0)
    last = T // 2 - 1
    assert np.flatnonzero(marked.any(axis=1)).tolist() == list(range(1, last + 1))
    # The first pair is marked as one of ten, or else as one of the T / 2 - 1 pairs for the second mark.
    assert is_share(float((places == 0).mean()), 1 / 10 + 9 / 10 / last)
    # A pair after the first ten can only be the second mark, and each is equally likely.
    for place in range(10, last):
        assert is_share(float(marked[place].mean()), 1 / last)
    # A pair among the first ten is the first mark with probability 1/10, else possibly the second.
    for place in range(1, 10):
        assert is_share(float(marked[place].mean()), 1 / 10 + 9 / 10 / last)


@pytest.mark.parametrize("name", [*MARKED, "parity", "temporal-order", "temporal-order-3"])
def test_lengths_are_uniform_between_t_and_eleven_tenths_of_t(name: str) -> None:
    rows = drawn(name)
    lengths, counts = np.unique(rows.lengths, return_counts=True)
    assert lengths.tolist() == list(range(T, T + T // 10 + 1))
    assert all(is_share(count / ROWS, 1 / len(lengths)) for count in counts)
    inside = np.arange(len(rows.input))[:, None] < rows.lengths
    assert not rows.input[~inside].any()
    assert (rows.asked.sum(axis=0) == 1).all()
    assert rows.asked[rows.lengths - 1, np.arange(ROWS)].all()
    assert not rows.target[~rows.asked].any()


def test_parity_is_the_exclusive_or_of_the_bits() -> None:
    rows = drawn("parity", 500, length=20)
    assert set(np.unique(rows.input)) == {-1, 0, 1}
    for b, length in enumerate(rows.lengths):
        odd = reduce(xor, (value > 0 for value in rows.input[:length, b, 0].tolist()))
        assert rows.target[length - 1, b].tolist() == [not odd, odd]


def test_half_of_all_bits_are_set_and_half_of_all_rows_are_odd() -> None:
    rows = drawn("parity", length=20)
    inside = np.arange(len(rows.input))[:, None] < rows.lengths
    assert is_share(float((rows.input[inside] > 0).mean()), 0.5, int(inside.sum()))
    assert is_share(float(rows.target[..., 1].sum() / ROWS), 0.5)


def test_answering_one_half_is_right_as_often_as_the_triangle_distribution_says() -> None:
    """The probability that X1 + X2 is within 0.16 of 0.

    It is 1 - 0.92^2 for two values (a triangle over [-2, 2]), and 0.16 for one value.
    """
    rows = drawn("adding")
    only_one = 1 / 10 + 9 / 10 / (T // 2 - 1)
    wanted = (1 - only_one) * (1 - 0.92**2) + only_one * 0.16
    assert is_share(float(TASKS["adding"].right(np.full_like(rows.target, 0.5), rows).mean()), wanted)


@pytest.mark.parametrize("name", MARKED)
def test_an_answer_is_right_if_it_is_off_by_less_than_four_hundredths(name: str) -> None:
    rows = drawn(name, 100)
    assert TASKS[name].right(rows.target + np.float32(0.0399), rows).all()
    assert not TASKS[name].right(rows.target - np.float32(0.0401), rows).any()
    elsewhere = np.where(rows.asked[..., None], rows.target, np.float32(9))
    assert TASKS[name].right(elsewhere, rows).all()


def test_the_shortest_length_leaves_the_last_pair_unmarked() -> None:
    rows = drawn("adding", 2000, length=TASKS["adding"].shortest)
    assert ((rows.input[..., 1] == -1).sum(axis=0) == 2).all()
    with pytest.raises(ValueError, match=r"length: adding needs at least 11 steps\. Got 10\."):
        drawn("adding", length=10)
