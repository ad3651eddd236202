"""The graph: each distinct term once, constants folded, order and text."""

from __future__ import annotations

import math

import pytest

from gatewise.language.graph import OPERATIONS, Graph, Node, text, topological


@pytest.fixture
def graph() -> Graph:
    return Graph()


def test_equal_terms_are_one_node(graph: Graph) -> None:
    x, y = graph.leaf("state", "x"), graph.leaf("state", "y")
    assert graph.leaf("state", "x") is x
    assert graph.node("mul", x, y) is graph.node("mul", x, y)
    assert graph.node("mul", x, y) is not graph.node("mul", y, x)
    assert graph.leaf("gate", "n", "x") is not graph.leaf("gate", "n", "h")
    assert graph.constant(2) is graph.constant(2.0)


def test_zero_and_negative_zero_are_two_constants(graph: Graph) -> None:
    assert graph.constant(0.0) is not graph.constant(-0.0)


def test_nodes_of_two_graphs_are_different(graph: Graph) -> None:
    assert Graph().leaf("state", "x") is not graph.leaf("state", "x")


FOLDED: dict[str, tuple[tuple[float, ...], float]] = {
    "add": ((2, 3), 5),
    "sub": ((2, 3), -1),
    "mul": ((2, 3), 6),
    "div": ((3, 2), 1.5),
    "neg": ((2,), -2),
    "exp": ((1,), math.e),
    "log": ((math.e,), 1),
    "sqrt": ((9,), 3),
    "abs": ((-2,), 2),
    "tanh": ((0.5,), math.tanh(0.5)),
    "sigmoid": ((-800,), 0),
    "softplus": ((800,), 800),
    "relu": ((-1,), 0),
    "maximum": ((1, 2), 2),
    "minimum": ((1, 2), 1),
    "less": ((1, 2), 1),
    "less_equal": ((2, 1), 0),
    "where": ((0, 5, 6), 6),
}


def test_every_operation_is_in_the_table() -> None:
    assert FOLDED.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("op", FOLDED)
def test_an_operation_on_constants_is_computed_at_once(op: str, graph: Graph) -> None:
    numbers, expected = FOLDED[op]
    assert graph.node(op, *map(graph.constant, numbers)) is graph.constant(expected)


@pytest.mark.parametrize(("op", "numbers"), [("log", [0]), ("div", [1, 0]), ("sqrt", [-1]), ("exp", [1e9])])
def test_an_operation_without_a_finite_result_is_not_computed(
    op: str, numbers: list[float], graph: Graph
) -> None:
    assert graph.node(op, *map(graph.constant, numbers)).op == op


def test_arguments_come_before_their_users_and_each_only_once(graph: Graph) -> None:
    x, y = graph.leaf("state", "x"), graph.leaf("state", "y")
    product = graph.node("mul", x, y)
    total = graph.node("add", product, graph.node("tanh", product))
    order = list(topological([total, product]))
    assert len(order) == len(set(order)) == 5
    assert all(order.index(arg) < order.index(node) for node in order for arg in node.args)


def test_a_deep_graph_needs_no_recursion(graph: Graph) -> None:
    node: Node = graph.leaf("state", "x")
    for _ in range(10_000):
        node = graph.node("tanh", node)
    assert len(list(topological([node]))) == 10_001


def test_the_text_is_the_same_for_the_same_graph() -> None:
    def build(first: str, second: str) -> str:
        graph = Graph()
        leaves = {name: graph.leaf("state", name) for name in (first, second)}
        gate = graph.leaf("gate", "n", "h")
        return text([graph.node("add", leaves["x"], graph.node("mul", leaves["y"], gate)), leaves["x"]])

    assert build("x", "y") == build("y", "x")
    assert build("x", "y").splitlines() == [
        "0 state x",
        "1 state y",
        "2 gate n.h",
        "3 mul 1 2",
        "4 add 0 3",
        "-> 4 0",
    ]
