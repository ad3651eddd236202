"""The backward kernel: the gradient of a cell over a sequence, with the product for ``dx`` inside.

It has the shape of forward, walked from the last step to the first: the derivatives of the slots at step
t+1 times the recurrent weights, then the gradient's arithmetic at step t. The gradients of the weights are
products over all steps and rows, and are left to the caller.

Arrays, last axis contiguous, strides as in forward:

- ``x``-side: ``dx [T, B, I]`` (or null), weights and vectors as in forward, ``seed``, ``first_step``
- ``gates [T, B, plan.gates * H]``, ``means [T, B, .]``, ``init_s``, ``out_s``: as forward left them
- ``derivatives [T, B, plan.derivatives * H]``: written, by the slots, then by the products `linear`
- ``projected [T, B, P]``: written, the derivative by a projected output
- ``by_vectors [B, . * H]``: each row's part of the derivatives by the vectors is added, as the plan has them
- ``dout [T, B, P]``: the derivative by the output; of packed sequences it and dx may lie outside (see `walk`)
- ``carry_s [B, H]``: in, the derivative by the final state s; out, by the state s that entered first
- ``danew_s [B, H]`` (or null), to which derivatives by what reset rows begin from are added
- scratch: ``panels_ih``, ``panels_hh``, ``panels_linear``, ``panels_project``, ``zeros``, ``spills [B, .]``,
  ``own_means [B, .]``, ``by_inputs [chunk, B, I]`` for dx outside
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from gatewise.compiler.emit import entry, walk
from gatewise.compiler.emit.arguments import Arguments, Fields
from gatewise.compiler.emit.elementwise import Evaluation, Source
from gatewise.compiler.emit.matrix import (
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
    padded,
)
from gatewise.compiler.emit.packing import copy_rows, pack_transposed
from gatewise.compiler.emit.product import PRODUCT, product_function
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
from gatewise.compiler.plan.plan import SEEN, Plan
from gatewise.compiler.plan.schedule import START, Pass, Phase
from gatewise.language.graph import Node


def arguments(plan: Plan) -> Arguments:
    """The fields of a backward call."""
    cell = plan.cell
    names = [*entry.FIELDS, "T", "B", "I", "H", "P", "chunk", "w_ih", "w_hh", "w_linear", "w_hr"]
    names += ["panels_ih", "panels_hh", "panels_linear", "panels_project", "zeros", "spills", "own_means"]
    names += ["by_inputs"]
    sequences = ("gates", "means", "derivatives", "projected", "dout", "dx")
    names += [f"{array}{stride}" for array in sequences for stride in ("", ".t", ".b")]
    names += ["seed", "first_step", "by_vectors", *walk.FIELDS, *walk.state_fields(cell)]
    names += [f"{array}_{state}" for array in ("carry", "danew") for state in cell.states]
    names += [f"vector_{name}" for name in cell.vectors]
    return Arguments(names)


def write(plan: Plan, number: Number, width: int, registers: int) -> str:
    """The module as LLVM text."""
    tiles = Tiles(f"{plan.cell.name}_backward", number, width, registers)
    functions = [_phase_functions(plan, tiles, phase) for phase in plan.backward.phases]
    start = elementwise_function(tiles, "start", 1, partial(_add_to_carry, plan), partial(_touched, plan))
    rows = partial(_rows, plan, tiles, functions, start)
    entry.write_entries(tiles, arguments(plan), partial(_pack, plan), rows)
    return str(tiles.module)


def _phase_functions(plan: Plan, tiles: Tiles, phase: Phase) -> PhaseFunctions:
    def pass_of(one: Pass, place: Place) -> list[list[Value]]:
        return _write_pass(plan, one, place)

    return phase_functions(
        tiles, phase, 1, pass_of, partial(_touched, plan), partial(_store_mean, plan), "gradient"
    )


def _pack(plan: Plan, code: Code, f: Fields, share: entry.Share) -> None:
    for name, rows, height, columns in (
        ("ih", plan.rows_ih, f["H"], f["I"]),
        ("hh", plan.rows_hh, f["H"], f["P"]),
    ):
        blocks = share.of(code, blocks_of(code, columns))
        panels, weights = f.pointer(f"panels_{name}"), f.pointer(f"w_{name}")
        pack_transposed(code, panels, weights, rows, height, columns, blocks)
    blocks = share.of(code, blocks_of(code, f["H"]))
    for product in plan.backward.products:
        panels, weights, row, K = _product(code, f, product)
        pack_transposed(code, panels, weights, [row], K, f["H"], blocks)


def _product(code: Code, f: Fields, product: Node) -> tuple[Value, Value, int, Value]:
    """Of a product with a transposed matrix: its panels, its weights and their block of rows, its length."""
    if product.op == "project_back":
        return f.pointer("panels_project"), f.pointer("w_hr"), 0, f["P"]
    b, row = code.b, int(product.name)
    before = b.mul(b.mul(padded(code, f["H"]), f["H"]), i64(row))
    return code.at(f.pointer("panels_linear"), before), f.pointer("w_linear"), row, f["H"]


def _rows(
    plan: Plan,
    tiles: Tiles,
    functions: list[PhaseFunctions],
    add_to_carry: Elementwise,
    code: Code,
    f: Fields,
    array: Value,
    work: entry.Work,
) -> None:
    """Some rows of the batch back through the sequence, a chunk of steps at a time."""
    b, H, T = code.b, f["H"], f["T"]
    first, last = work.rows
    blocks, wide_blocks, input_blocks = (
        work.units.of(code, blocks_of(code, units)) for units in (f["P"], H, f["I"])
    )
    gradient = functions[0].tile
    to_input, enter = product_function(tiles, 1, 1), walk.enter_function(tiles, plan.cell, arguments(plan))
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
            columns = Columns(f.pointer("panels_hh"), b.mul(K, i64(code.width)), k, f["P"], *blocks)
            matrix_phase(code, tiles, 1, some, zero, columns, Then(then, frame.array), t)

    with code.loop(i64(0), T, f["chunk"]) as done:
        steps = code.smaller(f["chunk"], b.sub(T, done))
        oldest = b.sub(b.sub(T, done), steps)
        # Beyond the first step, at -1, only the way from its slots to the initial output is left.
        after = b.select(b.icmp_signed("==", oldest, i64(0)), i64(1), i64(0))
        with code.loop(i64(0), b.add(steps, after), i64(1)) as step:
            t = b.sub(b.sub(b.sub(T, i64(1)), done), step)
            later = b.add(t, i64(1))
            work.wait(code.smaller(T, b.sub(T, t)))
            here, going_on = walk.rows_of(code, f, t), walk.rows_of(code, f, later)
            anew = walk.enters_anew(code, f, t)
            with b.if_then(anew):
                b.call(enter, [array, t, first, code.smaller(last, here), *wide_blocks])
            walk.set_states(frame, code, f, plan.cell, t, anew)
            sequences = ("gates", "means", "derivatives", "projected")
            frame.set(**{name: walk.at_step(code, f, name, t) for name in sequences})
            frame.set(dout=walk.at_step_outside(code, f, "dout", t))
            frame.set(
                step=b.add(f["first_step"], t), later_resets=walk.resets_at(code, f, later), going_on=going_on
            )
            # Rows that go on to the later step, then those that end here, then those that only join there.
            both = code.smaller(here, going_on)
            with code.loop(i64(0), i64(2), i64(1)) as ending:
                goes_on = b.icmp_signed("==", ending, i64(0))
                rows = b.select(goes_on, i64(0), both), b.select(goes_on, both, here)
                times_weights(later, rows, b.select(goes_on, K, i64(0)), gradient)
            times_weights(later, (here, going_on), K, add_to_carry)
            end = code.smaller(last, here)
            with b.if_then(b.icmp_signed("<", first, end)):
                for phase, (tile, after_tiles) in zip(plan.backward.phases, functions, strict=True):
                    for product in phase.products:
                        array_, column = _multiplied(plan, product)
                        a = code.at(walk.at_step(code, f, array_, t), b.mul(H, i64(column)))
                        panels, _, _, k = _product(code, f, product)
                        matrix_phase(
                            code, tiles, 1,
                            Rows(a, i64(0), f[f"{array_}.b"], i64(1), first, end), zero,
                            Columns(panels, b.mul(k, i64(code.width)), k, H, i64(0), blocks_of(code, H)),
                            Then(tile, frame.array), t,
                        )  # fmt: skip
                    if after_tiles is not None:
                        b.call(after_tiles, [frame.array, first, end, H])
            work.meet()
        with b.if_then(b.icmp_signed("!=", f["dx"], i64(0))):
            chunk = walk.chunk_of(code, f, oldest, steps, work.rows)
            padded_outside = walk.is_padded(code, f)
            dx = code.at(f.pointer("dx"), chunk.offset(code, f, "dx"))
            call.set(
                a=code.at(f.pointer("derivatives"), chunk.offset(code, f, "derivatives")),
                a_t=f["derivatives.t"], a_b=f["derivatives.b"],
                out=b.select(padded_outside, f.pointer("by_inputs"), dx), out_t=f["dx.t"],
                out_b=b.select(padded_outside, f["I"], f["dx.b"]),
                steps=chunk.steps, first=chunk.rows[0], last=chunk.rows[1],
                K=K_x, N=f["I"],
                first_block=input_blocks[0], last_block=input_blocks[1],
                panels=f.pointer("panels_ih"), stride=b.mul(K_x, i64(code.width)),
                bias=f.pointer("zeros"), bias_stride=i64(0),
            )  # fmt: skip
            b.call(to_input, [call.array])
            with b.if_then(padded_outside):
                _scatter(code, f, oldest, steps, chunk, input_blocks)
            work.tell(b.add(done, steps))


def _scatter(code: Code, f: Fields, oldest: Value, steps: Value, chunk: walk.Chunk, blocks: Span) -> None:
    """Bring some units of the derivatives by the inputs of a chunk of steps to where dx lies outside."""
    b, I, V = code.b, f["I"], i64(code.width)
    unit = b.mul(blocks[0], V)
    units = b.sub(code.smaller(b.mul(blocks[1], V), I), unit)
    with code.loop(oldest, b.add(oldest, steps), i64(1)) as t:
        place = b.sub(walk.start_of(code, f, t), chunk.place)
        a = code.at(f.pointer("by_inputs"), b.add(b.mul(place, I), unit))
        rows = Rows(a, i64(0), I, i64(1), i64(0), walk.rows_of(code, f, t))
        to = code.at(walk.at_step_outside(code, f, "dx", t), unit)
        copy_rows(code, to, f["dx.b"], rows, units, to_by=f.pointer("rows"))


def _multiplied(plan: Plan, product: Node) -> tuple[str, int]:
    """What a product multiplies: an array, and its column in rows of units."""
    if product.op == "project_back":
        return "projected", 0
    return "derivatives", len(plan.slots) + int(product.name)


def _frame_and_fields(plan: Plan, place: Place) -> tuple[Fields, Fields]:
    return frame_and_fields(plan, arguments(plan), place)


def _carry(plan: Plan, place: Place, f: Fields, state: str, array: str = "carry") -> Value:
    """The address of what has been carried back for a state."""
    b, width = place.code.b, walk.width_of(f, plan.cell, state)
    return place.code.at(f.pointer(f"{array}_{state}"), b.add(b.mul(place.row, width), place.unit))


def _add_to_carry(plan: Plan, place: Place) -> None:
    """Before the first step only the sums are left: the way from its slots to the initial output."""
    code = place.code
    step, f = _frame_and_fields(plan, place)
    at = _carry(plan, place, f, plan.cell.states[0])
    by_output = _by_sums(plan, place, step, f)
    code.store(code.b.fadd(code.load(at, place.mask), by_output), at, place.mask)


def _by_sums(plan: Plan, place: Place, step: Fields, f: Fields) -> Value:
    """What comes to an output through what the gates of the later step see of it."""
    seed = plan.graph.leaf("seed", SEEN)
    strikes = partial(strikes_at, place, step, f)
    return Evaluation(place.code, {seed: partial(place.sum, 0)}, strikes)[plan.by_seen]


def _touched(plan: Plan, place: Place) -> Iterator[Value]:
    """Where the arithmetic reads and writes memory."""
    code, b, cell = place.code, place.code.b, plan.cell
    step, f = _frame_and_fields(plan, place)
    for array, count in (("gates", plan.gates), ("derivatives", plan.derivatives)):
        first = row_of(place, f, step, array, f"{array}.b")
        yield from (code.at(first, b.mul(f["H"], i64(s))) for s in range(count))
    yield row_outside(place, f, step, "dout", "dout.b")
    yield from (_carry(plan, place, f, state) for state in cell.states)
    yield from touched_states(cell, place, f, step)


def _store_mean(plan: Plan, place: Place, mean: Node, value: Value) -> None:
    _, f = _frame_and_fields(plan, place)
    place.code.b.store(value, _own_mean(plan, place, f, mean))


def _own_mean(plan: Plan, place: Place, f: Fields, mean: Node) -> Value:
    b, means = place.code.b, plan.backward.means
    at = b.add(b.mul(place.row, i64(len(means))), i64(means.index(mean)))
    return place.code.at(f.pointer("own_means"), at)


def _evaluation(plan: Plan, one: Pass, place: Place, step: Fields, f: Fields) -> Evaluation:
    """The terms of a pass: what forward has left, what comes with a product, and the rest computed."""
    code, b, cell = place.code, place.code.b, plan.cell
    cut = walk.is_reset(code, f, step, place.row)

    def by_next(state: str) -> Value:
        carried = code.load(_carry(plan, place, f, state), place.mask)
        if state != cell.states[0]:
            return from_later(state, carried)
        by_output = code.load(row_outside(place, f, step, "dout", "dout.b"), place.mask)
        return b.fadd(by_output, from_later(state, b.fadd(carried, _by_sums(plan, place, step, f))))

    def from_later(state: str, value: Value) -> Value:
        """What comes from the later step: not here, if the row began anew there."""
        with b.if_then(b.and_(cut, b.icmp_signed("!=", f[f"danew_{state}"], i64(0)))):
            at = _carry(plan, place, f, state, "danew")
            code.store(b.fadd(code.load(at, place.mask), value), at, place.mask)
        return b.select(cut, code.constant(0), value)

    def column(array: str, n: int) -> Value:
        first = row_of(place, f, step, array, f"{array}.b")
        return code.load(code.at(first, b.mul(f["H"], i64(n))), place.mask)

    def next_value(state: str) -> Value:
        return code.load(row_of(place, f, step, f"next_{state}", f"out_{state}.b"), place.mask)

    kept = dict(zip(plan.kept, range(len(plan.slots)), strict=False))
    kept |= {node: n for node, n in plan.columns.items() if n >= len(plan.slots)}
    sources: dict[Node, Source] = {
        node: partial(column, "gates", n) for node, n in kept.items() if node is not None
    }
    sources |= {
        node: partial(next_value, state) for state, node in zip(cell.states, cell.next_states, strict=True)
    }
    for n, mean in enumerate(plan.forward.means):
        at = b.add(b.mul(place.row, f["means.b"]), i64(n))
        sources[mean] = partial(broadcast, code, step.pointer("means"), at)
    for mean in plan.backward.means:
        sources[mean] = partial(broadcast, code, _own_mean(plan, place, f, mean), i64(0))
    earlier = {n for p in plan.backward.phases for q in p.passes if q.level < one.level for n in q.readable}
    for leaf, node in plan.adjoints.items():
        if node in earlier and leaf in plan.derivative_columns:
            sources[node] = partial(column, "derivatives", plan.derivative_columns[leaf])
    sources |= {seed: partial(by_next, seed.name) for seed in _seeds_of(plan, one)}
    sources |= {p: partial(place.sum, 0) for p in plan.backward.products if p not in earlier}
    sources |= spilled_sources(plan.backward, one, place, f)
    strikes = partial(strikes_at, place, step, f)
    return Evaluation(code, sources | state_and_vector_sources(plan, place, f, step), strikes)


def _seeds_of(plan: Plan, one: Pass) -> list[Node]:
    """The seeds that are known in a pass."""
    return [seed for seed, level in plan.seeds.items() if level == one.level]


def _write_pass(plan: Plan, one: Pass, place: Place) -> list[list[Value]]:
    """A pass of the gradient's arithmetic: derivatives by the slots, by the states, by the vectors."""
    code, b, cell = place.code, place.code.b, plan.cell
    step, f = _frame_and_fields(plan, place)
    values = _evaluation(plan, one, place, step, f)
    seeds = [values[seed] for seed in _seeds_of(plan, one)]  # all: a reset row's derivative is taken out here
    if cell.projects and one.level == START:
        at = row_of(place, f, step, "projected", "projected.b")
        code.store(seeds[0], at, place.mask)
        code.store(code.constant(0), _carry(plan, place, f, cell.states[0]), place.mask)
        return []
    derivatives = row_of(place, f, step, "derivatives", "derivatives.b")
    targets: list[tuple[Node, Value]] = [
        (leaf, code.at(derivatives, b.mul(f["H"], i64(n)))) for leaf, n in plan.derivative_columns.items()
    ]
    states = [state for state in cell.states if not (cell.projects and state == cell.states[0])]
    targets += [(cell.leaf("state", state), _carry(plan, place, f, state)) for state in states]
    stores = []
    for leaf, target in targets:
        node = plan.adjoints.get(leaf)
        if node is None and one.level == plan.backward.last:
            stores.append((code.constant(0), target))
        elif node is not None and (node in one.outputs or node in one.readable):
            stores.append((values[node], target))
    for n, node in enumerate(plan.by_vectors):
        if node in one.outputs:
            row = b.add(b.mul(place.row, i64(len(plan.by_vectors))), i64(n))
            at = code.at(f.pointer("by_vectors"), b.add(b.mul(row, f["H"]), place.unit))
            stores.append((b.fadd(code.load(at, place.mask), values[node]), at))
    stores += [(values[node], spill(plan.backward, node, place, f)) for node in one.spills]
    added = [[values[arg] for arg in mean.args] for mean in one.means]
    for value, target in stores:
        code.store(value, target, place.mask)
    return added
