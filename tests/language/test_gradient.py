# mypy: allow-untyped-defs, allow-incomplete-defs
"""The symbolic gradient, against torch's autograd and against finite differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from gatewise import Cell, Split, Vector, cell, cells, exp, maximum, relu, softplus, sqrt, where
from gatewise.language.gradient import gradient
from gatewise.language.graph import OPERATIONS, Graph, Node, topological
from gatewise.nn.walk.eager import evaluate


@cell
def crowded(h, m, *, a, n: Split, v: Vector):
    """Shared terms, terms with many uses, and a state that is returned twice."""
    x = exp(-abs(a)) + sqrt(1 + n.x * n.x)
    m = where(x > m, x * m / (2 + h * h), softplus(m)) + v * x
    h = maximum(m, relu(n.h)) - x
    return m, h + m


ARITY = {"where": 3} | dict.fromkeys("add sub mul div maximum minimum less less_equal".split(), 2)
SMOOTH = [op for op in OPERATIONS if op not in ("less", "less_equal")]


def leaves_of(nodes: Sequence[Node]) -> list[Node]:
    return [node for node in topological(nodes) if not node.args and node.op != "constant"]


def operation(op: str) -> tuple[Graph, Node, list[Node]]:
    """A graph of one operation on leaves. For `where`, a comparison chooses between two leaves."""
    graph = Graph()
    leaves = [graph.leaf("state", str(k)) for k in range(ARITY.get(op, 1))]
    args = [graph.node("less", leaves[0], leaves[1]), *leaves[1:]] if op == "where" else leaves
    return graph, graph.node(op, *args), leaves


def symbolic(
    graph: Graph, outputs: Sequence[Node], values: dict[Node, Tensor], by: Tensor
) -> dict[Node, Tensor]:
    """The derivative of ``(by * outputs).sum()`` with respect to each leaf, from the symbolic gradient."""
    seeds: dict[Node, Node] = {}
    for k, output in enumerate(outputs):
        seed = graph.leaf("seed", str(k))
        values = values | {seed: by[k]}
        seeds[output] = graph.node("add", seeds[output], seed) if output in seeds else seed
    derivatives = gradient(graph, seeds)
    found = evaluate(list(derivatives.values()), values)
    return dict(zip(derivatives, found, strict=True))


def by_autograd(outputs: Sequence[Node], values: dict[Node, Tensor], by: Tensor) -> dict[Node, Tensor | None]:
    leaves = {node: value.clone().requires_grad_() for node, value in values.items()}
    results = evaluate(outputs, leaves)
    found = torch.autograd.grad(results, list(leaves.values()), list(by), allow_unused=True)
    return dict(zip(leaves, found, strict=True))


def compare(graph: Graph, outputs: Sequence[Node], values: dict[Node, Tensor]) -> None:
    by = torch.randn(len(outputs), next(iter(values.values())).numel(), dtype=torch.float64)
    found, expected = symbolic(graph, outputs, values, by), by_autograd(outputs, values, by)
    for leaf in values:
        wanted = expected[leaf]
        if wanted is None:
            assert leaf not in found
        else:
            torch.testing.assert_close(found[leaf].expand_as(wanted), wanted, rtol=1e-13, atol=1e-15)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("op", SMOOTH)
def test_an_operation_against_autograd(op: str) -> None:
    graph, output, leaves = operation(op)
    positive = op in ("log", "sqrt", "div")
    values = {leaf: torch.randn(50, dtype=torch.float64) for leaf in leaves}
    compare(
        graph, [output], {leaf: value.abs() + 0.1 if positive else value for leaf, value in values.items()}
    )


@pytest.mark.parametrize("op", SMOOTH)
def test_an_operation_against_finite_differences(op: str) -> None:
    graph, output, leaves = operation(op)
    step = 1e-6
    at = torch.linspace(0.3, 0.9, 7, dtype=torch.float64)  # far from every kink
    values = {leaf: at + 0.07 * k for k, leaf in enumerate(leaves)}
    found = symbolic(graph, [output], values, torch.ones(1, 7, dtype=torch.float64))
    for leaf in leaves:
        up, down = (evaluate([output], values | {leaf: values[leaf] + change})[0] for change in (step, -step))
        slope = (up - down) / (2 * step)
        derivative = found.get(leaf, torch.zeros(7, dtype=torch.float64))
        np.testing.assert_allclose(derivative.expand(7), slope, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("op", ["relu", "abs", "maximum", "minimum"])
def test_the_derivative_at_a_kink_is_that_of_torch(op: str) -> None:
    graph, output, leaves = operation(op)
    compare(graph, [output], {leaf: torch.zeros(3, dtype=torch.float64) for leaf in leaves})


def test_comparisons_have_no_derivative() -> None:
    for op in ("less", "less_equal"):
        graph, output, _ = operation(op)
        assert not gradient(graph, {output: graph.leaf("seed", "0")}).keys() - {graph.leaf("seed", "0")}


@pytest.mark.parametrize(
    "cell_", [cells.rnn, cells.rnn_relu, cells.lstm, cells.gru, crowded], ids=lambda c: c.name
)
def test_a_cell_against_autograd(cell_: Cell) -> None:
    leaves = leaves_of(cell_.next_states)
    compare(cell_.graph(), cell_.next_states, {leaf: torch.randn(50, dtype=torch.float64) for leaf in leaves})


def test_the_derivatives_of_a_state_returned_twice_are_added() -> None:
    graph = Graph()
    x = graph.leaf("state", "x")
    y = graph.node("tanh", x)
    compare(graph, [y, y], {x: torch.randn(50, dtype=torch.float64)})


def test_the_derivative_of_a_leaf_that_is_an_output_passes_through() -> None:
    graph = Graph()
    x = graph.leaf("state", "x")
    compare(graph, [x, graph.node("exp", x)], {x: torch.randn(50, dtype=torch.float64)})


def test_the_gradient_computes_no_activation_twice() -> None:
    graph = cells.lstm.graph()
    seeds = {node: graph.leaf("seed", name) for name, node in zip("hc", cells.lstm.next_states, strict=True)}
    derivatives = gradient(graph, seeds)
    assert {leaf.name for leaf in derivatives} == {"c", "i", "f", "g", "o"}
    activations = [n for n in topological(derivatives.values()) if n.op in ("tanh", "sigmoid")]
    assert set(activations) <= set(topological(cells.lstm.next_states))
