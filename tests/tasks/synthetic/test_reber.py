from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from gatewise.tasks.synthetic import TASKS, Sequences
from gatewise.tasks.synthetic.reber import legal

SYMBOLS = "BTSXPVE"
# The Reber grammar as a regular expression: after the X that ends the S's come loops X T* V P, then S or
# X T* V V; a string that begins with P starts in the middle of such a loop.
LOOP = "(XT*VP)*(S|XT*VV)"
REBER = f"B(TS*X{LOOP}|PT*V(V|P{LOOP}))E"
EMBEDDED = re.compile(f"BT{REBER}TE|BP{REBER}PE")


def drawn(rows: int, length: int = 12) -> Sequences:
    return TASKS["reber"].sequences(np.random.default_rng(0), rows, length)


def strings(rows: Sequences) -> list[str]:
    """The strings of symbols that the network reads, with the last symbol that it must predict."""
    found = []
    for b, n in enumerate(rows.lengths):
        symbols = [*rows.input[:n, b].argmax(axis=-1), rows.target[n - 1, b].argmax()]
        found.append("".join(SYMBOLS[k] for k in symbols))
    return found


@pytest.mark.parametrize("string", ["BTSSXXTVVE", "BPVVE", "BTXXVPSE", "BPVPXVPXVPXVVE", "BTSSXXVPSE"])
def test_the_expression_matches_strings_of_the_grammar(string: str) -> None:
    assert re.fullmatch(REBER, string)


@pytest.mark.parametrize("string", ["BTSSPXSE", "BPTVVB", "BTXXVVSE", "BPVSPSE", "BTSSSE"])
def test_the_expression_matches_no_other_strings(string: str) -> None:
    assert not re.fullmatch(REBER, string)


@pytest.mark.parametrize("length", [12, 40])
def test_every_string_is_in_the_embedded_grammar(length: int) -> None:
    found = strings(drawn(2000, length))
    assert all(EMBEDDED.fullmatch(string) for string in found)
    assert {string[1] for string in found} == {"T", "P"}
    assert all(string[1] == string[-2] for string in found)


def test_strings_are_padded_with_zeros_and_asked_at_every_step() -> None:
    rows = drawn(300)
    inside = np.arange(len(rows.input))[:, None] < rows.lengths
    assert (rows.asked == inside).all()
    assert (rows.input.sum(axis=-1) == inside).all()
    assert (rows.target.sum(axis=-1) == inside).all()
    both = inside[1:]
    assert (rows.input[1:][both] == rows.target[:-1][both]).all()


@pytest.mark.parametrize("length", [12, 20, 60])
def test_the_mean_length_is_the_requested_one(length: int) -> None:
    lengths = drawn(20_000, length).lengths + 1
    assert lengths.mean() == pytest.approx(length, abs=5 * lengths.std() / np.sqrt(20_000))
    assert lengths.min() == 9


def test_at_length_twelve_all_choices_are_equally_likely_as_in_the_paper() -> None:
    found = strings(drawn(20_000))
    # T or P; then BTXSE by three choices, BPVVE by three
    for inner, chance in {"BTXSE": 1 / 8, "BPVVE": 1 / 8, "BTSXSE": 1 / 16, "BTXXVVE": 1 / 32}.items():
        for letter in "TP":
            share = found.count(f"B{letter}{inner}{letter}E") / 20_000
            assert share == pytest.approx(chance / 2, abs=5 * np.sqrt(chance / 2 / 20_000))


@cache
def embedded_strings(longest: int) -> tuple[str, ...]:
    """All strings of the embedded grammar up to a length, from its productions."""

    def from_node(node: str, room: int) -> Iterator[str]:
        rules = {"1": "T2 P3", "2": "S2 X4", "3": "T3 V5", "4": "X3 S6", "5": "P4 V6", "6": "E"}
        for rule in rules[node].split() if room > 0 else ():
            yield from (rule[0] + rest for rest in (from_node(rule[1], room - 1) if rule[1:] else [""]))

    inner = [f"B{rest}" for rest in from_node("1", longest - 5)]
    return tuple(f"B{letter}{string}{letter}E" for letter in "TP" for string in inner)


def test_the_possible_next_symbols_are_those_that_follow_in_some_string() -> None:
    rows = drawn(400)
    allowed = legal(rows)
    known = embedded_strings(17)
    for b, string in enumerate(strings(rows)):
        for step in range(1, min(len(string), 12)):
            following = {other[step] for other in known if other.startswith(string[:step])}
            assert {SYMBOLS[k] for k in np.flatnonzero(allowed[step - 1, b])} == following
    assert not allowed[~rows.asked].any()


def test_a_row_is_right_if_possible_symbols_are_more_active_than_impossible_ones() -> None:
    rows, right = drawn(500), TASKS["reber"].right
    allowed = legal(rows).astype(np.float32)
    assert right(allowed, rows).all()
    assert not right(np.ones_like(rows.target), rows).any()
    long_past = allowed.copy()
    row = np.arange(500)
    long_past[rows.lengths - 2, row] = np.array(
        [SYMBOLS[k] in "TP" for k in range(7)]
    )  # the second symbol is forgotten
    assert not right(long_past, rows).any()
    only_one = rows.target  # without the other possible symbol
    assert not right(only_one, rows).any()


def test_lengths_below_the_shortest_mean_of_the_grammar_are_refused() -> None:
    with pytest.raises(ValueError, match=r"length: reber needs at least 12 steps\. Got 9\."):
        drawn(1, 9)
