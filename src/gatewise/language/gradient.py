"""The gradient of a cell's graph: reverse mode, once, on symbols.

The result is another graph, over the same nodes and one ``seed`` leaf for each state. The derivative of an
activation is written with its value y, as ``y (1 - y)`` for the sigmoid, so that backward needs y and not the
pre-activation. At points without a derivative, and at NaN, derivatives are torch's, so that NaN spreads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import final

from gatewise.language.graph import Graph, Node, topological


@final
class Term:
    """A node with operators, so that rules read as formulas; numbers stand for constants."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph = graph
        self.node = node

    @property
    def args(self) -> tuple[Term, ...]:
        """The arguments of the node."""
        return tuple(Term(self.graph, arg) for arg in self.node.args)

    def apply(
        self, op: str, *terms: Term | float, name: str = "", part: str = "", value: float = 0.0
    ) -> Term:
        """`op` of some terms, as a term."""
        nodes = (t.node if isinstance(t, Term) else self.graph.constant(t) for t in terms)
        return Term(self.graph, self.graph.node(op, *nodes, name=name, part=part, value=value))

    def again(self, *terms: Term | float) -> Term:
        """The operation of this node, with its name, part and value, applied to other terms."""
        node = self.node
        return self.apply(node.op, *terms, name=node.name, part=node.part, value=node.value)

    def __add__(self, other: Term | float) -> Term:
        return self.apply("add", self, other)

    def __sub__(self, other: Term | float) -> Term:
        return self.apply("sub", self, other)

    def __rsub__(self, other: float) -> Term:
        return self.apply("sub", other, self)

    def __mul__(self, other: Term | float) -> Term:
        return self.apply("mul", self, other)

    def __rmul__(self, other: float) -> Term:
        return self.apply("mul", other, self)

    def __truediv__(self, other: Term | float) -> Term:
        return self.apply("div", self, other)

    def __neg__(self) -> Term:
        return self.apply("neg", self)

    def __lt__(self, other: Term | float) -> Term:
        return self.apply("less", self, other)

    def __gt__(self, other: Term | float) -> Term:
        return self.apply("less", other, self)

    def __le__(self, other: Term | float) -> Term:
        return self.apply("less_equal", self, other)

    def where(self, if_true: Term | float, if_false: Term | float) -> Term:
        """One of two terms, by this comparison."""
        return self.apply("where", self, if_true, if_false)


# (node, derivative by the node) -> derivative by each argument, None for an argument without one.
Rule = Callable[[Term, Term], tuple[Term | None, ...]]


def _div(y: Term, d: Term) -> tuple[Term, ...]:
    by_a = d / y.args[1]
    return by_a, -(by_a * y)


def _abs(y: Term, d: Term) -> tuple[Term, ...]:
    (x,) = y.args
    at_zero_or_nan = d * 0
    return ((x < 0).where(-d, (x > 0).where(d, at_zero_or_nan)),)


def _winner(wins: Term, loses: Term, d: Term) -> Term:
    """The derivative of `maximum` or `minimum` by one of its arguments.

    It is `d` if the argument is the result, half of `d` if both are equal, and `d` if either is NaN. `wins`
    says that this argument is the result or equal to it, `loses` that the other one is.
    """
    return loses.where(wins.where(0.5 * d, 0), d)


def _maximum(y: Term, d: Term) -> tuple[Term, ...]:
    a, b = y.args
    return _winner(b <= a, a <= b, d), _winner(a <= b, b <= a, d)


def _minimum(y: Term, d: Term) -> tuple[Term, ...]:
    a, b = y.args
    return _winner(a <= b, b <= a, d), _winner(b <= a, a <= b, d)


def _mean(y: Term, d: Term) -> tuple[Term, ...]:
    # All units share one mean, so its derivative is a sum over the units, which is a mean times a factor.
    count = len(y.args)
    return (d.apply("mean", d) * (1 / count),) * count


_RULES: dict[str, Rule] = {
    "add": lambda y, d: (d, d),
    "sub": lambda y, d: (d, -d),
    "mul": lambda y, d: (d * y.args[1], d * y.args[0]),
    "div": _div,
    "neg": lambda y, d: (-d,),
    "exp": lambda y, d: (d * y,),
    "log": lambda y, d: (d / y.args[0],),
    "sqrt": lambda y, d: (0.5 * d / y,),
    "abs": _abs,
    "tanh": lambda y, d: (d * (1 - y * y),),
    "sigmoid": lambda y, d: (d * (y * (1 - y)),),
    "softplus": lambda y, d: (d * d.apply("sigmoid", y.args[0]),),
    "relu": lambda y, d: ((y <= 0).where(0, d),),
    "maximum": _maximum,
    "minimum": _minimum,
    "less": lambda y, d: (None, None),
    "less_equal": lambda y, d: (None, None),
    "where": lambda y, d: (None, y.args[0].where(d, 0), y.args[0].where(0, d)),
    "mean": _mean,
    "stop_gradient": lambda y, d: (None,),
    "dropout": lambda y, d: (y.again(d),),  # the mask of the draw, computed again
    "zoneout": lambda y, d: (y.again(d, 0), y.again(0, d)),
    "linear": lambda y, d: (d.apply("linear_back", d, name=y.node.name),),
    "project": lambda y, d: (d.apply("project_back", d),),
}


def _by_arguments(graph: Graph, node: Node, d: Node) -> Iterator[tuple[Node, Node | None]]:
    """Each argument of a node, with the derivative by it."""
    found = _RULES[node.op](Term(graph, node), Term(graph, d))
    for arg, by_arg in zip(node.args, found, strict=True):
        yield arg, by_arg and by_arg.node


def gradient(graph: Graph, seeds: Mapping[Node, Node], idle: Collection[Node] = ()) -> dict[Node, Node]:
    """The derivatives of the loss with respect to every leaf that `seeds` depend on, and every ``linear``.

    Args:
        graph: the graph in which the derivatives are made.
        seeds: for each output, the derivative of the loss with respect to it. If two outputs are the same
            node, the caller adds their seeds.
        idle: seeds that are 0 for the units whose outputs the loss does not depend on. For these units a
            ``where`` makes all derivatives 0, even if a factor is NaN (0 times NaN is NaN). torch does the
            same, because such outputs are not in its graph.

    Returns:
        The derivative by leaf or ``linear``. Leaves that the loss does not depend on are missing.
    """
    adjoint: dict[Node, Node] = dict(seeds)
    # `alone`: the adjoints that consist of idle seeds only. `sizes`: for each of them, a node that is 0 only
    # where all seeds in it are 0.
    alone = {
        node: seed for node, seed in seeds.items() if all(n in idle or n.args for n in topological([seed]))
    }
    sizes = {node: graph.node("abs", seed) for node, seed in alone.items()}
    for node in reversed(list(topological(seeds))):
        if node not in adjoint or not node.args:
            continue
        size, whole = sizes.get(node), adjoint[node]
        for arg, d in _by_arguments(graph, node, whole):
            if d is None or arg.op == "constant":
                continue
            if size is not None and d.op in _NAN_FROM_ZERO:
                zero = graph.constant(0)
                d = graph.node("where", graph.node("less_equal", size, zero), zero, d)
            _combine_sizes(graph, sizes, arg, size, first=arg not in adjoint)
            adjoint[arg] = graph.node("add", adjoint[arg], d) if arg in adjoint else d
    return {node: d for node, d in adjoint.items() if not node.args or node.op == "linear"}


# Operations of rules in which a derivative of 0 can become NaN, since they multiply it by values of the cell.
_NAN_FROM_ZERO = ("mul", "div", "neg", "where")


def _combine_sizes(graph: Graph, sizes: dict[Node, Node], arg: Node, size: Node | None, first: bool) -> None:
    """Update `sizes` for one more summand, of size `size`, of the adjoint of `arg`."""
    if size is None:
        sizes.pop(arg, None)
    elif first:
        sizes[arg] = size
    elif arg in sizes and sizes[arg] is not size:
        sizes[arg] = graph.node("maximum", sizes[arg], size)
