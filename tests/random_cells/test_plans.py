"""The plan of a random cell: every pass finds what it reads, and no condition is stored as a number."""

from __future__ import annotations

from hypothesis import given

from gatewise.compiler.plan.plan import plan
from gatewise.compiler.plan.schedule import START
from gatewise.language.graph import COMPARISONS
from tests.compiler.test_schedule import known_to
from tests.random_cells.drawing import Drawn, drawn_cells
from tests.random_cells.test_random_cells import drawn


@drawn(200, 400)
@given(drawn_cells())
def test_every_pass_of_a_random_cell_finds_what_it_reads(cell: Drawn) -> None:
    p = plan(cell.cell())
    known_to(p.forward, {slot.leaf: START for slot in p.state_slots}, set())
    lost = {slot.leaf for slot, kept in zip(p.slots, p.kept, strict=True) if kept is not slot.leaf}
    found = {*p.cell.next_states, *(node for node in p.kept if node is not None), *p.forward.means}
    known_to(p.backward, p.seeds, found | ({*p.columns} - lost), lost)
    passes = [one for of in (p.forward, p.backward) for phase in of.phases for one in phase.passes]
    assert not {node.op for one in passes for node in (*one.readable, *one.spills)} & COMPARISONS
