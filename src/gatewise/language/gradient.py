"""The gradient of a cell's graph: reverse mode, once, on symbols.

The result is another graph, over the same nodes and one ``seed`` leaf for each state. The derivative of an
activation is written with its value y, as ``y (1 - y)`` for the sigmoid, so that backward needs y and not the
pre-activation. At points without a derivative, and at NaN, derivatives are torch's, so that NaN spreads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from gatewise.language.graph import Graph, Node, topological

# (graph, node, derivative by the node) -> derivative by each argument, None for an argument without one.
Rule = Callable[[Graph, Node, Node], tuple[Node | None, ...]]


def _mul(g: Graph, y: Node, d: Node) -> tuple[Node, ...]:
    a, b = y.args
    return g.node("mul", d, b), g.node("mul", d, a)


def _div(g: Graph, y: Node, d: Node) -> tuple[Node, ...]:
    by_a = g.node("div", d, y.args[1])
    return by_a, g.node("neg", g.node("mul", by_a, y))


def _tanh(g: Graph, y: Node, d: Node) -> tuple[Node, ...]:
    return (g.node("mul", d, g.node("sub", g.constant(1), g.node("mul", y, y))),)


def _sigmoid(g: Graph, y: Node, d: Node) -> tuple[Node, ...]:
    return (g.node("mul", d, g.node("mul", y, g.node("sub", g.constant(1), y))),)


def _softplus(g: Graph, y: Node, d: Node) -> tuple[Node, ...]:
    return (g.node("mul", d, g.node("sigmoid", y.args[0])),)


def _sqrt(g: Graph, y: Node, d: Node) -> tuple[Node, ...]:
    return (g.node("div", g.node("mul", g.constant(0.5), d), y),)


def _relu(g: Graph, y: Node, d: Node) -> tuple[Node, ...]:
    zero = g.constant(0)
    return (g.node("where", g.node("less_equal", y, zero), zero, d),)


def _abs(g: Graph, y: Node, d: Node) -> tuple[Node, ...]:
    zero, x = g.constant(0), y.args[0]
    at_zero_or_nan = g.node("mul", d, zero)
    positive = g.node("where", g.node("less", zero, x), d, at_zero_or_nan)
    return (g.node("where", g.node("less", x, zero), g.node("neg", d), positive),)


def _where(g: Graph, y: Node, d: Node) -> tuple[Node | None, ...]:
    zero, condition = g.constant(0), y.args[0]
    return None, g.node("where", condition, d, zero), g.node("where", condition, zero, d)


def _winner(g: Graph, wins: Node, loses: Node, d: Node) -> Node:
    """The derivative of `maximum` or `minimum` by one of its arguments.

    It is `d` if the argument is the result, half of `d` if both are equal, and `d` if either is NaN. `wins`
    says that this argument is the result or equal to it, `loses` that the other one is.
    """
    half = g.node("mul", g.constant(0.5), d)
    return g.node("where", loses, g.node("where", wins, half, g.constant(0)), d)


def _maximum(g: Graph, y: Node, d: Node) -> tuple[Node, ...]:
    a, b = y.args
    a_wins, b_wins = g.node("less_equal", b, a), g.node("less_equal", a, b)
    return _winner(g, a_wins, b_wins, d), _winner(g, b_wins, a_wins, d)


def _minimum(g: Graph, y: Node, d: Node) -> tuple[Node, ...]:
    a, b = y.args
    a_wins, b_wins = g.node("less_equal", a, b), g.node("less_equal", b, a)
    return _winner(g, a_wins, b_wins, d), _winner(g, b_wins, a_wins, d)


def _mean(g: Graph, y: Node, d: Node) -> tuple[Node, ...]:
    # All units share one mean, so its derivative is the sum over the units: again a mean, but for a factor.
    share = g.node("mul", g.node("mean", d), g.constant(1 / len(y.args)))
    return (share,) * len(y.args)


def _dropout(g: Graph, y: Node, d: Node) -> tuple[Node, ...]:
    return (g.node("dropout", d, name=y.name, part=y.part, value=y.value),)


def _zoneout(g: Graph, y: Node, d: Node) -> tuple[Node, ...]:
    def of(old: Node, new: Node) -> Node:
        return g.node("zoneout", old, new, name=y.name, part=y.part, value=y.value)

    return of(d, g.constant(0)), of(g.constant(0), d)


_RULES: dict[str, Rule] = {
    "add": lambda g, y, d: (d, d),
    "sub": lambda g, y, d: (d, g.node("neg", d)),
    "mul": _mul,
    "div": _div,
    "neg": lambda g, y, d: (g.node("neg", d),),
    "exp": lambda g, y, d: (g.node("mul", d, y),),
    "log": lambda g, y, d: (g.node("div", d, y.args[0]),),
    "sqrt": _sqrt,
    "abs": _abs,
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "relu": _relu,
    "maximum": _maximum,
    "minimum": _minimum,
    "less": lambda g, y, d: (None, None),
    "less_equal": lambda g, y, d: (None, None),
    "where": _where,
    "mean": _mean,
    "stop_gradient": lambda g, y, d: (None,),
    "dropout": _dropout,
    "zoneout": _zoneout,
    "linear": lambda g, y, d: (g.node("linear_back", d, name=y.name),),
    "project": lambda g, y, d: (g.node("project_back", d),),
}


def gradient(graph: Graph, seeds: Mapping[Node, Node], idle: Collection[Node] = ()) -> dict[Node, Node]:
    """The derivative of the loss by every leaf that `seeds` depend on, and by every ``linear``.

    `seeds` maps each output to the derivative of the loss by it. If two outputs are the same node, the
    caller adds their seeds. Leaves that the loss does not depend on are missing from the result.

    Seeds in `idle` are 0 wherever the loss does not depend on their outputs. There the outputs add nothing to
    a derivative, as
    in torch, whose graph leaves them out: ``where`` makes sure of it, as 0 times a NaN would be NaN.
    """
    adjoint: dict[Node, Node] = dict(seeds)
    # `alone`: the adjoints that consist of idle seeds only. `sizes`: for each, a node that is 0 only where
    # all of its seeds are.
    alone = {
        node: seed for node, seed in seeds.items() if all(n in idle or n.args for n in topological([seed]))
    }
    sizes = {node: graph.node("abs", seed) for node, seed in alone.items()}
    for node in reversed(list(topological(seeds))):
        if node not in adjoint or not node.args:
            continue
        size, whole = sizes.get(node), adjoint[node]
        for arg, d in zip(node.args, _RULES[node.op](graph, node, whole), strict=True):
            if d is None or arg.op == "constant":
                continue
            if size is not None and d.op in _NAN_FROM_ZERO:
                zero = graph.constant(0)
                d = graph.node("where", graph.node("less_equal", size, zero), zero, d)
            _combine_sizes(graph, sizes, arg, size, first=arg not in adjoint)
            adjoint[arg] = graph.node("add", adjoint[arg], d) if arg in adjoint else d
    return {node: d for node, d in adjoint.items() if not node.args or node.op == "linear"}


# Operations of rules that multiply a derivative by values of the cell.
_NAN_FROM_ZERO = ("mul", "div", "neg", "where")


def _combine_sizes(graph: Graph, sizes: dict[Node, Node], arg: Node, size: Node | None, first: bool) -> None:
    """Update `sizes` for one more summand, of size `size`, of the adjoint of `arg`."""
    if size is None:
        sizes.pop(arg, None)
    elif first:
        sizes[arg] = size
    elif arg in sizes and sizes[arg] is not size:
        sizes[arg] = graph.node("maximum", sizes[arg], size)
