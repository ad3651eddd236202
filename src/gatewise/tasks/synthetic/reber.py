"""The embedded Reber grammar: the second symbol of a string determines its last but one."""

from __future__ import annotations

import numpy as np

from gatewise.tasks.synthetic.task import Flags, Integers, Loss, Numbers, Sequences, Task, one_hot

SYMBOLS = "BTSXPVE"
# The arcs of each node of the Reber grammar: (symbol, next node).
_INNER = (
    (("B", 1),),
    (("T", 2), ("P", 3)),
    (("S", 2), ("X", 4)),
    (("T", 3), ("V", 5)),
    (("X", 3), ("S", 6)),
    (("P", 4), ("V", 6)),
    (("E", 7),),
)
_LEAVING = (4, 5)  # nodes whose last arc leaves a loop
_START, _FORK, _LAST, _END = range(4)


def _embedded() -> tuple[Integers, Integers, Integers]:
    """The symbols and the next nodes of the two arcs of each node (a single arc twice), and the exit nodes.

    The shapes are ``[nodes, 2]``, ``[nodes, 2]`` and ``[4]``. Each of the two branches is a Reber grammar
    between two equal letters, T or P.
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

    A string is B, then T or P, a string of the Reber grammar, the same letter T or P again, E. If two symbols
    are possible, each has probability 1/2. Strings have 9 symbols or more, 12 on average. After every symbol
    except the last E, the target is the next symbol. A row is right if after each symbol the possible next
    symbols (one or two) are the most active outputs. The 7 inputs are in the order B T S X P V E.

    The paper trains on 256 strings and tests on 256 others; here every string is new.

    The paper's task has no length. Our choice: T is the mean length. In each branch, two nodes can leave a
    loop; they do so with probability q = 2 / (T - 8). So the mean length 8 + 2 / q is T: for T = 12 it is the
    paper's grammar, for larger T loops are longer.
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
    """``[T, B, 7]``: the symbols that are possible after each step."""
    node = np.full(len(rows.lengths), _START)
    allowed = np.zeros(rows.target.shape, dtype=np.bool_)
    for t, asked in enumerate(rows.asked):
        symbol = rows.input[t].argmax(axis=-1)
        node = np.where(asked, _NEXT[node, (_ARCS[node, 1] == symbol).astype(np.int64)], _END)
        allowed[t] = LEGAL[node] & asked[:, None]
    return allowed


def _most_active(answer: Numbers, rows: Sequences) -> Flags:
    """Whether after each step every possible symbol is more active than every impossible one."""
    allowed = legal(rows)
    least = np.where(allowed, answer, np.inf).min(axis=-1)
    most = np.where(allowed, -np.inf, answer).max(axis=-1)
    return np.asarray(((least > most) | ~rows.asked).all(axis=0))


TASKS = (
    Task(
        "reber",
        "The next symbol of the embedded Reber grammar, strings of T symbols on average; "
        "right if the possible symbols are the most active outputs at every step.",
        Loss.CLASS, reber, _most_active, 12, (12, 25, 50, 100),
    ),
)  # fmt: skip
