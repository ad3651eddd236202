"""The embedded Reber grammar: strings whose last symbol but one was told by the second."""

from __future__ import annotations

import numpy as np

from gatewise.tasks.synthetic.task import Flags, Integers, Loss, Numbers, Sequences, Task, one_hot

SYMBOLS = "BTSXPVE"
# Of each node of the Reber grammar, the arcs: symbol and next node.
_INNER = (
    (("B", 1),),
    (("T", 2), ("P", 3)),
    (("S", 2), ("X", 4)),
    (("T", 3), ("V", 5)),
    (("X", 3), ("S", 6)),
    (("P", 4), ("V", 6)),
    (("E", 7),),
)
_LEAVING = (4, 5)  # whose last arcs end the loops
_START, _FORK, _LAST, _END = range(4)


def _embedded() -> tuple[Integers, Integers, Integers]:
    """Give two arcs of each node (twice the same if it has one), their symbols and next nodes; and the exits.

    ``[nodes, 2]`` each, and ``[4]``. Each of the two branches is a Reber grammar of its own, between its
    letter and the same letter again.
    """
    arcs: list[tuple[tuple[str, int], ...]] = [(("B", _FORK),), (), (("E", _END),), (("E", _END),)]
    exits: list[int] = []
    for letter in "TP":
        base = len(arcs)
        arcs[_FORK] += ((letter, base),)
        exits += [base + node for node in _LEAVING]
        arcs += [tuple((symbol, base + to) for symbol, to in node) for node in _INNER]
        arcs.append(((letter, _LAST),))
    both = [(node[0], node[-1]) for node in arcs]
    symbols = [[SYMBOLS.index(symbol) for symbol, _ in node] for node in both]
    return np.array(symbols), np.array([[to for _, to in node] for node in both]), np.array(exits)


_ARCS, _NEXT, _EXITS = _embedded()
LEGAL = np.maximum(one_hot(_ARCS[:, 0], len(SYMBOLS)), one_hot(_ARCS[:, 1], len(SYMBOLS))) > 0  # [nodes, 7]


def reber(generator: np.random.Generator, rows: int, length: int) -> Sequences:
    """Draw strings of the embedded Reber grammar (Hochreiter & Schmidhuber 1997, section 5.1, experiment 1).

    A string is B, T or P, a string of the Reber grammar, the same letter T or P again, E; where two symbols
    may come, each comes half of the time. Strings have 9 symbols or more, 12 on average. After every symbol
    but the last E the next one is asked. A row is right if, after each of its symbols, those that may come
    next are the most active outputs (one, or both of two). The inputs are 7, in the order B T S X P V E.

    The paper trains on 256 strings and tests on 256 others; here every string is new.

    The grammar has no length. Our choice: T is the mean length. At the two nodes of each branch at which the
    loops can be left, they are left with probability q = 2 / (T - 8), so that the mean of 8 + 2 / q is T: the
    grammar of the paper at T = 12, longer loops beyond.
    """
    leave = 2 / (length - 8)
    second = np.full(len(_ARCS), 0.5)  # the probability of the second arc
    second[_EXITS] = leave
    node = np.full(rows, _START)
    drawn: list[Integers] = []
    while not (node == _END).all():
        arc = (generator.random(rows) < second[node]).astype(np.int64)
        drawn.append(np.where(node == _END, -1, _ARCS[node, arc]))
        node = np.where(node == _END, _END, _NEXT[node, arc])
    symbols = np.stack(drawn)
    coded = one_hot(symbols, len(SYMBOLS)) * (symbols >= 0)[:, :, None]
    lengths = (symbols >= 0).sum(axis=0) - 1
    asked = symbols[1:] >= 0
    return Sequences(coded[:-1] * asked[:, :, None], lengths, coded[1:], asked)


def legal(rows: Sequences) -> Flags:
    """Give ``[T, B, 7]``: which symbols may come next, after each step."""
    node = np.full(len(rows.lengths), _START)
    allowed = np.zeros(rows.target.shape, dtype=np.bool_)
    for t, asked in enumerate(rows.asked):
        symbol = rows.input[t].argmax(axis=-1)
        node = np.where(asked, _NEXT[node, (_ARCS[node, 1] == symbol).astype(np.int64)], _END)
        allowed[t] = LEGAL[node] & asked[:, None]
    return allowed


def _most_active(answer: Numbers, rows: Sequences) -> Flags:
    """Whether, after each step, no symbol that may not come is as active as one that may."""
    allowed = legal(rows)
    least = np.where(allowed, answer, np.inf).min(axis=-1)
    most = np.where(allowed, -np.inf, answer).max(axis=-1)
    return np.asarray(((least > most) | ~rows.asked).all(axis=0))


TASKS = (
    Task(
        "reber",
        "The next symbol of the embedded Reber grammar, strings of T symbols on average; "
        "right if those that may come are the most active, after every symbol.",
        Loss.CLASS, reber, _most_active, 12, (12, 25, 50, 100),
    ),
)  # fmt: skip
