"""The forward kernel: a cell over a sequence, with the input product inside.

``run(arguments)`` does it all; ``prepare`` and ``part(arguments, i, n)`` are its two halves, for callers
that bring their own threads.

Arrays, last axis contiguous, time and batch strides given (negative time strides walk backwards):

- ``x [T, B, I]``; ``w_ih [Gx*H, I]``, ``w_hh [Gh*H, H]``, ``b_ih``, ``b_hh`` (or null), vectors ``[H]``
- ``gates [T, B, S*H]`` when kept for backward, else scratch for `chunk` steps: pre-activations, which
  `keep` replaces by what the plan keeps
- for each state s: ``init_s [B, H]``; ``out_s [T, B, H]``, where a time stride of 0 keeps the last step only.
  ``out`` of the first state is the output
- ``watch_v [T, B, H]`` for each watchable value v, or null
- packed sequences ``[N, ...]``, resets and scratch ``entering_s [B, H]``: see `walk`
- scratch: ``panels``, ``bias [S, H rounded up to V]``, ``joined [B, I + H]`` or null

The sums of a slot run over the input, then the state. Where both feed the same slots and there is room to lay
them `joined` side by side, one product does; else the input's is made for a chunk of steps at a time and the
state's goes on from it. The bits are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from llvmlite import ir

from gatewise.compiler import entry, walk
from gatewise.compiler.arguments import Arguments, Fields
from gatewise.compiler.elementwise import Evaluation, Source
from gatewise.compiler.matrix import (
    Columns,
    Elementwise,
    Place,
    Rows,
    Start,
    Then,
    Tiles,
    blocks_of,
    elementwise_function,
    matrix_phase,
)
from gatewise.compiler.packing import pack
from gatewise.compiler.plan import ElementwisePhase, Plan
from gatewise.compiler.product import PRODUCT, product_function
from gatewise.compiler.vector import I64, POINTER, Code, Number, Value, i64, internal_function
from gatewise.language import Cell
from gatewise.language.graph import Node


def arguments(plan: Plan) -> Arguments:
    """The fields of a forward call."""
    cell = plan.cell
    names = [*entry.FIELDS, "T", "B", "I", "H", "chunk", "keep", "watch", "watch.t", "watch.b"]
    names += ["x", "x.t", "x.b", "w_ih", "w_hh", "b_ih", "b_hh", "panels", "bias", "joined"]
    names += ["gates", "gates.t", "gates.b", *walk.FIELDS, *walk.state_fields(cell)]
    names += [f"vector_{name}" for name in cell.vectors]
    names += [f"watch_{name}" for name in cell.values]
    return Arguments(names)


def padded(code: Code, units: Value) -> Value:
    """A number of units rounded up to whole vectors."""
    return code.b.and_(code.b.add(units, i64(code.width - 1)), i64(-code.width))


def write(plan: Plan, number: Number, width: int, registers: int) -> str:
    """The module as LLVM text."""
    tiles = Tiles(f"{plan.cell.name}_forward", number, width, registers)
    _, arithmetic = plan.forward
    slots = len(plan.state_slots)
    write_step = partial(_elementwise, plan, arithmetic)
    cell = elementwise_function(tiles, "cell", slots, write_step, partial(_touched, plan))
    entry.write_entries(tiles, arguments(plan), partial(_pack, plan), partial(_rows, plan, tiles, cell))
    return str(tiles.module)


def _panels(plan: Plan, code: Code, f: Fields) -> tuple[tuple[Value, Value], tuple[Value, Value]]:
    """Of the input's weights and the state's: the first panel, and how far the next one is."""
    b, V = code.b, code.width
    of_x, of_state = (
        b.mul(f["I"], i64(len(plan.input_slots) * V)),
        b.mul(f["H"], i64(len(plan.state_slots) * V)),
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
    pack(code, *of_state, f.pointer("w_hh"), plan.rows_hh, H, H, blocks)
    nothing = ir.Constant(code.mask, [0] * code.width)
    for s, slot in enumerate(plan.slots):
        with code.loop(*blocks, i64(1)) as block:
            u = b.mul(block, i64(code.width))
            mask = code.first(code.smaller(b.sub(H, u), i64(code.width)))
            total = code.constant(0)
            for name, row in (("b_ih", slot.row_ih), ("b_hh", slot.row_hh)):
                if row is not None:
                    there = b.icmp_signed("!=", f[name], i64(0))
                    bias = code.at(f.pointer(name), b.add(b.mul(H, i64(row)), u))
                    total = b.fadd(total, code.load(bias, b.select(there, mask, nothing)))
            code.store(total, code.at(f.pointer("bias"), b.add(b.mul(stride, i64(s)), u)))


def _rows(
    plan: Plan, tiles: Tiles, cell: Elementwise, code: Code, f: Fields, array: Value, work: entry.Work
) -> None:
    """Some rows of the batch through the whole sequence, a chunk of steps at a time."""
    b, H = code.b, f["H"]
    first, last = work.rows
    blocks = work.units.of(code, blocks_of(code, H))
    multiplied, _ = plan.forward
    product = product_function(tiles, len(plan.input_slots), len(plan.slots))
    enter = walk.enter_function(tiles, plan.cell, arguments(plan))
    call, frame = PRODUCT.make(code), walk.step_frame(plan.cell).make(code)
    frame.set(arguments=array)
    of_x, of_state = _panels(plan, code, f)
    joined = b.icmp_signed("!=", f["joined"], i64(0))
    with code.loop(i64(0), f["T"], f["chunk"]) as start:
        chunk = walk.chunk_of(code, f, start, code.smaller(f["chunk"], b.sub(f["T"], start)), work.rows)
        # Gates that are not kept have room for a chunk only.
        kept = b.icmp_signed("!=", f["keep"], i64(0))
        origin = b.select(kept, i64(0), chunk.offset(code, f, "gates"))
        gates = code.at(f.pointer("gates"), b.sub(i64(0), origin))
        call.set(
            a=code.at(f.pointer("x"), chunk.offset(code, f, "x")), a_t=f["x.t"], a_b=f["x.b"],
            out=code.at(gates, chunk.offset(code, f, "gates")), out_t=f["gates.t"], out_b=f["gates.b"],
            steps=chunk.steps, first=chunk.rows[0], last=chunk.rows[1], K=f["I"], N=H,
            first_block=blocks[0], last_block=blocks[1], panels=of_x[0], stride=of_x[1],
            bias=f.pointer("bias"), bias_stride=padded(code, H),
        )  # fmt: skip
        with b.if_then(b.not_(joined)):
            b.call(product, [call.array])
        with code.loop(start, code.smaller(f["T"], b.add(start, f["chunk"])), i64(1)) as t:
            end = code.smaller(last, walk.rows_of(code, f, t))
            anew = walk.enters_anew(code, f, t)
            with b.if_then(anew):
                b.call(enter, [array, t, first, end, *blocks])
                work.meet()
            previous = walk.set_states(frame, code, f, plan.cell, t, anew)
            here = code.at(gates, walk.offset_of(code, f, "gates", t))
            frame.set(gates=here, watch=walk.offset_of(code, f, "watch", t))
            state, stride = previous[multiplied.vector]
            rows = Rows(state, i64(0), stride, i64(1), first, end)
            columns = Columns(of_state[0], of_state[1], H, H, *blocks)
            first_slot = len(plan.slots) - len(plan.state_slots)
            begin = Start(code.at(here, b.mul(H, i64(first_slot))), f["gates.b"], H)
            then = Then(cell, frame.array)
            if not plan.joins:
                matrix_phase(code, tiles, len(plan.state_slots), rows, begin, columns, then, t)
            else:
                with b.if_then(joined):
                    x = Rows(walk.at_step(code, f, "x", t), i64(0), f["x.b"], i64(1), first, end)
                    _join(tiles, code, f, x, rows)
                K = b.add(f["I"], H)
                pick = partial(b.select, joined)
                rows = replace(rows, a=pick(f.pointer("joined"), state), row_stride=pick(K, stride))
                columns = replace(columns, panels=pick(of_x[0], of_state[0]), K=pick(K, H))
                begin = Start(
                    pick(f.pointer("bias"), here), pick(i64(0), f["gates.b"]), pick(padded(code, H), H)
                )
                matrix_phase(code, tiles, len(plan.state_slots), rows, begin, columns, then, t)
            work.meet()


def _join(tiles: Tiles, code: Code, f: Fields, x: Rows, state: Rows) -> None:
    """Lay rows of the input and of the state side by side."""
    join = tiles.module.globals.get("join") or _write_join(tiles)
    b, K = code.b, code.b.add(f["I"], f["H"])
    to = f.pointer("joined")
    for rows, numbers, at in ((x, f["I"], to), (state, f["H"], code.at(to, f["I"]))):
        b.call(join, [at, K, rows.a, rows.row_stride, numbers, rows.first, rows.last])


def _write_join(tiles: Tiles) -> Value:
    function = internal_function(tiles.module, "join", [POINTER, I64, POINTER, *[I64] * 4])
    to, to_stride, rows, stride, numbers, first, last = function.args
    code = Code(function, tiles.number, tiles.width)
    b, V = code.b, code.width
    whole = b.and_(numbers, i64(-V))
    rest = code.first(b.sub(numbers, whole))
    with code.loop(first, last, i64(1)) as row:
        source, target = code.at(rows, b.mul(row, stride)), code.at(to, b.mul(row, to_stride))
        with code.loop(i64(0), whole, i64(V)) as n:
            code.store(code.load(code.at(source, n)), code.at(target, n))
        code.store(code.load(code.at(source, whole), rest), code.at(target, whole), rest)
    b.ret_void()
    return function


def _elementwise(plan: Plan, phase: ElementwisePhase, place: Place) -> None:
    """The cell's arithmetic on the sums of a tile: new states, what is kept, what is watched."""
    code, b, cell = place.code, place.code.b, plan.cell
    step = walk.step_frame(cell).read(code, place.context)
    f = arguments(plan).read(code, step.pointer("arguments"))
    gates = row_of(place, f, step, "gates", "gates.b")

    def slot_at(s: int) -> Value:
        return code.at(gates, b.mul(f["H"], i64(s)))

    def pre_activation(s: int) -> Value:
        slot = plan.slots[s]
        if slot.row_hh is None:
            return code.load(slot_at(s), place.mask)
        return place.sum(s - len(plan.slots) + len(plan.state_slots))

    sources: dict[Node, Source] = {s.leaf: partial(pre_activation, n) for n, s in enumerate(plan.slots)}
    values = Evaluation(code, sources | state_and_vector_sources(plan, place, f, step))
    after = [(state.name, values[node]) for state, node in phase.outputs]
    with b.if_then(b.icmp_signed("!=", f["keep"], i64(0))):
        kept = values.branch()
        for s, stand_in in enumerate(plan.kept):
            if stand_in is not None:
                code.store(kept[stand_in], slot_at(s), place.mask)
    with b.if_then(b.icmp_signed("!=", f["watch"], i64(0))):
        watched = values.branch()
        offset = b.add(step["watch"], b.add(b.mul(place.row, f["watch.b"]), place.unit))
        for name, node in cell.values.items():
            with b.if_then(b.icmp_signed("!=", f[f"watch_{name}"], i64(0))):
                value = watched.branch()[node]
                code.store(value, code.at(f.pointer(f"watch_{name}"), offset), place.mask)
    # Last, when nothing reads the states any more: a state may be kept in the place of the one before.
    for name, value in after:
        code.store(value, row_of(place, f, step, f"next_{name}", f"out_{name}.b"), place.mask)


def _touched(plan: Plan, place: Place) -> Iterator[Value]:
    """Where the arithmetic reads and writes memory."""
    code, b, cell = place.code, place.code.b, plan.cell
    step = walk.step_frame(cell).read(code, place.context)
    f = arguments(plan).read(code, step.pointer("arguments"))
    gates = row_of(place, f, step, "gates", "gates.b")
    yield from (code.at(gates, b.mul(f["H"], i64(s))) for s in range(len(plan.slots)))
    yield from touched_states(cell, place, f, step)


def touched_states(cell: Cell, place: Place, f: Fields, step: Fields) -> Iterator[Value]:
    """Where the states are as they enter and leave a step."""
    for name in cell.states:
        yield row_of(place, f, step, f"next_{name}", f"out_{name}.b")
        yield row_of(place, step, step, f"previous_{name}", f"previous_{name}.b")


def row_of(place: Place, f: Fields, step: Fields, array: str, stride: str) -> Value:
    """The address of this place's units in an array of the step."""
    b = place.code.b
    return place.code.at(step.pointer(array), b.add(b.mul(place.row, f[stride]), place.unit))


def state_and_vector_sources(plan: Plan, place: Place, f: Fields, step: Fields) -> dict[Node, Source]:
    """Where the states as they enter the step, and the learned vectors, are loaded from."""
    code, cell = place.code, plan.cell

    def state(name: str) -> Value:
        return code.load(row_of(place, step, step, f"previous_{name}", f"previous_{name}.b"), place.mask)

    def vector(name: str) -> Value:
        return code.load(code.at(f.pointer(f"vector_{name}"), place.unit), place.mask)

    leaf = cell.graph.leaf
    sources: dict[Node, Source] = {leaf("state", name): partial(state, name) for name in cell.states}
    return sources | {leaf("vector", name): partial(vector, name) for name in cell.vectors}
