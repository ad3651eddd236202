from __future__ import annotations

import doctest

import numpy as np
import pytest

from gatewise.tasks.synthetic import TASKS, Loss, Sequences, task
from gatewise.tasks.synthetic.reber import legal


def drawn(name: str, seed: int) -> Sequences:
    chosen = TASKS[name]
    return chosen.sequences(np.random.default_rng(seed), 40, max(chosen.shortest, 25))


@pytest.mark.parametrize("name", TASKS)
def test_the_same_seed_gives_the_same_rows_and_another_seed_others(name: str) -> None:
    one, same, other = drawn(name, 3), drawn(name, 3), drawn(name, 4)
    for field in ("input", "lengths", "target", "asked"):
        assert np.array_equal(getattr(one, field), getattr(same, field))
    assert one.input.shape != other.input.shape or (one.input != other.input).any()


@pytest.mark.parametrize("name", TASKS)
def test_the_perfect_answer_is_right_and_zeros_are_not(name: str) -> None:
    rows = drawn(name, 0)
    perfect = legal(rows).astype(np.float32) if name == "reber" else rows.target
    assert TASKS[name].right(perfect, rows).all()
    assert TASKS[name].right(np.zeros_like(rows.target), rows).mean() < 0.8


@pytest.mark.parametrize("name", TASKS)
def test_shapes_and_types(name: str) -> None:
    rows = drawn(name, 0)
    T = int(rows.lengths.max())
    assert rows.input.shape[:2] == rows.target.shape[:2] == rows.asked.shape == (T, 40)
    assert rows.input.dtype == rows.target.dtype == np.float32
    assert rows.lengths.dtype == np.int64
    if TASKS[name].loss is Loss.CLASS:
        assert np.array_equal(rows.target.sum(axis=-1), rows.asked)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_has_a_description(name: str) -> None:
    chosen = TASKS[name]
    assert chosen.name == name
    assert chosen.title.endswith(".")
    assert min(chosen.lengths) >= chosen.shortest
    for length in (chosen.shortest, max(chosen.lengths)):
        assert chosen.sequences(np.random.default_rng(0), 3, length).input.shape[1] == 3


def test_the_example_of_a_task() -> None:
    assert doctest.testmod(task) == (0, 5)
