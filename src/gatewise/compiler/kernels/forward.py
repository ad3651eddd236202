"""The forward kernel: a cell over a sequence, with the input product inside.

``run(arguments)`` computes a whole call. ``prepare`` and ``part(arguments, i, n)`` do the same in two halves,
for callers with their own threads.

Arrays, last axis contiguous, time and batch strides given (negative time strides walk backwards):

- ``x [T, B, I]``; ``w_ih [Gx*H, I]``, ``w_hh [Gh*H, P]``, ``b_ih``, ``b_hh`` (or null), vectors ``[H]``;
  ``w_linear [N*H, H]``, ``b_linear`` (or null), ``w_hr [P, H]``; without a projection P is H
- ``gates [T, B, plan.gates * H]``: pre-activations. With `keep` they are replaced by the values that the plan
  saves for backward; without, they are scratch memory for `chunk` steps. ``means [T, B, means of the plan]``
  are saved too, or scratch memory for one step
- for each state s: ``init_s [B, H]``; ``out_s [T, B, H]``, of which a time stride of 0 leaves the last step
  only. The first state is the output, ``[.., P]``
- with `every`, ``passed_s [., B, H]`` (the output ``[., B, P]``): the states after each `every` steps
- ``watch_v [T, B, H]`` for each watchable value v, or null
- packed sequences ``[N, ...]``, resets and scratch ``entering_s [B, H]``: see `walk`; x and watched values
  may lie in a padded batch, and then the output is also written to ``shown [T, B, P]`` (else null)
- ``seed``, and the number of the `first_step`, for `dropout` and `zoneout`
- scratch: ``panels``, ``panels_linear``, ``panels_project``, ``bias [S + N + 1, H rounded up to V]``,
  ``spills [B, .]``, ``seen [B, P]``, ``joined [B, I + P]`` or null, ``inputs [chunk, B, I]`` of a padded
  batch

The sum of a slot runs over the input, then over the state. If both feed the same slots and ``joined`` is
given, x and the state are copied side by side and one product serves both. Else the input product is made for
a chunk of steps at a time, and the product of the state adds to it. The bits are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, final

from llvmlite import ir

from gatewise.compiler.emit import entry, walk
from gatewise.compiler.emit.arguments import Arguments, Fields, Frame
from gatewise.compiler.emit.matrix import Columns, Rows, Start, Then, matrix_phase
from gatewise.compiler.emit.number import Number
from gatewise.compiler.emit.packing import copy_rows, pack
from gatewise.compiler.emit.product import PRODUCT, product_function
from gatewise.compiler.emit.rows import row_function
from gatewise.compiler.emit.step import PhaseFunctions, phase_functions
from gatewise.compiler.emit.target import Target
from gatewise.compiler.emit.tiles import Span, Tiles, blocks_of, padded
from gatewise.compiler.emit.vector import Code, Value, i64
from gatewise.compiler.kernels.forward_step import ForwardStep, SeenByGates
from gatewise.compiler.plan.plan import Plan
from gatewise.compiler.plan.schedule import START, Pass, Phase
from gatewise.language.graph import Node


def _arguments(plan: Plan) -> Arguments:
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


@final
class ForwardKernel:
    """The forward kernel of a cell.

    Attributes:
        arguments: the fields of a call.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.arguments = _arguments(plan)

    @property
    def key(self) -> str:
        """The text that tells this kernel from those of other cells."""
        return self.plan.key

    def write(self, number: Number, target: Target) -> str:
        """The module as LLVM text."""
        tiles = Tiles(f"{self.plan.cell.name}_forward", number, target)
        step = ForwardStep(self.plan, self.arguments)
        phases = []
        for phase in self.plan.forward.phases:
            slots = len(self.plan.products_at(phase.passes[0].level))
            phases.append(phase_functions(tiles, phase, slots, step, "cell"))
        entry.write_entries(tiles, self.arguments, _Body(self.plan, self.arguments, tiles, step, phases))
        return str(tiles.module)


class _Panels(NamedTuple):
    """The panels of some weights."""

    first: Value
    stride: Value  # from a panel to the next


class _Product(NamedTuple):
    """A product in the middle of a step.

    `weights` is the field of its matrix, `rows` the blocks of rows of it; the result has `units`. `bias` is
    the row of its bias in the array of that name.
    """

    panels: _Panels
    weights: str
    rows: list[int]
    units: Value
    bias: int


@final
class _Body:
    """What `entry.write_entries` asks for: how weights are packed, and the walk over the steps."""

    def __init__(
        self, plan: Plan, arguments: Arguments, tiles: Tiles, step: ForwardStep, phases: list[PhaseFunctions]
    ) -> None:
        self.plan, self.arguments, self.tiles = plan, arguments, tiles
        self.step, self.phases = step, phases

    # for some blocks of units (the thread's share):
    #     panels[block]         = [w_ih | w_hh] of these units, for all slots
    #     panels_linear[block], panels_project[block] likewise
    #     bias[slot, block]     = b_ih + b_hh of these units; bias[linear] = b_linear; bias[last] = 0
    def pack(self, code: Code, f: Fields, share: entry.Share) -> None:
        """Pack the weights of some units; add up the biases of each slot."""
        H, plan = f["H"], self.plan
        stride = padded(code, H)  # from a row of biases to the next
        blocks = share.of(code, blocks_of(code, H))
        of_x, of_state = self.panels(code, f)
        pack(code, *of_x, f.pointer("w_ih"), plan.rows_ih, f["I"], H, blocks)
        pack(code, *of_state, f.pointer("w_hh"), plan.rows_hh, f["P"], H, blocks)
        for phase in plan.forward.phases[1:]:
            product = self.product(code, f, phase)
            some = share.of(code, blocks_of(code, product.units))
            pack(code, *product.panels, f.pointer(product.weights), product.rows, H, product.units, some)
        rows: list[dict[str, int | None]] = [{"b_ih": s.row_ih, "b_hh": s.row_hh} for s in plan.slots]
        rows += [{"b_linear": int(node.name)} for node in self.linears]
        for s, biases in enumerate([*rows, {}]):  # the last row stays zero: a projection starts from it
            with code.loop(*blocks, i64(1)) as block:
                total, u = _added_biases(code, f, block, biases)
                at = code.at(f.pointer("bias"), code.b.add(code.b.mul(stride, i64(s)), u))
                code.store(total, at)

    # for start in range(0, T, chunk):
    #     input product of the chunk                         unless x and the state are joined
    #     for t in range(start, start + chunk):
    #         states of the step; what the gates see of them
    #         state product: sums of gates, pass 0
    #         the other passes; the later phases, each a product and its passes
    #         keep states; meet the other threads; tell the layer above
    def walk(self, code: Code, f: Fields, array: Value, work: entry.Work) -> None:
        """Some rows of the batch through the whole sequence, a chunk of steps at a time."""
        blocks = work.units.of(code, blocks_of(code, f["H"]))
        plan, arguments = self.plan, self.arguments
        product = product_function(self.tiles, len(plan.input_slots), len(plan.slots))
        enter = walk.enter_function(self.tiles, plan.cell, arguments)
        see = self._see_function()
        call, frame = PRODUCT.make(code), walk.step_frame(plan.cell).make(code)
        frame.set(arguments=array)
        panels = self.panels(code, f)
        joined = code.b.icmp_signed("!=", f["joined"], i64(0))
        steps = _Steps(self, code, f, array, work, blocks, enter, see, frame, *panels, joined)
        with code.loop(i64(0), f["T"], f["chunk"]) as start:
            gates = steps.input_product(start, product, call)
            with code.loop(start, steps.end_of_chunk(start), i64(1)) as t:
                steps.step(t, gates)

    def _see_function(self) -> Value | None:
        """The function for what the gates see of the previous output; None if that is the output itself."""
        if self.plan.cell.seen.op == "state":
            return None
        return row_function(self.tiles, "see", [Pass(START)], SeenByGates(self.step))

    def panels(self, code: Code, f: Fields) -> tuple[_Panels, _Panels]:
        """The panels of the input weights and of the recurrent weights: those of a block lie side by side."""
        b, V = code.b, code.width
        of_x = b.mul(f["I"], i64(len(self.plan.input_slots) * V))
        of_state = b.mul(f["P"], i64(len(self.plan.state_slots) * V))
        whole = b.add(of_x, of_state)
        panels = f.pointer("panels")
        return _Panels(panels, whole), _Panels(code.at(panels, of_x), whole)

    def product(self, code: Code, f: Fields, phase: Phase) -> _Product:
        """The product that a later phase begins with."""
        b, H, count = code.b, f["H"], len(phase.products)
        stride = b.mul(H, i64(count * code.width))
        slots = len(self.plan.slots)
        if phase.products[0].op == "project":
            P = f["P"]
            panels = _Panels(f.pointer("panels_project"), stride)
            return _Product(panels, "w_hr", [0], P, slots + len(self.linears))
        place = self.linears.index(phase.products[0])
        before = b.mul(b.mul(padded(code, H), H), i64(place))
        panels = _Panels(code.at(f.pointer("panels_linear"), before), stride)
        return _Product(panels, "w_linear", [int(node.name) for node in phase.products], H, slots + place)

    @property
    def linears(self) -> list[Node]:
        """The products `linear` in the order in which they are made."""
        return [node for node in self.plan.forward.products if node.op == "linear"]


def _added_biases(
    code: Code, f: Fields, block: Value, biases: Mapping[str, int | None]
) -> tuple[Value, Value]:
    """The sum of the biases that are given (field and block of rows), for one block; its first unit."""
    b, H = code.b, f["H"]
    nothing = ir.Constant(code.mask, [0] * code.width)
    u = b.mul(block, i64(code.width))
    mask = code.first(code.smaller(b.sub(H, u), i64(code.width)))
    total = code.constant(0)
    for name, row in biases.items():
        if row is not None:
            there = b.icmp_signed("!=", f[name], i64(0))
            bias = code.at(f.pointer(name), b.add(b.mul(H, i64(row)), u))
            total = code.flushed(b.fadd(total, code.load(bias, b.select(there, mask, nothing))))
    return total, u


@final
@dataclass(frozen=True)
class _Steps:
    """Writes the code of `_Body.walk` for each chunk and each step.

    Attributes:
        blocks: the share of the units.
        enter, see: functions, before a step, for states of rows that join, and for what the gates see.
        frame: the arguments of functions of a step.
        of_x, of_state: panels.
        joined: whether x and the state lie side by side.
    """

    body: _Body
    code: Code
    f: Fields
    array: Value
    work: entry.Work
    blocks: Span
    enter: Value
    see: Value | None
    frame: Frame
    of_x: _Panels
    of_state: _Panels
    joined: Value

    def end_of_chunk(self, start: Value) -> Value:
        """The step after a chunk."""
        return self.code.smaller(self.f["T"], self.code.b.add(start, self.f["chunk"]))

    # gates = room for the chunk, such that gates + offset of t is the place of step t
    # if not joined:
    #     wait until the layer below has done the chunk
    #     if x lies in a padded batch: inputs = the rows of x of the chunk; meet the other threads
    #     gates[chunk] = bias + x[chunk] @ w_ih
    def input_product(self, start: Value, product: Value, call: Frame) -> Value:
        """The input product of a chunk, unless it is a joined one. Returns the address of the gates."""
        code, b, f, work = self.code, self.code.b, self.f, self.work
        size = code.smaller(f["chunk"], b.sub(f["T"], start))
        chunk = walk.chunk_of(code, f, start, size, work.rows)
        # Gates that are not saved have memory for one chunk only.
        kept = b.icmp_signed("!=", f["keep"], i64(0))
        origin = b.select(kept, i64(0), chunk.offset(code, f, "gates"))
        gates = code.at(f.pointer("gates"), b.sub(i64(0), origin))
        apart = b.not_(self.joined)
        with b.if_then(apart):
            work.wait(self.end_of_chunk(start))
        gathers = b.and_(apart, walk.is_padded(code, f))
        with b.if_then(gathers):
            self._gather(start, chunk)
            work.meet()
        x = code.at(f.pointer("x"), chunk.offset(code, f, "x"))
        call.set(
            a=b.select(gathers, f.pointer("inputs"), x), a_t=f["x.t"],
            a_b=b.select(gathers, f["I"], f["x.b"]),
            out=code.at(gates, chunk.offset(code, f, "gates")), out_t=f["gates.t"], out_b=f["gates.b"],
            steps=chunk.steps, first=chunk.rows[0], last=chunk.rows[1], K=f["I"], N=f["H"],
            first_block=self.blocks[0], last_block=self.blocks[1],
            panels=self.of_x.first, stride=self.of_x.stride,
            bias=f.pointer("bias"), bias_stride=padded(code, f["H"]),
        )  # fmt: skip
        with b.if_then(apart):
            b.call(product, [call.array])
        return gates

    def _gather(self, start: Value, chunk: walk.Chunk) -> None:
        """Copy the rows of a chunk of a padded x into packed order; each thread copies some of the steps."""
        code, b, f = self.code, self.code.b, self.f
        first, last = self.work.units.of(code, b.sub(self.end_of_chunk(start), start))
        with code.loop(b.add(start, first), b.add(start, last), i64(1)) as t:
            place = b.sub(walk.start_of(code, f, t), chunk.place)
            x = walk.at_step_outside(code, f, "x", t)
            rows = Rows(x, i64(0), f["x.b"], i64(1), i64(0), walk.rows_of(code, f, t))
            to = code.at(f.pointer("inputs"), b.mul(place, f["I"]))
            copy_rows(code, to, f["I"], rows, f["I"], rows_by=f.pointer("rows"))

    def step(self, t: Value, gates: Value) -> None:
        """One step of these rows."""
        code, b, f, work = self.code, self.code.b, self.f, self.work
        first, end = work.rows[0], code.smaller(work.rows[1], walk.rows_of(code, f, t))
        here, state = self._begin(t, gates, (first, end))
        self._state_product(t, here, state)
        self._phases(t, here, (first, end))
        # 0 means never: more steps than there are.
        every = b.select(b.icmp_signed("!=", f["every"], i64(0)), f["every"], b.add(f["T"], i64(1)))
        with b.if_then(b.icmp_signed("==", b.srem(b.add(t, i64(1)), every), i64(0))):
            self._keep_states(t, (first, end))
        work.meet()
        work.tell(b.add(t, i64(1)))

    # if rows join or are reset at t: enter (copies the states of all rows together); meet the other threads
    # frame = the addresses of step t in all arrays
    # if the gates do not see the output itself: seen = what they see
    def _begin(self, t: Value, gates: Value, span: Span) -> tuple[Value, Rows]:
        """Fill the frame of a step. Returns its gates, and the rows that the gates see."""
        code, b, f, cell = self.code, self.code.b, self.f, self.body.plan.cell
        begins = walk.some_rows_begin(code, f, t)
        with b.if_then(begins):
            b.call(self.enter, [self.array, t, *span, *self.blocks])
            self.work.meet()
        previous = walk.set_states(self.frame, code, f, cell, t, begins)
        here = code.at(gates, walk.offset_of(code, f, "gates", t))
        self.frame.set(
            gates=here,
            means=walk.at_step(code, f, "means", t),
            watch=walk.offset_outside(code, f, "watch", t),
            shown=walk.at_step_outside(code, f, "shown", t),
            step=b.add(f["first_step"], t),
        )
        state, stride = previous[cell.states[0]]
        if self.see is not None:
            b.call(self.see, [self.frame.array, *span, f["P"]])
            state, stride = f.pointer("seen"), f["P"]
        return here, Rows(state, i64(0), stride, i64(1), *span)

    # if joined:  wait until the layer below has done step t
    #             joined = [x[t], state]
    #             sums = bias + joined @ [w_ih, w_hh]
    # else:       sums = gates[t] + state @ w_hh
    # pass 0 of the first phase on the sums
    def _state_product(self, t: Value, here: Value, state: Rows) -> None:
        code, b, f, plan, H = self.code, self.code.b, self.f, self.body.plan, self.f["H"]
        rows = state
        columns = Columns(*self.of_state, f["P"], H, *self.blocks)
        first_slot = len(plan.slots) - len(plan.state_slots)
        begin = Start(code.at(here, b.mul(H, i64(first_slot))), f["gates.b"], H)
        if plan.joins:
            with b.if_then(self.joined):
                self.work.wait(b.add(t, i64(1)))
                x = walk.at_step_outside(code, f, "x", t)
                self._join(Rows(x, i64(0), f["x.b"], i64(1), rows.first, rows.last), rows)
            K, pick = b.add(f["I"], f["P"]), partial(b.select, self.joined)
            rows = replace(rows, a=pick(f.pointer("joined"), rows.a), row_stride=pick(K, rows.row_stride))
            columns = replace(columns, panels=pick(self.of_x.first, self.of_state.first), K=pick(K, f["P"]))
            begin = Start(pick(f.pointer("bias"), here), pick(i64(0), f["gates.b"]), pick(padded(code, H), H))
        then = Then(self.body.phases[0].tile, self.frame.array)
        matrix_phase(code, self.body.tiles, len(plan.state_slots), rows, begin, columns, then, t)

    def _join(self, x: Rows, state: Rows) -> None:
        """Copy rows of the input and of the state side by side."""
        code, f = self.code, self.f
        to, K = f.pointer("joined"), code.b.add(f["I"], f["P"])
        copy_rows(code, to, K, x, f["I"], rows_by=f.pointer("rows"))
        copy_rows(code, code.at(to, f["I"]), K, state, f["P"])

    # for each phase:
    #     if it is not the first: sums = bias + vector @ its matrix; pass 0 on the sums
    #     its other passes, row by row
    def _phases(self, t: Value, here: Value, span: Span) -> None:
        code, b, f, H, body = self.code, self.code.b, self.f, self.f["H"], self.body
        for phase, (tile, later) in zip(body.plan.forward.phases, body.phases, strict=True):
            if phase.products:
                vector = body.plan.columns[phase.products[0].args[0]]
                a = code.at(here, b.mul(H, i64(vector)))
                product = body.product(code, f, phase)
                bias = code.at(f.pointer("bias"), b.mul(padded(code, H), i64(product.bias)))
                matrix_phase(
                    code, body.tiles, len(phase.products),
                    Rows(a, i64(0), f["gates.b"], i64(1), *span),
                    Start(bias, i64(0), padded(code, H)),
                    Columns(*product.panels, H, product.units, i64(0), blocks_of(code, product.units)),
                    Then(tile, self.frame.array), t,
                )  # fmt: skip
            if later is not None:
                b.call(later, [self.frame.array, *span, H])

    def _keep_states(self, t: Value, span: Span) -> None:
        """Copy some units of the states after step t to ``passed_s``."""
        code, b, f, V = self.code, self.code.b, self.f, i64(self.code.width)
        place = b.sub(b.sdiv(b.add(t, i64(1)), f["every"]), i64(1))
        unit = b.mul(self.blocks[0], V)
        for state in self.body.plan.cell.states:
            width = walk.width_of(f, self.body.plan.cell, state)
            units = b.sub(code.smaller(b.mul(self.blocks[1], V), width), unit)
            source = code.at(walk.at_step(code, f, f"out_{state}", t), unit)
            to = b.add(b.mul(b.mul(place, f["B"]), width), unit)
            some = Rows(source, i64(0), f[f"out_{state}.b"], i64(1), *span)
            copy_rows(code, code.at(f.pointer(f"passed_{state}"), to), width, some, units)
