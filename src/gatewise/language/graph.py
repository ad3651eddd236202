"""The graph of a cell: arithmetic on vectors of units, each distinct term once.

A node is a leaf or an operation on earlier nodes. Nodes are made by a `Graph`, which returns the existing
node for the same operation on the same arguments (hash-consing) and folds constants. So equal terms are the
same object.

Leaves, by `op`:

- ``state``: the state ``name`` before the step
- ``gate``: a pre-activation; ``name`` is the parameter, ``part`` is ``""``, ``"x"`` or ``"h"``
- ``vector``: one learned number per unit
- ``constant``: ``value``, the same for every unit
- ``seed``: in a gradient, the derivative of the loss by the next value of the state ``name``

Most operations work on each unit by itself. These do not:

- ``linear`` and ``project``: products with learned matrices in the middle of a step; ``name`` numbers the
  ``linear``
- ``linear_back`` and ``project_back``: their gradients, products with the transposed matrices
- ``norm``: argument number ``name``, normalised: minus the mean over all units of all arguments, divided by
  the square root of their variance plus ``value``
- ``mean``: the mean over all units of all arguments, the same number for every unit; it appears where
  `rewrites.written_out` has replaced ``norm``

``stop_gradient`` is its argument, with a derivative of 0. ``dropout`` and ``zoneout`` are random: ``name`` is
the number of the draw, ``value`` the rate, and ``part`` says whether to draw once a step or once a sequence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import final

COMPARISONS = frozenset({"less", "less_equal"})
PRODUCTS = frozenset({"linear", "project", "linear_back", "project_back"})
RANDOM = frozenset({"dropout", "zoneout"})
VALUED = RANDOM | {"norm"}


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


# Every operation as a function of numbers, for folding constants.
OPERATIONS: dict[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "abs": abs,
    "tanh": math.tanh,
    "sigmoid": _sigmoid,
    "softplus": lambda a: max(a, 0.0) + math.log1p(math.exp(-abs(a))),
    "relu": lambda a: max(a, 0.0),
    "maximum": lambda a, b: math.nan if math.isnan(a) or math.isnan(b) else max(a, b),
    "minimum": lambda a, b: math.nan if math.isnan(a) or math.isnan(b) else min(a, b),
    "less": lambda a, b: float(a < b),
    "less_equal": lambda a, b: float(a <= b),
    "where": lambda condition, a, b: a if condition else b,
}


@final
@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Node:
    """A leaf, or an operation on `args`. Compared by identity; only a `Graph` makes nodes."""

    op: str
    args: tuple[Node, ...] = ()
    name: str = ""
    part: str = ""
    value: float = 0.0

    def __repr__(self) -> str:
        """The operation and the operations of its arguments. A whole term could be exponentially long."""
        inner = ", ".join(arg.op for arg in self.args)
        return f"<{label(self)}({inner})>" if self.args else f"<{label(self)}>"


@final
class Graph:
    """Makes nodes, each distinct one once.

    A new graph holds `nodes` and their arguments. Nodes are immutable, so several graphs can share them.
    """

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        self._nodes: dict[tuple[object, ...], Node] = {}
        for node in topological(nodes):
            self._intern(node)

    def leaf(self, op: str, name: str, part: str = "") -> Node:
        """The leaf of kind `op` with this name."""
        return self._intern(Node(op, name=name, part=part))

    def constant(self, value: float) -> Node:
        """The number `value`, for every unit."""
        return self._intern(Node("constant", value=float(value)))

    def node(self, op: str, *args: Node, name: str = "", part: str = "", value: float = 0.0) -> Node:
        """The node for `op` of `args`, simplified where that does not change its value."""
        if op in OPERATIONS and all(a.op == "constant" for a in args):
            try:
                return self.constant(OPERATIONS[op](*(a.value for a in args)))
            except (ArithmeticError, ValueError):
                pass  # log(0), 1/0: the compiled code gives infinities and NaN
        return self._simpler(op, args) or self._intern(Node(op, args, name, part, value))

    def own(self, node: Node) -> Node:
        """The node of this graph that equals a node of another graph."""
        own: dict[Node, Node] = {}
        for inner in topological([node]):
            own[inner] = self._intern(replace(inner, args=tuple(own[arg] for arg in inner.args)))
        return own[node]

    def _simpler(self, op: str, args: tuple[Node, ...]) -> Node | None:
        if op == "where" and args[0].op == "constant":  # a comparison of two numbers
            return args[1] if args[0].value else args[2]
        a, b = (*args, None, None)[:2]
        if op == "neg" and a is not None and a.op == "neg":
            return a.args[0]
        if a is None or b is None:
            return None
        if (op in ("add", "sub") and _is(b, 0)) or (op in ("mul", "div") and _is(b, 1)):
            return a
        if (op == "add" and _is(a, 0)) or (op == "mul" and _is(a, 1)):
            return b
        if op == "sub" and _is(a, 0):
            return self.node("neg", b)
        return None

    def _intern(self, node: Node) -> Node:
        key = (node.op, node.args, node.name, node.part, node.value, math.copysign(1, node.value))
        return self._nodes.setdefault(key, node)

    def __len__(self) -> int:
        return len(self._nodes)


def _is(node: Node, value: float) -> bool:
    return node.op == "constant" and node.value == value


def topological(outputs: Iterable[Node]) -> Iterator[Node]:
    """All nodes that `outputs` depend on, each once, after its arguments."""
    seen: set[Node] = set()
    stack = [(node, False) for node in reversed(list(outputs))]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((arg, False) for arg in reversed(node.args))


def text(outputs: Iterable[Node]) -> str:
    """The graph as text, one node a line. Equal graphs have equal text, however they were made."""
    index: dict[Node, int] = {}
    lines = []
    outputs = list(outputs)
    for node in topological(outputs):
        index[node] = len(index)
        args = " ".join(str(index[arg]) for arg in node.args)
        lines.append(" ".join(filter(None, [str(index[node]), label(node), args])))
    lines.append("-> " + " ".join(str(index[node]) for node in outputs))
    return "\n".join(lines)


def label(node: Node) -> str:
    """The operation of a node with its name, part and value, without its arguments."""
    name = f"{node.name}{node.part and '.' + node.part}"
    if node.op == "constant" or node.op in VALUED:
        name += repr(node.value)
    return f"{node.op} {name}".rstrip()
