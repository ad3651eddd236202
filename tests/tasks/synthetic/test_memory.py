from __future__ import annotations

import numpy as np
import pytest

from gatewise.tasks.synthetic import TASKS, Sequences

CASES = {"copy": (5, 2), "copy-20": (10, 5)}


def drawn(name: str, rows: int, length: int) -> Sequences:
    return TASKS[name].sequences(np.random.default_rng(0), rows, length)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("length", [1, 2, 30])
def test_symbols_are_to_be_repeated_after_this_number_of_steps(name: str, length: int) -> None:
    shown, alphabet = CASES[name]
    rows = drawn(name, 50, length)
    blank, cue = str(alphabet), str(alphabet + 1)
    for b in range(50):
        read = "".join(map(str, rows.input[:, b].argmax(axis=-1)))
        said = "".join(map(str, rows.target[:, b].argmax(axis=-1)))
        symbols = read[:shown]
        assert max(symbols) < blank
        assert read == symbols + blank * (length - 1) + cue + blank * shown
        assert said == blank * (shown + length) + symbols
    assert (rows.lengths == length + 2 * shown).all()
    assert rows.asked.all()
    assert (rows.input.sum(axis=-1) == 1).all()
    assert (rows.target.sum(axis=-1) == 1).all()
    assert rows.input.shape[-1] == alphabet + 2
    assert rows.target.shape[-1] == alphabet + 1


def test_five_bits_give_thirty_two_rows_and_twenty_bits_many() -> None:
    assert len(np.unique(drawn("copy", 2000, 3).input, axis=1)[0]) == 32
    assert len(np.unique(drawn("copy-20", 2000, 3).input, axis=1)[0]) > 1990


@pytest.mark.parametrize("name", CASES)
def test_one_wrong_symbol_makes_a_row_wrong(name: str) -> None:
    rows, right = drawn(name, 64, 10), TASKS[name].right
    answer = rows.target * np.float32(0.4)
    assert right(answer, rows).all()
    answer[np.arange(64) % len(answer), np.arange(64)] = (
        1 - answer[np.arange(64) % len(answer), np.arange(64)]
    )
    assert not right(answer, rows).any()


def test_random_answers_to_five_bits_are_right_once_in_thirty_two() -> None:
    rows = drawn("copy", 6400, 10)
    always = np.zeros_like(rows.target)
    always[:-5, :, 2] = always[-5:, :, 0] = 1
    assert TASKS["copy"].right(always, rows).mean() == pytest.approx(1 / 32, abs=0.011)


def test_the_first_symbol_is_repeated_after_a_long_lag() -> None:
    T = 12
    rows = drawn("long-lag", 5000, T)
    assert rows.input.shape == rows.target.shape == (T, 5000, T + 1)
    read, next_one = rows.input.argmax(axis=-1), rows.target.argmax(axis=-1)
    assert (read[1:] == next_one[:-1]).all()
    assert set(np.unique(read[0])) == {0, 1}
    assert (next_one[-1] == read[0]).all()
    assert set(np.unique(read[1:])) == set(range(2, T + 1))
    assert rows.asked.all()
    assert read[0].mean() == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(5000))


def test_after_a_long_lag_only_the_last_answer_counts() -> None:
    rows, right = drawn("long-lag", 100, 12), TASKS["long-lag"].right
    nothing_known = np.full_like(rows.target, 1 / 13)
    assert not right(nothing_known, rows).any()
    nothing_known[-1] = np.abs(rows.target[-1] - 0.249)
    assert right(nothing_known, rows).all()
    nothing_known[-1] = np.abs(rows.target[-1] - 0.251)
    assert not right(nothing_known, rows).any()
