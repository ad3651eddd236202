"""The backward kernel: the gradient of a cell over a sequence, with the product for ``dx`` inside.

It has the shape of forward, walked from the last step to the first: the derivatives by the slots at step t+1
times the recurrent weights, then the gradient's arithmetic at step t. The gradients of the weights are
products over all steps and rows, and are left to the caller.

Arrays, last axis contiguous, strides as in forward:

- ``dx [T, B, I]`` (or null); weights and vectors as in forward; ``seed``, ``first_step``
- ``gates [T, B, plan.gates * H]``, ``means [T, B, .]``, ``init_s``, ``out_s``: as forward left them
- ``derivatives [T, B, plan.derivatives * H]``: written, by the slots, then by the products `linear`
- ``projected [T, B, P]``: written, the derivative by a projected output
- ``by_vectors [B, . * H]``: each row's part of the derivatives by the vectors is added, as the plan has them
- ``dout [T, B, P]``: the derivative by the output; of packed sequences it and dx may lie in a padded batch
  (see `walk`)
- ``carry_s [B, H]``: in, the derivative by the final state s; out, by the initial state s
- ``drestart_s [B, H]`` (or null), to which the derivatives by the states that reset rows enter from are added
- scratch: ``panels_ih``, ``panels_hh``, ``panels_linear``, ``panels_project``, ``zeros``, ``spills [B, .]``,
  ``own_means [B, .]``, ``by_inputs [chunk, B, I]`` if dx lies in a padded batch
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, final

from gatewise.compiler.emit import entry, walk
from gatewise.compiler.emit.arguments import Arguments, Fields, Frame
from gatewise.compiler.emit.matrix import (
    Columns,
    Elementwise,
    Rows,
    Start,
    Then,
    elementwise_function,
    matrix_phase,
)
from gatewise.compiler.emit.number import Number
from gatewise.compiler.emit.packing import copy_rows, pack_transposed
from gatewise.compiler.emit.product import PRODUCT, product_function
from gatewise.compiler.emit.step import PhaseFunctions, phase_functions
from gatewise.compiler.emit.target import Target
from gatewise.compiler.emit.tiles import Span, Tiles, blocks_of, padded
from gatewise.compiler.emit.vector import Code, Value, i64
from gatewise.compiler.kernels.backward_step import BackwardStep, BeforeFirst
from gatewise.compiler.plan.plan import Plan
from gatewise.language.graph import Node


def _arguments(plan: Plan) -> Arguments:
    cell = plan.cell
    names = [*entry.FIELDS, "T", "B", "I", "H", "P", "chunk", "w_ih", "w_hh", "w_linear", "w_hr"]
    names += ["panels_ih", "panels_hh", "panels_linear", "panels_project", "zeros", "spills", "own_means"]
    names += ["by_inputs"]
    sequences = ("gates", "means", "derivatives", "projected", "dout", "dx")
    names += [f"{array}{stride}" for array in sequences for stride in ("", ".t", ".b")]
    names += ["seed", "first_step", "by_vectors", *walk.FIELDS, *walk.state_fields(cell)]
    names += [f"{array}_{state}" for array in ("carry", "drestart") for state in cell.states]
    names += [f"vector_{name}" for name in cell.vectors]
    return Arguments(names)


@final
class BackwardKernel:
    """The backward kernel of a cell.

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
        tiles = Tiles(f"{self.plan.cell.name}_backward", number, target)
        step = BackwardStep(self.plan, self.arguments)
        phases = [phase_functions(tiles, phase, 1, step, "gradient") for phase in self.plan.backward.phases]
        before_first = elementwise_function(tiles, "start", 1, BeforeFirst(step))
        entry.write_entries(
            tiles, self.arguments, _Body(self.plan, self.arguments, tiles, phases, before_first)
        )
        return str(tiles.module)


class _Product(NamedTuple):
    """A product with a transposed matrix.

    `row` is the block of rows in `weights` of its matrix, `K` the length of what it multiplies.
    """

    panels: Value
    weights: Value
    row: int
    K: Value


@final
class _Body:
    """What `entry.write_entries` asks for: how weights are packed, and the walk over the steps."""

    def __init__(
        self,
        plan: Plan,
        arguments: Arguments,
        tiles: Tiles,
        phases: list[PhaseFunctions],
        before_first: Elementwise,
    ) -> None:
        self.plan, self.arguments, self.tiles = plan, arguments, tiles
        self.phases, self.before_first = phases, before_first

    def pack(self, code: Code, f: Fields, share: entry.Share) -> None:
        """Pack the transposed weights for some units."""
        plan = self.plan
        for name, rows, height, columns in (
            ("ih", plan.rows_ih, f["H"], f["I"]),
            ("hh", plan.rows_hh, f["H"], f["P"]),
        ):
            blocks = share.of(code, blocks_of(code, columns))
            panels, weights = f.pointer(f"panels_{name}"), f.pointer(f"w_{name}")
            pack_transposed(code, panels, weights, rows, height, columns, blocks)
        blocks = share.of(code, blocks_of(code, f["H"]))
        for node in plan.backward.products:
            product = self.product(code, f, node)
            pack_transposed(code, product.panels, product.weights, [product.row], product.K, f["H"], blocks)

    def product(self, code: Code, f: Fields, node: Node) -> _Product:
        """A product in the middle of a step of the gradient."""
        if node.op == "project_back":
            return _Product(f.pointer("panels_project"), f.pointer("w_hr"), 0, f["P"])
        b, row = code.b, int(node.name)
        before = b.mul(b.mul(padded(code, f["H"]), f["H"]), i64(row))
        return _Product(code.at(f.pointer("panels_linear"), before), f.pointer("w_linear"), row, f["H"])

    # for done in range(0, T, chunk):
    #     for t in the chunk, backwards:               in the last chunk down to -1, the initial states
    #         places of step t; states of rows that join or are reset
    #         derivatives[t+1] @ w_hh: what the later step gives back to the output; pass 0 of step t
    #         the later products and passes of step t
    #     dx[chunk] = derivatives[chunk] @ w_ih        unless dx is null
    def walk(self, code: Code, f: Fields, array: Value, work: entry.Work) -> None:
        """Some rows of the batch back through the sequence, a chunk of steps at a time."""
        b, H, T = code.b, f["H"], f["T"]
        widths = f["P"], H, f["I"]
        shares = _Shares(*(work.units.of(code, blocks_of(code, units)) for units in widths))
        plan = self.plan
        to_input = product_function(self.tiles, 1, 1)
        enter = walk.enter_function(self.tiles, plan.cell, self.arguments)
        call, frame = PRODUCT.make(code), walk.step_frame(plan.cell).make(code)
        frame.set(arguments=array)
        from_state = b.mul(H, i64(len(plan.slots) - len(plan.state_slots)))
        K, K_x = (b.mul(H, i64(len(slots))) for slots in (plan.state_slots, plan.input_slots))
        zero = Start(f.pointer("zeros"), i64(0), i64(0))
        steps = _Steps(self, code, f, array, work, shares, enter, frame, from_state, K, K_x, zero)
        with code.loop(i64(0), T, f["chunk"]) as done:
            size = code.smaller(f["chunk"], b.sub(T, done))
            oldest = b.sub(b.sub(T, done), size)
            # Step -1 comes after step 0.
            after = b.select(b.icmp_signed("==", oldest, i64(0)), i64(1), i64(0))
            with code.loop(i64(0), b.add(size, after), i64(1)) as step:
                steps.step(b.sub(b.sub(b.sub(T, i64(1)), done), step))
            with b.if_then(b.icmp_signed("!=", f["dx"], i64(0))):
                steps.by_inputs(oldest, size, to_input, call)
                work.tell(b.add(done, size))

    def multiplied(self, product: Node) -> tuple[str, int]:
        """The vectors that a product multiplies: an array, and their column in rows of units."""
        if product.op == "project_back":
            return "projected", 0
        return "derivatives", len(self.plan.slots) + int(product.name)


class _Shares(NamedTuple):
    """The blocks of one thread, of the output, of the units and of the inputs."""

    output: Span
    units: Span
    inputs: Span


@final
@dataclass(frozen=True)
class _Steps:
    """Writes the code of `_Body.walk` for each step and each chunk.

    Attributes:
        shares: the blocks of this thread.
        enter: the function for the states of rows that join or are reset.
        frame: the arguments of functions of a step.
        from_state: the place of the slots that the state feeds in a row of derivatives.
        K, K_x: numbers in a row of derivatives by the slots that the state feeds, and that the input feeds.
        zero: the initial value of sums.
    """

    body: _Body
    code: Code
    f: Fields
    array: Value
    work: entry.Work
    shares: _Shares
    enter: Value
    frame: Frame
    from_state: Value
    K: Value
    K_x: Value
    zero: Start

    def step(self, t: Value) -> None:
        """One step of these rows; at step -1 the product alone."""
        code, b, f, first = self.code, self.code.b, self.f, self.work.rows[0]
        later = b.add(t, i64(1))
        self.work.wait(code.smaller(f["T"], b.sub(f["T"], t)))
        here, going_on = walk.rows_of(code, f, t), walk.rows_of(code, f, later)
        self._begin(t, later, here, going_on)
        self._state_products(later, here, going_on)
        end = code.smaller(self.work.rows[1], here)
        with b.if_then(b.icmp_signed("<", first, end)):
            self._phases(t, (first, end))
        self.work.meet()

    def _begin(self, t: Value, later: Value, here: Value, going_on: Value) -> None:
        """Fill the frame of a step, after copying the states together if rows join or are reset."""
        code, b, f, work, cell = self.code, self.code.b, self.f, self.work, self.body.plan.cell
        begins = walk.some_rows_begin(code, f, t)
        with b.if_then(begins):
            b.call(
                self.enter,
                [self.array, t, work.rows[0], code.smaller(work.rows[1], here), *self.shares.units],
            )
        walk.set_states(self.frame, code, f, cell, t, begins)
        sequences = ("gates", "means", "derivatives", "projected")
        self.frame.set(**{name: walk.at_step(code, f, name, t) for name in sequences})
        self.frame.set(dout=walk.at_step_outside(code, f, "dout", t))
        self.frame.set(
            step=b.add(f["first_step"], t), later_resets=walk.resets_at(code, f, later), going_on=going_on
        )

    # rows that go on to the later step:   sums = derivatives[later] @ w_hh; pass 0
    # rows that end at this step:          sums = 0;                         pass 0
    # rows that only join at the later one: sums = derivatives[later] @ w_hh; carry += sums
    def _state_products(self, later: Value, here: Value, going_on: Value) -> None:
        code, b = self.code, self.code.b
        both = code.smaller(here, going_on)
        with code.loop(i64(0), i64(2), i64(1)) as ending:
            goes_on = b.icmp_signed("==", ending, i64(0))
            rows = b.select(goes_on, i64(0), both), b.select(goes_on, both, here)
            self._state_product(later, rows, b.select(goes_on, self.K, i64(0)), self.body.phases[0].tile)
        self._state_product(later, (here, going_on), self.K, self.body.before_first)

    def _state_product(self, t: Value, rows: Span, k: Value, then: Elementwise) -> None:
        """The derivatives of step t by the slots that the state feeds, times the recurrent weights."""
        code, b, f, work = self.code, self.code.b, self.f, self.work
        a = code.at(walk.at_step(code, f, "derivatives", t), self.from_state)
        there = code.larger(work.rows[0], rows[0]), code.smaller(work.rows[1], rows[1])
        with b.if_then(b.icmp_signed("<", *there)):
            some = Rows(a, i64(0), f["derivatives.b"], i64(1), *there)
            panels = f.pointer("panels_hh")
            columns = Columns(panels, b.mul(self.K, i64(code.width)), k, f["P"], *self.shares.output)
            matrix_phase(code, self.body.tiles, 1, some, self.zero, columns, Then(then, self.frame.array), t)

    # for each phase:
    #     if it is not the first: sums = vector @ its transposed matrix; pass 0
    #     its other passes, row by row
    def _phases(self, t: Value, span: Span) -> None:
        code, b, f, body = self.code, self.code.b, self.f, self.body
        for phase, (tile, later) in zip(body.plan.backward.phases, body.phases, strict=True):
            for node in phase.products:
                array, column = body.multiplied(node)
                a = code.at(walk.at_step(code, f, array, t), b.mul(f["H"], i64(column)))
                product = body.product(code, f, node)
                matrix_phase(
                    code, body.tiles, 1,
                    Rows(a, i64(0), f[f"{array}.b"], i64(1), *span), self.zero,
                    Columns(
                        product.panels, b.mul(product.K, i64(code.width)), product.K,
                        f["H"], i64(0), blocks_of(code, f["H"]),
                    ),
                    Then(tile, self.frame.array), t,
                )  # fmt: skip
            if later is not None:
                b.call(later, [self.frame.array, *span, f["H"]])

    # dx[chunk] = derivatives[chunk] @ w_ih
    # if dx lies in a padded batch: the product goes to by_inputs, and its rows are copied to their places
    def by_inputs(self, oldest: Value, size: Value, product: Value, call: Frame) -> None:
        """The derivatives by the inputs of a chunk of `size` steps, of which `oldest` is the first."""
        code, b, f = self.code, self.code.b, self.f
        chunk = walk.chunk_of(code, f, oldest, size, self.work.rows)
        padded_outside = walk.is_padded(code, f)
        dx = code.at(f.pointer("dx"), chunk.offset(code, f, "dx"))
        call.set(
            a=code.at(f.pointer("derivatives"), chunk.offset(code, f, "derivatives")),
            a_t=f["derivatives.t"], a_b=f["derivatives.b"],
            out=b.select(padded_outside, f.pointer("by_inputs"), dx), out_t=f["dx.t"],
            out_b=b.select(padded_outside, f["I"], f["dx.b"]),
            steps=chunk.steps, first=chunk.rows[0], last=chunk.rows[1],
            K=self.K_x, N=f["I"],
            first_block=self.shares.inputs[0], last_block=self.shares.inputs[1],
            panels=f.pointer("panels_ih"), stride=b.mul(self.K_x, i64(code.width)),
            bias=f.pointer("zeros"), bias_stride=i64(0),
        )  # fmt: skip
        b.call(product, [call.array])
        with b.if_then(padded_outside):
            self._scatter(oldest, size, chunk)

    def _scatter(self, oldest: Value, size: Value, chunk: walk.Chunk) -> None:
        """Copy some units of the derivatives by the inputs of a chunk to their rows of a padded dx."""
        code, b, f = self.code, self.code.b, self.f
        I, V, blocks = f["I"], i64(code.width), self.shares.inputs
        unit = b.mul(blocks[0], V)
        units = b.sub(code.smaller(b.mul(blocks[1], V), I), unit)
        with code.loop(oldest, b.add(oldest, size), i64(1)) as t:
            place = b.sub(walk.start_of(code, f, t), chunk.place)
            a = code.at(f.pointer("by_inputs"), b.add(b.mul(place, I), unit))
            rows = Rows(a, i64(0), I, i64(1), i64(0), walk.rows_of(code, f, t))
            to = code.at(walk.at_step_outside(code, f, "dx", t), unit)
            copy_rows(code, to, f["dx.b"], rows, units, to_by=f.pointer("rows"))
