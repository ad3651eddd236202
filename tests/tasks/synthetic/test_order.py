from __future__ import annotations

import re

import numpy as np
import pytest

from gatewise.tasks.synthetic import TASKS, Sequences

SYMBOLS = "abcdXYEB"
CASES = {
    "temporal-order": ("XX XY YX YY", [(10, 20), (50, 60)]),
    "temporal-order-3": ("XXX XXY XYX XYY YXX YXY YYX YYY", [(10, 20), (33, 43), (66, 76)]),
}


def drawn(name: str, rows: int, length: int = 100) -> Sequences:
    return TASKS[name].sequences(np.random.default_rng(0), rows, length)


def strings(rows: Sequences) -> list[str]:
    assert ((rows.input.sum(axis=-1) == 1) == (np.arange(len(rows.input))[:, None] < rows.lengths)).all()
    columns = rows.input.argmax(axis=-1).T
    return ["".join(SYMBOLS[k] for k in column[:n]) for column, n in zip(columns, rows.lengths, strict=True)]


@pytest.mark.parametrize("name", CASES)
def test_the_class_is_the_order_of_the_two_or_three_symbols(name: str) -> None:
    classes, places = CASES[name]
    rows = drawn(name, 3000)
    seen: list[set[int]] = [set() for _ in places]
    for b, string in enumerate(strings(rows)):
        assert re.fullmatch("E" + "[abcd]+([XY])" * len(places) + "[abcd]+B", string)
        order = re.sub("[^XY]", "", string)
        wanted = classes.split().index(order)
        assert rows.target[rows.lengths[b] - 1, b].tolist() == [k == wanted for k in range(2 ** len(places))]
        for k, found in enumerate(re.finditer("[XY]", string)):
            seen[k].add(found.start() + 1)  # counted from 1
    assert seen == [set(range(first, last + 1)) for first, last in places]


@pytest.mark.parametrize("name", CASES)
def test_all_classes_and_distractors_are_equally_likely(name: str) -> None:
    rows = drawn(name, 8000)
    shares = rows.target.sum(axis=(0, 1)) / 8000
    assert np.allclose(shares, 1 / len(shares), atol=5 * np.sqrt(1 / len(shares) / 8000))
    noise = rows.input.sum(axis=(0, 1))[:4]
    assert np.allclose(noise / noise.sum(), 0.25, atol=5 * np.sqrt(0.1875 / noise.sum()))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("length", [20, 37, 250])
def test_positions_scale_with_the_length(name: str, length: int) -> None:
    for string in strings(drawn(name, 500, length)):
        found = [match.start() + 1 for match in re.finditer("[XY]", string)]
        assert len(found) == len(CASES[name][1])
        for place, (first, last) in zip(found, CASES[name][1], strict=True):
            assert first * length // 100 <= place <= last * length // 100


@pytest.mark.parametrize("name", CASES)
def test_an_answer_is_right_if_every_output_is_off_by_less_than_three_tenths(name: str) -> None:
    rows, right = drawn(name, 400), TASKS[name].right
    assert right(np.abs(rows.target - np.float32(0.299)), rows).all()
    assert not right(np.abs(rows.target - np.float32(0.301)), rows).any()
    classes = rows.target.shape[-1]
    assert not right(np.full_like(rows.target, 1 / classes), rows).any()
    first = np.zeros_like(rows.target)
    first[..., 0] = 1  # a constant answer of the first class is right for rows of this class
    assert right(first, rows).tolist() == (rows.target[..., 0].sum(axis=0) == 1).tolist()
