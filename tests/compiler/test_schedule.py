"""Schedules: what is computed when, what is stored, and that every pass can compute what it needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from gatewise.compiler.plan.fusing import operands
from gatewise.compiler.plan.plan import plan
from gatewise.compiler.plan.schedule import START, Level, Schedule, schedule
from gatewise.language.graph import PRODUCTS, Graph, Node
from tests.compiler.examples import Example, examples, normal, reset_first


@pytest.fixture
def graph() -> Graph:
    return Graph()


def known_to(
    found: Schedule, momentary: Mapping[Node, Level], given: set[Node], lost: Collection[Node] = ()
) -> None:
    """Walk through the passes and ask for every value that each pass stores or sums, as the compiler does.

    Terms in `momentary` are available in one pass only, terms in `given` from the start, and leaves in `lost`
    never.
    """
    stored: set[Node] = set(given)
    for phase in found.phases:
        for one in phase.passes:
            here = {*phase.products} if one.level.number == 0 else set()

            def ask(node: Node, here: set[Node] = here, level: Level = one.level) -> None:
                if node in stored or node in here:
                    return
                assert node.op not in PRODUCTS | {"mean"}, f"{node.op} is not known at {level}"
                assert momentary.get(node, level) == level, f"{node} is gone at {level}"
                assert node not in lost, f"nothing stands for {node}"
                for operand in operands(node):
                    ask(operand)

            for node in (*one.outputs, *one.readable, *one.spills, *(a for m in one.means for a in m.args)):
                ask(node)
            stored |= {*one.readable, *one.spills, *one.means}


@examples
def test_every_pass_of_forward_can_compute_what_it_needs(example: Example) -> None:
    p = plan(example.cell)
    known_to(p.forward, {slot.leaf: START for slot in p.state_slots}, set())
    outputs = [node for phase in p.forward.phases for one in phase.passes for node in one.outputs]
    assert set(outputs) == set(p.cell.next_states)


@examples
def test_every_pass_of_backward_can_compute_what_it_needs(example: Example) -> None:
    p = plan(example.cell)
    given = {*p.cell.next_states, *p.columns, *p.forward.means}
    known_to(p.backward, p.seeds, given)
    outputs = {node for phase in p.backward.phases for one in phase.passes for node in one.outputs}
    assert outputs == set(p.adjoints.values())


def test_a_mean_has_its_own_pass_after_the_tiles(graph: Graph) -> None:
    x, gate = graph.leaf("vector", "x"), graph.leaf("gate", "a")
    y = graph.node("sub", gate, graph.node("mean", gate, x))
    found = schedule([y], momentary={gate: START})
    ((tiles, adds, last),) = (phase.passes for phase in found.phases)
    assert tiles.spills == (gate,)
    assert len(adds.means) == 1
    assert last.outputs == (y,)
    assert [one.level for one in (tiles, adds, last)] == [(0, 0), (0, 1), (0, 2)]


def test_products_of_one_vector_share_a_phase_and_others_follow(graph: Graph) -> None:
    x = graph.leaf("state", "x")
    first, second = (graph.node("linear", x, name=str(n)) for n in range(2))
    third = graph.node("linear", graph.node("tanh", first), name="2")
    found = schedule([graph.node("add", second, third)])
    assert [{*phase.products} for phase in found.phases] == [set(), {first, second}, {third}]
    assert found.phases[1].passes[0].spills == (second,)


def test_products_with_transposed_matrices_have_a_phase_each(graph: Graph) -> None:
    x = graph.leaf("state", "x")
    first, second = (graph.node("linear_back", x, name=str(n)) for n in range(2))
    found = schedule([graph.node("add", first, second)])
    assert [phase.products for phase in found.phases] == [(), (first,), (second,)]
    assert found.phases[1].passes[0].spills == (first,)


def test_expensive_values_are_stored_and_cheap_ones_are_computed_again(graph: Graph) -> None:
    x = graph.leaf("state", "x")
    cheap, dear = graph.node("mul", x, x), graph.node("tanh", x)
    mean = graph.node("mean", graph.node("add", cheap, dear))
    y = graph.node("add", graph.node("sub", cheap, mean), dear)
    assert schedule([y]).spilled == [dear]


def test_a_value_that_is_the_same_for_all_units_is_not_stored_for_each(graph: Graph) -> None:
    x = graph.leaf("state", "x")
    root = graph.node("sqrt", graph.node("mean", x))
    y = graph.node("div", graph.node("sub", x, graph.node("mean", graph.node("mul", x, root))), root)
    assert schedule([y]).spilled == []


def test_states_are_stored_in_the_last_pass_over_the_units() -> None:
    for cell in (normal, reset_first):
        forward = plan(cell).forward
        passes = [one for phase in forward.phases for one in phase.passes]
        assert all(not one.outputs for one in passes[:-1])
        assert passes[-1].level == forward.last
