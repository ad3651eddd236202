"""Remembering symbols for a long time: the memorisation problem, and the long lag problem."""

from __future__ import annotations

from functools import partial

import numpy as np

from gatewise.tasks.synthetic.task import Flags, Loss, Numbers, Sequences, Task, most_probable, one_hot


def memorisation(
    generator: np.random.Generator, rows: int, length: int, symbols: int = 5, alphabet: int = 2
) -> Sequences:
    """Draw the noiseless memorisation problem of Martens & Sutskever 2011, section 4.1.

    A row has some symbols, then T steps of a constant input, of which the last is a cue, then as many
    constant steps as there were symbols. The target is a constant up to the cue, and then the symbols in
    their order. The 5-bit problem has 5 symbols of an alphabet of 2, which makes 32 rows in all; the 20-bit
    problem has 10 symbols of an alphabet of 5.

    Our interpretation of the steps, after Jaeger 2012 ("Long short-term memory in echo state networks:
    details of a simulation study"): T + 10 or T + 20 of them. Our choices: one input each for the symbols,
    the constant and the cue; one class each for the symbols and the constant; a row is right if the most
    probable class is right after each of its steps.
    """
    shown = generator.integers(alphabet, size=(symbols, rows))
    blank, cue = alphabet, alphabet + 1
    T = length + 2 * symbols
    read, said = np.full((T, rows), blank), np.full((T, rows), blank)
    read[:symbols], read[-symbols - 1] = shown, cue
    said[-symbols:] = shown
    lengths = np.full(rows, T)
    asked = np.ones((T, rows), dtype=np.bool_)
    return Sequences(one_hot(read, alphabet + 2), lengths, one_hot(said, alphabet + 1), asked)


def long_lag(generator: np.random.Generator, rows: int, length: int) -> Sequences:
    """Draw the long time lag without local regularities of Hochreiter & Schmidhuber 1997, 5.2 (task 2b).

    There are p + 1 symbols: x, y and p - 1 others; here p = T. A row starts with x or y, then has p - 1 of
    the others, and ends with its first symbol again, all drawn uniformly. After every symbol except the last,
    the target is the next symbol, though only the last can be known. So a row has T inputs (one of T + 1
    symbols each) and T targets.

    Our criterion, from the paper's task 2a: a row is right if every output for the last symbol is off by less
    than 0.25.
    """
    symbols = generator.integers(2, length + 1, size=(length + 1, rows))
    symbols[0] = symbols[-1] = generator.integers(2, size=rows)
    coded = one_hot(symbols, length + 1)
    asked = np.ones((length, rows), dtype=np.bool_)
    return Sequences(coded[:-1], np.full(rows, length), coded[1:], asked)


def _last_known(answer: Numbers, rows: Sequences) -> Flags:
    return np.asarray((np.abs(answer[-1] - rows.target[-1]) < 0.25).all(axis=-1))


TASKS = (
    Task(
        "copy",
        "Five bits, repeated after T steps; right if the most probable class is right at every step.",
        Loss.CLASS, memorisation, most_probable, 1, (50, 100, 200, 400),
    ),
    Task(
        "copy-20",
        "Ten symbols out of five, repeated after T steps; "
        "right if the most probable class is right at every step.",
        Loss.CLASS, partial(memorisation, symbols=10, alphabet=5), most_probable, 1, (50, 100, 200, 400),
    ),
    Task(
        "long-lag",
        "The first symbol, repeated after T - 1 random ones out of T - 1; "
        "right if every output for it is off by less than 0.25.",
        Loss.CLASS, long_lag, _last_known, 2, (50, 100, 200, 400),
    ),
)  # fmt: skip
