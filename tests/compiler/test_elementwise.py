"""Graphs compiled to arithmetic: every operation against NumPy, and sums with products rounded once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from gatewise.compiler.emit.elementwise import Evaluation, Source
from gatewise.compiler.emit.vector import Code, Value
from gatewise.language.graph import OPERATIONS, Graph, Node
from tests.compiler.mapped import mapped
from tests.compiler.problems import Array

# For each operation: its number of arguments, and its reference in NumPy.
EXACT: dict[str, tuple[int, Callable[..., Any]]] = {
    "add": (2, np.add),
    "sub": (2, np.subtract),
    "mul": (2, np.multiply),
    "div": (2, np.divide),
    "neg": (1, np.negative),
    "sqrt": (1, np.sqrt),
    "abs": (1, np.abs),
    "relu": (1, lambda x: np.maximum(x, 0)),
    "maximum": (2, np.maximum),
    "minimum": (2, np.minimum),
    "less": (2, np.less),
    "less_equal": (2, np.less_equal),
    "where": (3, lambda a, b, c: np.where(a < b, b, c)),
}
ROUNDED: dict[str, tuple[int, Callable[..., Any]]] = {
    "exp": (1, np.exp),
    "log": (1, np.log),
    "tanh": (1, np.tanh),
    "sigmoid": (1, lambda x: 1 / (1 + np.exp(-x))),
    "softplus": (1, lambda x: np.logaddexp(x, 0)),
}
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.1, -2.5, 1e30, -1e-30, np.inf, -np.inf, np.nan]


def _itself(value: Value) -> Value:
    return value


def compiled_graph(inputs: int, build: Callable[..., Node], dtype: str) -> Callable[..., Array]:
    """Compile the node that `build` makes of a graph and of leaves, as a function of arrays."""
    graph = Graph()
    leaves = [graph.leaf("state", str(k)) for k in range(inputs)]
    node = build(graph, *leaves)

    def evaluate(code: Code, *values: Value) -> tuple[Value]:
        pairs = zip(leaves, values, strict=True)
        sources: dict[Node, Source] = {leaf: partial(_itself, value) for leaf, value in pairs}
        return (Evaluation(code, sources)[node],)

    function = mapped(evaluate, inputs, 1, dtype)
    return lambda *arrays: function(*arrays)[0]


def operation(op: str) -> Callable[..., Node]:
    """A node for `op`. A comparison is tested through `where`; `where` gets a comparison as its condition."""

    def build(graph: Graph, *leaves: Node) -> Node:
        if op in ("less", "less_equal"):
            return graph.node("where", graph.node(op, *leaves), graph.constant(1), graph.constant(0))
        if op == "where":
            return graph.node("where", graph.node("less", *leaves[:2]), *leaves[1:])
        return graph.node(op, *leaves)

    return build


def test_every_operation_of_the_language_has_a_reference() -> None:
    assert EXACT.keys() | ROUNDED.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", [*EXACT, *ROUNDED])
def test_an_operation_on_numbers_of_every_kind(op: str, dtype: str) -> None:
    count, statement = (EXACT | ROUNDED)[op]
    values = np.array([*SPECIAL, *np.random.default_rng(0).standard_normal(6)], dtype)
    arrays = [array.ravel() for array in np.meshgrid(*[values] * count)]
    with np.errstate(all="ignore"):
        expected = statement(*arrays).astype(dtype)
    result = compiled_graph(count, operation(op), dtype)(*arrays)
    ulps = 0 if op in EXACT else 4
    np.testing.assert_allclose(result, expected, rtol=float(ulps * np.finfo(dtype).eps), atol=0)


# Sums with a product whose terms nearly cancel: rounding twice would be visible in the rest, e^2.
SUMS: dict[str, tuple[Callable[[Graph, Node, Node], Node], float]] = {
    "1 - a b": (lambda g, a, b: g.node("sub", g.constant(1), g.node("mul", a, b)), 1),
    "a b - 1": (lambda g, a, b: g.node("sub", g.node("mul", a, b), g.constant(1)), -1),
    "-1 + a b": (lambda g, a, b: g.node("add", g.constant(-1), g.node("mul", a, b)), -1),
    "a b + -1": (lambda g, a, b: g.node("add", g.node("mul", a, b), g.constant(-1)), -1),
}


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sum_with_a_product_is_rounded_once(name: str, dtype: str) -> None:
    build, sign = SUMS[name]
    e = np.finfo(dtype).eps
    a, b = np.array([[1 + e], [1 - e]], dtype)
    assert compiled_graph(2, build, dtype)(a, b) == sign * e * e


def test_in_a_sum_of_two_products_the_first_is_fused() -> None:
    def build(graph: Graph, a: Node, b: Node, c: Node) -> Node:
        return graph.node("sub", graph.node("mul", a, b), graph.node("mul", c, c))

    e = 2.0**-30
    a, b, c = np.array([[1 + e], [1 - e], [1]])
    assert compiled_graph(3, build, "float64")(a, b, c) == -e * e
