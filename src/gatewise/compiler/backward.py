"""The backward kernel: the gradient of a cell over a sequence, with the product for ``dx`` inside.

It has the shape of forward, walked from the last step to the first: the derivatives of the slots at step
t+1 times the recurrent weights, then the gradient's arithmetic at step t. The gradients of the weights are
products over all steps and rows, and are left to the caller and its BLAS.

Arrays, last axis contiguous, strides as in forward:

- ``x``-side: ``dx [T, B, I]`` (or null), ``w_ih``, ``w_hh``, vectors as in forward
- ``gates [T, B, S*H]``, ``init_s``, ``out_s [T, B, H]``: as forward left them
- ``derivatives [T, B, (S + vectors) * H]``: written; by the slots, then each row's part of the vectors'
- ``dout [T, B, H]``: the derivative by the output
- ``carry_s [B, H]``: in, the derivative by the final state s; out, by the initial state s
- scratch: ``panels_ih``, ``panels_hh``, ``zeros``
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from gatewise.compiler import entry
from gatewise.compiler.arguments import Arguments, Fields
from gatewise.compiler.elementwise import Evaluation, Source
from gatewise.compiler.forward import (
    at_step,
    row_of,
    set_step,
    state_and_vector_sources,
    state_fields,
    step_frame,
    touched_states,
)
from gatewise.compiler.matrix import (
    Columns,
    Elementwise,
    Place,
    Rows,
    Then,
    Tiles,
    blocks_of,
    elementwise_function,
    matrix_phase,
)
from gatewise.compiler.packing import pack_transposed
from gatewise.compiler.plan import ElementwisePhase, Plan
from gatewise.compiler.product import PRODUCT, product_function
from gatewise.compiler.vector import Code, Number, Value, i64
from gatewise.language.graph import Node


def arguments(plan: Plan) -> Arguments:
    """The fields of a backward call."""
    cell = plan.cell
    names = [*entry.FIELDS, "T", "B", "I", "H", "chunk", "w_ih", "w_hh", "panels_ih", "panels_hh", "zeros"]
    names += ["gates", "gates.t", "gates.b", "derivatives", "derivatives.t", "derivatives.b"]
    names += ["dout", "dout.t", "dout.b", "dx", "dx.t", "dx.b", *state_fields(cell)]
    names += [f"carry_{state}" for state in cell.states]
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
    first_block, last_block = work.units.of(code, blocks_of(code, H))
    first_input, last_input = work.units.of(code, blocks_of(code, f["I"]))
    gradient, add_to_carry = functions
    product = product_function(tiles, 1)
    call, frame = PRODUCT.make(code), step_frame(plan.cell).make(code)
    frame.set(arguments=array)
    from_state = b.mul(H, i64(len(plan.slots) - len(plan.state_slots)))
    K = b.mul(H, i64(len(plan.state_slots)))

    def times_weights(t: Value, k: Value, then: Elementwise) -> None:
        """The derivatives of step t by the slots that the state feeds, times the recurrent weights."""
        a = code.at(at_step(code, f, "derivatives", t), from_state)
        rows = Rows(a, i64(0), f["derivatives.b"], i64(1), first, last)
        columns = Columns(f.pointer("panels_hh"), k, H, first_block, last_block)
        matrix_phase(code, tiles, 1, rows, columns, Then(then, frame.array), t)

    with code.loop(i64(0), T, f["chunk"]) as done:
        steps = code.smaller(f["chunk"], b.sub(T, done))
        oldest = b.sub(b.sub(T, done), steps)
        with code.loop(i64(0), steps, i64(1)) as step:
            t = b.sub(b.sub(b.sub(T, i64(1)), done), step)
            set_step(frame, code, f, plan.cell, t)
            frame.set(gates=at_step(code, f, "gates", t), derivatives=at_step(code, f, "derivatives", t))
            is_last = b.icmp_signed("==", b.add(t, i64(1)), T)
            times_weights(b.add(t, i64(1)), b.select(is_last, i64(0), K), gradient)
            work.meet()
        with b.if_then(b.icmp_signed("!=", f["dx"], i64(0))):
            call.set(
                a=at_step(code, f, "derivatives", oldest), a_t=f["derivatives.t"], a_b=f["derivatives.b"],
                out=at_step(code, f, "dx", oldest), out_t=f["dx.t"], out_b=f["dx.b"],
                steps=steps, first=first, last=last, K=b.mul(H, i64(len(plan.input_slots))), N=f["I"],
                first_block=first_input, last_block=last_input,
                panels=f.pointer("panels_ih"), bias=f.pointer("zeros"),
                bias_stride=i64(0),
            )  # fmt: skip
            b.call(product, [call.array])
    times_weights(i64(0), K, add_to_carry)


def _carry(place: Place, f: Fields, state: str) -> Value:
    """The address of what has been carried back for a state."""
    b = place.code.b
    return place.code.at(f.pointer(f"carry_{state}"), b.add(b.mul(place.row, f["H"]), place.unit))


def _add_to_carry(plan: Plan, place: Place) -> None:
    """Before the first step only the sums are left: the way from its slots to the initial output."""
    code = place.code
    step = step_frame(plan.cell).read(code, place.context)
    f = arguments(plan).read(code, step.pointer("arguments"))
    multiplied, _ = plan.backward
    at = _carry(place, f, multiplied.vector)
    code.store(code.b.fadd(code.load(at, place.mask), place.sum(0)), at, place.mask)


def _touched(plan: Plan, place: Place) -> Iterator[Value]:
    """Where the arithmetic reads and writes memory."""
    code, b, cell = place.code, place.code.b, plan.cell
    step = step_frame(cell).read(code, place.context)
    f = arguments(plan).read(code, step.pointer("arguments"))
    for array in ("gates", "derivatives"):
        first = row_of(place, f, step, array, f"{array}.b")
        yield from (code.at(first, b.mul(f["H"], i64(s))) for s in range(len(plan.slots)))
    yield _output_derivative(place, f, step)
    yield from (_carry(place, f, state) for state in cell.states)
    yield from touched_states(cell, place, f, step)


def _output_derivative(place: Place, f: Fields, step: Fields) -> Value:
    """The address of the derivative by the output."""
    code, b = place.code, place.code.b
    at = at_step(code, f, "dout", step["t"])
    return code.at(at, b.add(b.mul(place.row, f["dout.b"]), place.unit))


def _elementwise(plan: Plan, phase: ElementwisePhase, place: Place) -> None:
    """The gradient's arithmetic: derivatives by the slots, by the states, by the vectors."""
    code, b, cell = place.code, place.code.b, plan.cell
    step = step_frame(cell).read(code, place.context)
    f = arguments(plan).read(code, step.pointer("arguments"))
    gates = row_of(place, f, step, "gates", "gates.b")
    derivatives = row_of(place, f, step, "derivatives", "derivatives.b")

    def by_next(state: str) -> Value:
        carried = code.load(_carry(place, f, state), place.mask)
        if state != cell.states[0]:
            return carried
        by_output = code.load(_output_derivative(place, f, step), place.mask)
        return b.fadd(b.fadd(by_output, carried), place.sum(0))

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
