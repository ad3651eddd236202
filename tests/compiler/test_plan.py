"""Plans: slots and their rows, values saved for backward, the phases of a step, and plans as text."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gatewise import Cell, cells
from gatewise.compiler.plan.plan import plan
from gatewise.language.graph import Node, topological
from tests.compiler.examples import (
    Example,
    chooser,
    examples,
    feedforward,
    lstm_dropped,
    lstm_projected,
    normal,
    peephole,
    reset_first,
)


def slots(cell: Cell) -> list[tuple[str, int | None, int | None]]:
    """For each slot: its pre-activation, and its rows in the two weight matrices."""
    return [(f"{s.leaf.name}{s.leaf.part}", s.row_ih, s.row_hh) for s in plan(cell).slots]


def test_the_gates_of_an_lstm_are_its_slots_in_order() -> None:
    assert slots(cells.lstm) == [("i", 0, 0), ("f", 1, 1), ("g", 2, 2), ("o", 3, 3)]


def test_the_split_gate_of_a_gru_is_two_slots_around_the_others() -> None:
    assert slots(cells.gru) == [("nx", 2, None), ("r", 0, 0), ("z", 1, 1), ("nh", None, 2)]


def test_slots_of_the_input_come_first_and_those_of_the_state_last() -> None:
    assert slots(peephole) == [("gx", 1, None), ("nx", 3, None), ("i", 0, 0), ("o", 2, 1), ("nh", None, 2)]
    assert slots(feedforward) == [("ax", 0, None), ("bx", 1, None)]


@examples
def test_each_product_fills_consecutive_slots(example: Example) -> None:
    p = plan(example.cell)
    assert p.slots[: len(p.input_slots)] == p.input_slots
    assert p.slots[len(p.slots) - len(p.state_slots) :] == p.state_slots
    assert sorted(p.rows_ih) == list(range(len(example.cell.input_gates)))
    assert sorted(p.rows_hh) == list(range(len(example.cell.state_gates)))


def kept(cell: Cell) -> dict[str, str | None]:
    """For each slot: the name of the watchable value that is saved in it for backward."""
    names: dict[Node | None, str | None] = {node: name for name, node in cell.values.items()}
    pairs = zip(plan(cell).slots, plan(cell).kept, strict=True)
    return {f"{slot.leaf.name}{slot.leaf.part}": names.get(node) for slot, node in pairs}


def test_backward_reads_the_values_that_users_watch() -> None:
    assert kept(cells.lstm) == {"i": "i", "f": "f", "g": "g", "o": "o"}
    assert kept(cells.gru) == {"nx": "n", "r": "r", "z": "z", "nh": "n_bar_h"}


@pytest.mark.parametrize("cell", [cells.rnn, cells.rnn_relu], ids=lambda c: c.name)
def test_a_state_is_not_saved_a_second_time(cell: Cell) -> None:
    assert plan(cell).kept == (None,)
    assert not plan(cell).keeps
    assert plan(cells.lstm).keeps


def test_a_comparison_is_not_saved() -> None:
    assert not {node.op for node in plan(chooser).kept if node is not None} & {"less", "less_equal"}


@pytest.mark.parametrize("cell", [cells.rnn, cells.rnn_relu, cells.lstm, cells.gru], ids=lambda c: c.name)
def test_a_step_of_a_classic_cell_is_one_product_and_one_pass(cell: Cell) -> None:
    for found in (plan(cell).forward, plan(cell).backward):
        assert found.is_single
        assert [found.products, found.means, found.spilled] == [[], [], []]
    (phase,) = plan(cell).forward.phases
    assert phase.passes[0].outputs == tuple(dict.fromkeys(cell.next_states))
    assert {slot.leaf for slot in plan(cell).slots} <= plan(cell).adjoints.keys()


def test_only_one_product_and_one_pass_can_be_divided_by_units() -> None:
    assert plan(cells.lstm).divides_units
    assert not plan(normal).divides_units
    assert not plan(reset_first).divides_units
    assert not plan(lstm_dropped).divides_units


def test_products_in_the_step_come_after_the_slots() -> None:
    p = plan(reset_first)
    assert (p.gates, p.derivatives) == (5, 4)  # r, z, n, the product, and the vector that it multiplies
    assert [p.columns[node] for node in (*p.cell.linears, *p.multiplied)] == [3, 4]
    assert plan(lstm_projected).gates == 5
    assert plan(lstm_projected).derivatives == 4


def test_derivatives_overwrite_gates_that_nothing_reads_any_more() -> None:
    for cell in (cells.lstm, cells.gru, peephole, normal):
        assert plan(cell).overwrites
    assert not plan(cells.rnn).overwrites  # a cell that saves nothing
    assert not plan(reset_first).overwrites  # a cell whose products read derivatives before the last pass


def test_vectors_with_the_same_derivative_share_its_sum() -> None:
    p = plan(normal)
    shared = [numbers for numbers in p.by_vectors.values() if len(numbers) > 1]
    assert len(shared) == 4  # of each gate: the biases of its two norms
    assert sorted(n for numbers in p.by_vectors.values() for n in numbers) == list(range(18))


def test_a_plan_is_made_once() -> None:
    assert plan(cells.lstm) is plan(cells.lstm)


def test_the_page_prints_a_plan() -> None:
    page = Path(__file__).parents[2] / "docs" / "compiler.md"
    failed, attempted = doctest.testfile(str(page), module_relative=False)
    assert (failed, attempted > 0) == (0, True)


@examples
def test_a_printed_plan_has_each_node_once_and_names_all_that_it_stores(example: Example) -> None:
    p = plan(example.cell)
    lines = str(p).splitlines()
    forward, backward = lines.index("forward"), lines.index("backward")
    numbered = [line.split(" = ")[0].strip() for line in lines if " = " in line]
    nodes = {*topological([*p.cell.next_states, *p.adjoints.values()])}
    assert numbered == [f"v{n}" for n in range(len(nodes))]
    for schedule, part in ((p.forward, lines[forward:backward]), (p.backward, lines[backward:])):
        passes = [one for phase in schedule.phases for one in phase.passes]
        assert sum(line.startswith("    pass ") for line in part) == len(passes)
        for kind, counted in (
            ("stores", sum(len({*one.outputs, *one.readable}) for one in passes)),
            ("spills", len(schedule.spilled)),
            ("means", len(schedule.means)),
        ):
            stated = [line for line in part if line.startswith(f"      {kind} ")]
            assert sum(len(re.findall(r"\bv\d+", line)) for line in stated) == counted
    assert sum("saved for backward" in line for line in lines) == len(p.slots)


SHOWN = """
from gatewise import cells
from gatewise.compiler.run.program import compiled
for dtype in ("float32", "float64"):
    compiled(cells.rnn, dtype)
"""


def shown(setting: str) -> str:
    """The output on stderr of a process that compiles an RNN twice."""
    environment = {**os.environ, "GATEWISE_SHOW": setting}
    run = subprocess.run(
        [sys.executable, "-c", SHOWN],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return run.stderr


def test_the_environment_variable_prints_plans() -> None:
    assert shown("plan") == f"{plan(cells.rnn)}\n"
    assert shown("") == ""
    assert "ValueError: GATEWISE_SHOW must be plan. Got 'plans'." in shown("plans")
