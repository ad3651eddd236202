"""The forward kernel: a cell over a sequence, with the input product inside.

``run(arguments)`` does it all; ``prepare`` and ``part(arguments, i, n)`` are its two halves, for callers
that bring their own threads.

Arrays, last axis contiguous, time and batch strides given (negative time strides walk backwards):

- ``x [T, B, I]``; ``w_ih [Gx*H, I]``, ``w_hh [Gh*H, P]``, ``b_ih``, ``b_hh`` (or null), vectors ``[H]``;
  ``w_linear [N*H, H]``, ``b_linear`` (or null), ``w_hr [P, H]``; P is H where nothing is projected
- ``gates [T, B, plan.gates * H]`` when kept for backward, else scratch for `chunk` steps: pre-activations,
  which `keep` replaces by what the plan keeps; ``means [T, B, plan's means]``, kept or scratch for a step
- for each state s: ``init_s [B, H]``; ``out_s [T, B, H]``, where a time stride of 0 keeps the last step only.
  The first state is the output, ``[.., P]``
- with `every`, ``passed_s [., B, H]`` (the first ``[., B, P]``): the states that follow each so many steps
- ``watch_v [T, B, H]`` for each watchable value v, or null
- packed sequences ``[N, ...]``, resets and scratch ``entering_s [B, H]``: see `walk`; x and what is watched
  may lie outside, and then the output is also written to ``shown [T, B, P]`` (else null)
- ``seed``, and the number of the `first_step`, for what is left to chance
- scratch: ``panels``, ``panels_linear``, ``panels_project``, ``bias [S + N + 1, H rounded up to V]``,
  ``spills [B, .]``, ``seen [B, P]``, ``joined [B, I + P]`` or null, ``inputs [chunk, B, I]`` of x outside

The sums of a slot run over the input, then the state. Where both feed the same slots and there is room to lay
them `joined` side by side, one product does; else the input's is made for a chunk of steps at a time and the
state's goes on from it. The bits are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from llvmlite import ir

from gatewise.compiler.emit import entry, walk
from gatewise.compiler.emit.arguments import Arguments, Fields
from gatewise.compiler.emit.elementwise import Evaluation, Source
from gatewise.compiler.emit.matrix import (
    Columns,
    Place,
    Rows,
    Span,
    Start,
    Then,
    Tiles,
    blocks_of,
    matrix_phase,
    padded,
)
from gatewise.compiler.emit.packing import copy_rows, pack
from gatewise.compiler.emit.product import PRODUCT, product_function
from gatewise.compiler.emit.rows import row_function
from gatewise.compiler.emit.step import (
    PhaseFunctions,
    broadcast,
    frame_and_fields,
    phase_functions,
    row_of,
    row_outside,
    spill,
    spilled_sources,
    state_and_vector_sources,
    strikes_at,
    touched_states,
)
from gatewise.compiler.emit.vector import Code, Number, Value, i64
from gatewise.compiler.plan.plan import Plan
from gatewise.compiler.plan.schedule import START, Pass, Phase
from gatewise.language.graph import Node


def arguments(plan: Plan) -> Arguments:
    """The fields of a forward call."""
    cell = plan.cell
    names = [*entry.FIELDS, "T", "B", "I", "H", "P", "chunk", "keep", "watch", "watch.t", "watch.b"]
    names += ["x", "x.t", "x.b", "inputs", "shown", "shown.t", "shown.b"]
    names += ["w_ih", "w_hh", "b_ih", "b_hh", "w_linear", "b_linear", "w_hr"]
    names += ["panels", "panels_linear", "panels_project", "bias", "spills", "seen", "joined"]
    names += [f"{array}{stride}" for array in ("gates", "means") for stride in ("", ".t", ".b")]
    names += ["seed", "first_step", *walk.FIELDS, *walk.state_fields(cell)]
    names += ["every", *(f"passed_{state}" for state in cell.states)]
    names += [f"vector_{name}" for name in cell.vectors]
    names += [f"watch_{name}" for name in cell.values]
    return Arguments(names)


def write(plan: Plan, number: Number, width: int, registers: int) -> str:
    """The module as LLVM text."""
    tiles = Tiles(f"{plan.cell.name}_forward", number, width, registers)
    functions = []
    for phase in plan.forward.phases:
        slots = len(plan.products_at(phase.passes[0].level))
        parts = partial(_write_pass, plan), partial(_touched, plan), partial(_store_mean, plan)
        functions.append(phase_functions(tiles, phase, slots, *parts, "cell"))
    entry.write_entries(tiles, arguments(plan), partial(_pack, plan), partial(_rows, plan, tiles, functions))
    return str(tiles.module)


def _panels(plan: Plan, code: Code, f: Fields) -> tuple[tuple[Value, Value], tuple[Value, Value]]:
    """Of the input's weights and the state's: the first panel, and how far the next one is."""
    b, V = code.b, code.width
    of_x, of_state = (
        b.mul(f["I"], i64(len(plan.input_slots) * V)),
        b.mul(f["P"], i64(len(plan.state_slots) * V)),
    )
    whole = b.add(of_x, of_state)
    panels = f.pointer("panels")
    return (panels, whole), (code.at(panels, of_x), whole)


def _pack(plan: Plan, code: Code, f: Fields, share: entry.Share) -> None:
    """Pack the weights of some units; add up the biases of each slot."""
    b, H, stride = code.b, f["H"], padded(code, f["H"])
    blocks = share.of(code, blocks_of(code, H))
    of_x, of_state = _panels(plan, code, f)
    pack(code, *of_x, f.pointer("w_ih"), plan.rows_ih, f["I"], H, blocks)
    pack(code, *of_state, f.pointer("w_hh"), plan.rows_hh, f["P"], H, blocks)
    for phase in plan.forward.phases[1:]:
        panels, of, shape = _product(plan, code, f, phase)
        some = share.of(code, blocks_of(code, shape.units))
        pack(code, *panels, f.pointer(of), shape.rows, H, shape.units, some)
    rows: list[dict[str, int | None]] = [{"b_ih": s.row_ih, "b_hh": s.row_hh} for s in plan.slots]
    rows += [{"b_linear": int(node.name)} for node in _linears(plan)]
    nothing = ir.Constant(code.mask, [0] * code.width)
    for s, biases in enumerate([*rows, {}]):  # the last one stays zero: what a projection starts from
        with code.loop(*blocks, i64(1)) as block:
            u = b.mul(block, i64(code.width))
            mask = code.first(code.smaller(b.sub(H, u), i64(code.width)))
            total = code.constant(0)
            for name, row in biases.items():
                if row is not None:
                    there = b.icmp_signed("!=", f[name], i64(0))
                    bias = code.at(f.pointer(name), b.add(b.mul(H, i64(row)), u))
                    total = b.fadd(total, code.load(bias, b.select(there, mask, nothing)))
            code.store(total, code.at(f.pointer("bias"), b.add(b.mul(stride, i64(s)), u)))


class _Shape(NamedTuple):
    """Of the weights of a product in the middle of a step: blocks of rows, units, the row of its bias."""

    rows: list[int]
    units: Value
    bias: int


def _linears(plan: Plan) -> list[Node]:
    """The products `linear` in the order in which they are made."""
    return [node for node in plan.forward.products if node.op == "linear"]


def _product(plan: Plan, code: Code, f: Fields, phase: Phase) -> tuple[tuple[Value, Value], str, _Shape]:
    """The first panel of a later phase and how far the next one is, the field of its weights, their shape."""
    b, H, count = code.b, f["H"], len(phase.products)
    stride = b.mul(H, i64(count * code.width))
    if phase.products[0].op == "project":
        shape = _Shape([0], f["P"], len(plan.slots) + len(_linears(plan)))
        return (f.pointer("panels_project"), stride), "w_hr", shape
    place = _linears(plan).index(phase.products[0])
    before = b.mul(b.mul(padded(code, H), H), i64(place))
    shape = _Shape([int(node.name) for node in phase.products], H, len(plan.slots) + place)
    return (code.at(f.pointer("panels_linear"), before), stride), "w_linear", shape


def _rows(
    plan: Plan,
    tiles: Tiles,
    functions: list[PhaseFunctions],
    code: Code,
    f: Fields,
    array: Value,
    work: entry.Work,
) -> None:
    """Some rows of the batch through the whole sequence, a chunk of steps at a time."""
    b, H, cell = code.b, f["H"], plan.cell
    first, last = work.rows
    blocks = work.units.of(code, blocks_of(code, H))
    product = product_function(tiles, len(plan.input_slots), len(plan.slots))
    enter = walk.enter_function(tiles, cell, arguments(plan))
    see = _see_function(plan, tiles)
    call, frame = PRODUCT.make(code), walk.step_frame(cell).make(code)
    frame.set(arguments=array)
    of_x, of_state = _panels(plan, code, f)
    joined = b.icmp_signed("!=", f["joined"], i64(0))
    with code.loop(i64(0), f["T"], f["chunk"]) as start:
        chunk = walk.chunk_of(code, f, start, code.smaller(f["chunk"], b.sub(f["T"], start)), work.rows)
        # Gates that are not kept have room for a chunk only.
        kept = b.icmp_signed("!=", f["keep"], i64(0))
        origin = b.select(kept, i64(0), chunk.offset(code, f, "gates"))
        gates = code.at(f.pointer("gates"), b.sub(i64(0), origin))
        apart = b.not_(joined)
        with b.if_then(apart):
            work.wait(code.smaller(f["T"], b.add(start, f["chunk"])))
        gathers = b.and_(apart, walk.is_padded(code, f))
        with b.if_then(gathers):
            _gather(code, f, start, chunk, work.units)
            work.meet()
        x = code.at(f.pointer("x"), chunk.offset(code, f, "x"))
        call.set(
            a=b.select(gathers, f.pointer("inputs"), x), a_t=f["x.t"],
            a_b=b.select(gathers, f["I"], f["x.b"]),
            out=code.at(gates, chunk.offset(code, f, "gates")), out_t=f["gates.t"], out_b=f["gates.b"],
            steps=chunk.steps, first=chunk.rows[0], last=chunk.rows[1], K=f["I"], N=H,
            first_block=blocks[0], last_block=blocks[1], panels=of_x[0], stride=of_x[1],
            bias=f.pointer("bias"), bias_stride=padded(code, H),
        )  # fmt: skip
        with b.if_then(apart):
            b.call(product, [call.array])
        with code.loop(start, code.smaller(f["T"], b.add(start, f["chunk"])), i64(1)) as t:
            end = code.smaller(last, walk.rows_of(code, f, t))
            anew = walk.enters_anew(code, f, t)
            with b.if_then(anew):
                b.call(enter, [array, t, first, end, *blocks])
                work.meet()
            previous = walk.set_states(frame, code, f, cell, t, anew)
            here = code.at(gates, walk.offset_of(code, f, "gates", t))
            frame.set(
                gates=here,
                means=walk.at_step(code, f, "means", t),
                watch=walk.offset_outside(code, f, "watch", t),
                shown=walk.at_step_outside(code, f, "shown", t),
                step=b.add(f["first_step"], t),
            )
            state, stride = previous[cell.states[0]]
            if see is not None:
                b.call(see, [frame.array, first, end, f["P"]])
                state, stride = f.pointer("seen"), f["P"]
            rows = Rows(state, i64(0), stride, i64(1), first, end)
            columns = Columns(*of_state, f["P"], H, *blocks)
            first_slot = len(plan.slots) - len(plan.state_slots)
            begin = Start(code.at(here, b.mul(H, i64(first_slot))), f["gates.b"], H)
            if plan.joins:
                with b.if_then(joined):
                    work.wait(b.add(t, i64(1)))
                    x = Rows(walk.at_step_outside(code, f, "x", t), i64(0), f["x.b"], i64(1), first, end)
                    _join(code, f, x, rows)
                K, pick = b.add(f["I"], f["P"]), partial(b.select, joined)
                rows = replace(rows, a=pick(f.pointer("joined"), state), row_stride=pick(K, stride))
                columns = replace(columns, panels=pick(of_x[0], of_state[0]), K=pick(K, f["P"]))
                begin = Start(
                    pick(f.pointer("bias"), here), pick(i64(0), f["gates.b"]), pick(padded(code, H), H)
                )
            then = Then(functions[0].tile, frame.array)
            matrix_phase(code, tiles, len(plan.state_slots), rows, begin, columns, then, t)
            for phase, (tile, later) in zip(plan.forward.phases, functions, strict=True):
                if phase.products:
                    vector = plan.columns[phase.products[0].args[0]]
                    a = code.at(here, b.mul(H, i64(vector)))
                    panels, _, shape = _product(plan, code, f, phase)
                    bias = code.at(f.pointer("bias"), b.mul(padded(code, H), i64(shape.bias)))
                    matrix_phase(
                        code, tiles, len(phase.products),
                        Rows(a, i64(0), f["gates.b"], i64(1), first, end),
                        Start(bias, i64(0), padded(code, H)),
                        Columns(*panels, H, shape.units, i64(0), blocks_of(code, shape.units)),
                        Then(tile, frame.array), t,
                    )  # fmt: skip
                if later is not None:
                    b.call(later, [frame.array, first, end, H])
            # 0 stands for more steps than there are.
            every = b.select(b.icmp_signed("!=", f["every"], i64(0)), f["every"], b.add(f["T"], i64(1)))
            with b.if_then(b.icmp_signed("==", b.srem(b.add(t, i64(1)), every), i64(0))):
                _keep_states(plan, code, f, t, (first, end), blocks)
            work.meet()
            work.tell(b.add(t, i64(1)))


def _join(code: Code, f: Fields, x: Rows, state: Rows) -> None:
    """Lay rows of the input and of the state side by side."""
    to, K = f.pointer("joined"), code.b.add(f["I"], f["P"])
    copy_rows(code, to, K, x, f["I"], rows_by=f.pointer("rows"))
    copy_rows(code, code.at(to, f["I"]), K, state, f["P"])


def _gather(code: Code, f: Fields, start: Value, chunk: walk.Chunk, share: entry.Share) -> None:
    """Lay the inputs of a chunk of steps together that lie outside: each thread those of some steps."""
    b = code.b
    end = code.smaller(f["T"], b.add(start, f["chunk"]))
    first, last = share.of(code, b.sub(end, start))
    with code.loop(b.add(start, first), b.add(start, last), i64(1)) as t:
        place = b.sub(walk.start_of(code, f, t), chunk.place)
        x = walk.at_step_outside(code, f, "x", t)
        rows = Rows(x, i64(0), f["x.b"], i64(1), i64(0), walk.rows_of(code, f, t))
        to = code.at(f.pointer("inputs"), b.mul(place, f["I"]))
        copy_rows(code, to, f["I"], rows, f["I"], rows_by=f.pointer("rows"))


def _keep_states(plan: Plan, code: Code, f: Fields, t: Value, rows: Span, blocks: Span) -> None:
    """Copy some units of the states after step t to where they are kept."""
    b, V = code.b, i64(code.width)
    place = b.sub(b.sdiv(b.add(t, i64(1)), f["every"]), i64(1))
    unit = b.mul(blocks[0], V)
    for state in plan.cell.states:
        width = walk.width_of(f, plan.cell, state)
        units = b.sub(code.smaller(b.mul(blocks[1], V), width), unit)
        source = code.at(walk.at_step(code, f, f"out_{state}", t), unit)
        to = b.add(b.mul(b.mul(place, f["B"]), width), unit)
        some = Rows(source, i64(0), f[f"out_{state}.b"], i64(1), *rows)
        copy_rows(code, code.at(f.pointer(f"passed_{state}"), to), width, some, units)


def _see_function(plan: Plan, tiles: Tiles) -> Value | None:
    """What the gates see of the state, row by row; None where that is the state itself."""
    if plan.cell.seen.op == "state":
        return None

    def write(one: Pass, place: Place) -> list[list[Value]]:
        step, f = _frame_and_fields(plan, place)
        value = _evaluation(plan, one, place, step, f)[plan.cell.seen]
        at = place.code.b.add(place.code.b.mul(place.row, f["P"]), place.unit)
        place.code.store(value, place.code.at(f.pointer("seen"), at), place.mask)
        return []

    return row_function(tiles, "see", [Pass(START)], write, partial(_store_mean, plan))


def _frame_and_fields(plan: Plan, place: Place) -> tuple[Fields, Fields]:
    return frame_and_fields(plan, arguments(plan), place)


def _evaluation(plan: Plan, one: Pass, place: Place, step: Fields, f: Fields) -> Evaluation:
    """The terms of a pass: what comes with its product, what is in memory, and the rest computed."""
    code, b = place.code, place.code.b
    gates = row_of(place, f, step, "gates", "gates.b")
    products = plan.products_at(one.level)

    def column(n: int) -> Value:
        return code.load(code.at(gates, b.mul(f["H"], i64(n))), place.mask)

    sources: dict[Node, Source] = {
        node: partial(column, n)
        for node, n in plan.columns.items()
        if node not in plan.stored or plan.stored[node] < one.level
    }
    sources |= {node: partial(place.sum, n) for n, node in enumerate(products)}
    sources |= spilled_sources(plan.forward, one, place, f)
    for n, mean in enumerate(plan.forward.means):
        at = b.add(b.mul(place.row, f["means.b"]), i64(n))
        sources[mean] = partial(broadcast, code, step.pointer("means"), at)
    strikes = partial(strikes_at, place, step, f)
    return Evaluation(code, sources | state_and_vector_sources(plan, place, f, step), strikes)


def _store_mean(plan: Plan, place: Place, mean: Node, value: Value) -> None:
    step, f = _frame_and_fields(plan, place)
    b = place.code.b
    at = b.add(b.mul(place.row, f["means.b"]), i64(plan.forward.means.index(mean)))
    b.store(value, place.code.at(step.pointer("means"), at))


def _write_pass(plan: Plan, one: Pass, place: Place) -> list[list[Value]]:
    """A pass over some units; gives for each of its means the values of the arguments there."""
    code, b, cell = place.code, place.code.b, plan.cell
    step, f = _frame_and_fields(plan, place)
    values = _evaluation(plan, one, place, step, f)
    gates = row_of(place, f, step, "gates", "gates.b")
    after = [
        (state, values[node])
        for state, node in zip(cell.states, cell.next_states, strict=True)
        if node in one.outputs
    ]
    for node in one.readable:
        code.store(values[node], code.at(gates, b.mul(f["H"], i64(plan.columns[node]))), place.mask)
    for node in one.spills:
        code.store(values[node], spill(plan.forward, node, place, f), place.mask)
    added = [[values[arg] for arg in mean.args] for mean in one.means]
    if plan.forward.is_single:
        with b.if_then(b.icmp_signed("!=", f["keep"], i64(0))):
            kept = values.branch()
            for s, stand_in in enumerate(plan.kept):
                if stand_in is not None:
                    code.store(kept[stand_in], code.at(gates, b.mul(f["H"], i64(s))), place.mask)
    if one.level == plan.forward.last:
        with b.if_then(b.icmp_signed("!=", f["watch"], i64(0))):
            watched = values.branch()
            row = walk.row_outside(code, f, place.row)
            offset = b.add(step["watch"], b.add(b.mul(row, f["watch.b"]), place.unit))
            for name, node in cell.values.items():
                if node.op != "project":
                    with b.if_then(b.icmp_signed("!=", f[f"watch_{name}"], i64(0))):
                        value = watched.branch()[node]
                        code.store(value, code.at(f.pointer(f"watch_{name}"), offset), place.mask)
    # Last, when nothing reads the states any more: a state may be kept in the place of the one before.
    for name, value in after:
        code.store(value, row_of(place, f, step, f"next_{name}", f"out_{name}.b"), place.mask)
        if name == cell.states[0]:
            with b.if_then(b.icmp_signed("!=", f["shown"], i64(0))):
                code.store(value, row_outside(place, f, step, "shown", "shown.b"), place.mask)
    return added


def _touched(plan: Plan, place: Place) -> Iterator[Value]:
    """Where the arithmetic reads and writes memory."""
    code, b, cell = place.code, place.code.b, plan.cell
    step, f = _frame_and_fields(plan, place)
    gates = row_of(place, f, step, "gates", "gates.b")
    yield from (code.at(gates, b.mul(f["H"], i64(n))) for n in range(plan.gates))
    yield from touched_states(cell, place, f, step)
