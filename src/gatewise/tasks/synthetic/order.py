"""Temporal order: the order of two or three symbols at distant positions."""

from __future__ import annotations

from functools import partial

import numpy as np

from gatewise.tasks.synthetic.task import Loss, Sequences, Task, asked_last, one_hot, ragged, within

SYMBOLS = "abcdXYEB"
_X, _E, _B = (SYMBOLS.index(symbol) for symbol in "XEB")
NOISE = 4  # a, b, c and d
# The ranges of the positions of X or Y, counted from 1, in hundredths of T.
TWO = ((10, 20), (50, 60))
THREE = ((10, 20), (33, 43), (66, 76))


def temporal_order(
    generator: np.random.Generator, rows: int, length: int, places: tuple[tuple[int, int], ...] = TWO
) -> Sequences:
    """Draw the temporal order problem of Hochreiter & Schmidhuber 1997, section 5.6 (tasks 6a and 6b).

    A row has between T and T + T/10 symbols, each one of 8 inputs. It starts with E and ends with B. Between
    them are the symbols a, b, c and d at random, except at two (6a) or three (6b) positions, which have X or
    Y at random. With T = 100 these positions are drawn from 10 to 20 and 50 to 60 (6a), or from 10 to 20, 33
    to 43 and 66 to 76 (6b), both ends included. After the B the target is the class: XX, XY, YX, YY (the
    paper's Q, R, S, U), or XXX, XXY, XYX, XYY, YXX, YXY, YYX, YYY (Q, R, S, U, V, A, B, C). A row is right if
    every output is off by less than 0.3.

    Our interpretation: positions are counted from 1, the position of E. Our choice for other T, after Martens
    & Sutskever 2011: everything is scaled by T / 100, rounded down.
    """
    lengths = ragged(generator, rows, length)
    symbols = generator.integers(NOISE, size=(int(lengths.max()), rows))
    row = np.arange(rows)
    symbols[0], symbols[lengths - 1, row] = _E, _B
    kind = np.zeros(rows, dtype=np.int64)
    for first, last in places:
        place = generator.integers(first * length // 100, last * length // 100, size=rows, endpoint=True)
        which = generator.integers(2, size=rows)
        symbols[place - 1, row] = _X + which
        kind = 2 * kind + which
    return asked_last(one_hot(symbols, len(SYMBOLS)), lengths, one_hot(kind, 2 ** len(places)))


TASKS = (
    Task(
        "temporal-order",
        "In which order X and Y came, at two places among T to 11T/10 symbols; "
        "right if every output is off by less than 0.3.",
        Loss.CLASS, partial(temporal_order, places=TWO), within(0.3), 20, (50, 100, 200, 400),
    ),
    Task(
        "temporal-order-3",
        "In which order X and Y came, at three places among T to 11T/10 symbols; "
        "right if every output is off by less than 0.3.",
        Loss.CLASS, partial(temporal_order, places=THREE), within(0.3), 20, (50, 100, 200, 400),
    ),
)  # fmt: skip
