"""The backward kernel: the gradient of a cell over a sequence, with the product for ``dx`` inside.

It has the shape of forward, walked from the last step to the first: the derivatives of the slots at step
t+1 times the recurrent weights, then the gradient's arithmetic at step t. The gradients of the weights are
products over all steps and rows, and are left to the caller and its BLAS.

Arrays, last axis contiguous, strides as in forward:

- ``x``-side: ``dx [T, B, I]`` (or null), ``w_ih``, ``w_hh``, vectors as in forward
- ``gates [T, B, S*H]``, ``init_s``, ``out_s [T, B, H]``: as forward left them
- ``derivatives [T, B, (S + vectors) * H]``: written; by the slots, then each row's part of the vectors'
- ``dout [T, B, H]``: the derivative by the output
- ``carry_s [B, H]``: in, the derivative by the final state s; out, by the state s that entered first
- ``dinit_s [B, H]`` (or null): what resets bring is added; the derivative by the initial state is both
- scratch: ``panels_ih``, ``panels_hh``, ``zeros``
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from llvmlite import ir

from gatewise.compiler import entry, walk
from gatewise.compiler.arguments import Arguments, Fields
from gatewise.compiler.elementwise import Evaluation, Source
from gatewise.compiler.forward import row_of, state_and_vector_sources, touched_states
from gatewise.compiler.matrix import (
    Columns,
    Elementwise,
    Place,
    Rows,
    Span,
    Start,
    Then,
    Tiles,
    blocks_of,
    elementwise_function,
    matrix_phase,
)
from gatewise.compiler.packing import pack_transposed
from gatewise.compiler.plan import ElementwisePhase, Plan
from gatewise.compiler.product import PRODUCT, product_function
from gatewise.compiler.vector import POINTER, Code, Number, Value, i64
from gatewise.language.graph import Node


def arguments(plan: Plan) -> Arguments:
    """The fields of a backward call."""
    cell = plan.cell
    names = [*entry.FIELDS, "T", "B", "I", "H", "chunk", "w_ih", "w_hh", "panels_ih", "panels_hh", "zeros"]
    names += ["gates", "gates.t", "gates.b", "derivatives", "derivatives.t", "derivatives.b"]
    names += ["dout", "dout.t", "dout.b", "dx", "dx.t", "dx.b", *walk.FIELDS, *walk.state_fields(cell)]
    names += [f"{array}_{state}" for array in ("carry", "dinit") for state in cell.states]
    names += [f"vector_{name}" for name in cell.vectors]
    return Arguments(names)


def write(plan: Plan, number: Number, width: int, registers: int) -> str:
    """The module as LLVM text."""
    tiles = Tiles(f"{plan.cell.name}_backward", number, width, registers)
    _, arithmetic = plan.backward
    write_step = partial(_elementwise, plan, arithmetic)
    step = elementwise_function(tiles, "gradient", 1, write_step, partial(_touched, plan))
    start = elementwise_function(tiles, "start", 1, partial(_add_to_carry, plan), partial(_touched, plan))
    rows = partial(_rows, plan, tiles, (step, start))
    entry.write_entries(tiles, arguments(plan), partial(_pack, plan), rows)
    return str(tiles.module)


def _pack(plan: Plan, code: Code, f: Fields, share: entry.Share) -> None:
    for name, rows, columns in (("ih", plan.rows_ih, f["I"]), ("hh", plan.rows_hh, f["H"])):
        blocks = share.of(code, blocks_of(code, columns))
        panels, weights = f.pointer(f"panels_{name}"), f.pointer(f"w_{name}")
        pack_transposed(code, panels, weights, rows, f["H"], columns, blocks)


def _rows(
    plan: Plan,
    tiles: Tiles,
    functions: tuple[Elementwise, Elementwise],
    code: Code,
    f: Fields,
    array: Value,
    work: entry.Work,
) -> None:
    """Some rows of the batch back through the sequence, a chunk of steps at a time."""
    b, H, T = code.b, f["H"], f["T"]
    first, last = work.rows
    blocks, input_blocks = (work.units.of(code, blocks_of(code, units)) for units in (H, f["I"]))
    gradient, add_to_carry = functions
    product, enter = product_function(tiles, 1, 1), walk.enter_function(tiles, plan.cell, arguments(plan))
    call, frame = PRODUCT.make(code), walk.step_frame(plan.cell).make(code)
    frame.set(arguments=array)
    from_state = b.mul(H, i64(len(plan.slots) - len(plan.state_slots)))
    K, K_x = (b.mul(H, i64(len(slots))) for slots in (plan.state_slots, plan.input_slots))
    zero = Start(f.pointer("zeros"), i64(0), i64(0))

    def times_weights(t: Value, rows: Span, k: Value, then: Elementwise) -> None:
        """The derivatives of step t by the slots that the state feeds, times the recurrent weights."""
        a = code.at(walk.at_step(code, f, "derivatives", t), from_state)
        there = code.larger(first, rows[0]), code.smaller(last, rows[1])
        with b.if_then(b.icmp_signed("<", *there)):
            some = Rows(a, i64(0), f["derivatives.b"], i64(1), *there)
            columns = Columns(f.pointer("panels_hh"), b.mul(K, i64(code.width)), k, H, *blocks)
            matrix_phase(code, tiles, 1, some, zero, columns, Then(then, frame.array), t)

    with code.loop(i64(0), T, f["chunk"]) as done:
        steps = code.smaller(f["chunk"], b.sub(T, done))
        oldest = b.sub(b.sub(T, done), steps)
        # Beyond the first step, at -1, only the way from its slots to the initial output is left.
        after = b.select(b.icmp_signed("==", oldest, i64(0)), i64(1), i64(0))
        with code.loop(i64(0), b.add(steps, after), i64(1)) as step:
            t = b.sub(b.sub(b.sub(T, i64(1)), done), step)
            later = b.add(t, i64(1))
            here, going_on = walk.rows_of(code, f, t), walk.rows_of(code, f, later)
            anew = walk.enters_anew(code, f, t)
            with b.if_then(anew):
                b.call(enter, [array, t, first, code.smaller(last, here), *blocks])
            walk.set_states(frame, code, f, plan.cell, t, anew)
            frame.set(**{name: walk.at_step(code, f, name, t) for name in ("gates", "derivatives", "dout")})
            # Rows that go on to the later step, then those that end here, then those that only join there.
            both = code.smaller(here, going_on)
            with code.loop(i64(0), i64(2), i64(1)) as ending:
                goes_on = b.icmp_signed("==", ending, i64(0))
                resets = b.select(goes_on, walk.resets_at(code, f, later), ir.Constant(POINTER, None))
                frame.set(later_resets=resets)
                rows = b.select(goes_on, i64(0), both), b.select(goes_on, both, here)
                times_weights(later, rows, b.select(goes_on, K, i64(0)), gradient)
            times_weights(later, (here, going_on), K, add_to_carry)
            work.meet()
        with b.if_then(b.icmp_signed("!=", f["dx"], i64(0))):
            chunk = walk.chunk_of(code, f, oldest, steps, work.rows)
            call.set(
                a=code.at(f.pointer("derivatives"), chunk.offset(code, f, "derivatives")),
                a_t=f["derivatives.t"], a_b=f["derivatives.b"],
                out=code.at(f.pointer("dx"), chunk.offset(code, f, "dx")), out_t=f["dx.t"], out_b=f["dx.b"],
                steps=chunk.steps, first=chunk.rows[0], last=chunk.rows[1],
                K=K_x, N=f["I"],
                first_block=input_blocks[0], last_block=input_blocks[1],
                panels=f.pointer("panels_ih"), stride=b.mul(K_x, i64(code.width)),
                bias=f.pointer("zeros"), bias_stride=i64(0),
            )  # fmt: skip
            b.call(product, [call.array])


def _carry(place: Place, f: Fields, state: str) -> Value:
    """The address of what has been carried back for a state."""
    return _unit_of(place, f, f"carry_{state}")


def _unit_of(place: Place, f: Fields, array: str) -> Value:
    """The address of this place's units in an array ``[B, H]``."""
    b = place.code.b
    return place.code.at(f.pointer(array), b.add(b.mul(place.row, f["H"]), place.unit))


def _add_to_carry(plan: Plan, place: Place) -> None:
    """Before the first step only the sums are left: the way from its slots to the initial output."""
    code = place.code
    step = walk.step_frame(plan.cell).read(code, place.context)
    f = arguments(plan).read(code, step.pointer("arguments"))
    multiplied, _ = plan.backward
    at = _carry(place, f, multiplied.vector)
    code.store(code.b.fadd(code.load(at, place.mask), place.sum(0)), at, place.mask)


def _touched(plan: Plan, place: Place) -> Iterator[Value]:
    """Where the arithmetic reads and writes memory."""
    code, b, cell = place.code, place.code.b, plan.cell
    step = walk.step_frame(cell).read(code, place.context)
    f = arguments(plan).read(code, step.pointer("arguments"))
    for array in ("gates", "derivatives"):
        first = row_of(place, f, step, array, f"{array}.b")
        yield from (code.at(first, b.mul(f["H"], i64(s))) for s in range(len(plan.slots)))
    yield row_of(place, f, step, "dout", "dout.b")
    yield from (_carry(place, f, state) for state in cell.states)
    yield from touched_states(cell, place, f, step)


def _elementwise(plan: Plan, phase: ElementwisePhase, place: Place) -> None:
    """The gradient's arithmetic: derivatives by the slots, by the states, by the vectors."""
    code, b, cell = place.code, place.code.b, plan.cell
    step = walk.step_frame(cell).read(code, place.context)
    f = arguments(plan).read(code, step.pointer("arguments"))
    gates = row_of(place, f, step, "gates", "gates.b")
    derivatives = row_of(place, f, step, "derivatives", "derivatives.b")

    cut = walk.is_reset(code, f, step.pointer("later_resets"), place.row)

    def by_next(state: str) -> Value:
        carried = code.load(_carry(place, f, state), place.mask)
        if state != cell.states[0]:
            return from_later(state, carried)
        by_output = code.load(row_of(place, f, step, "dout", "dout.b"), place.mask)
        return b.fadd(by_output, from_later(state, b.fadd(carried, place.sum(0))))

    def from_later(state: str, value: Value) -> Value:
        """What comes from the later step: to the initial state, if the row was reset there."""
        with b.if_then(b.and_(cut, b.icmp_signed("!=", f[f"dinit_{state}"], i64(0)))):
            at = _unit_of(place, f, f"dinit_{state}")
            code.store(b.fadd(code.load(at, place.mask), value), at, place.mask)
        return b.select(cut, code.constant(0), value)

    def next_value(state: str) -> Value:
        return code.load(row_of(place, f, step, f"next_{state}", f"out_{state}.b"), place.mask)

    def kept(s: int) -> Value:
        return code.load(code.at(gates, b.mul(f["H"], i64(s))), place.mask)

    sources: dict[Node, Source] = {
        node: partial(next_value, state) for state, node in zip(cell.states, cell.next_states, strict=True)
    }
    sources |= {node: partial(kept, s) for s, node in enumerate(plan.kept) if node is not None}
    sources |= {seed: partial(by_next, seed.name) for seed in plan.seeds}
    values = Evaluation(code, sources | state_and_vector_sources(plan, place, f, step))

    outputs = dict(phase.outputs)

    def derivative(leaf: Node) -> Value:
        return values[outputs[leaf]] if leaf in outputs else code.constant(0)

    leaf = cell.graph.leaf
    rows = [slot.leaf for slot in plan.slots] + [leaf("vector", name) for name in cell.vectors]
    by_rows = [derivative(node) for node in rows]
    by_states = [derivative(leaf("state", name)) for name in cell.states]
    for s, value in enumerate(by_rows):
        code.store(value, code.at(derivatives, b.mul(f["H"], i64(s))), place.mask)
    for state, value in zip(cell.states, by_states, strict=True):
        code.store(value, _carry(place, f, state), place.mask)
