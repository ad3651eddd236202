"""Calls of the backward kernel with tensors, followed by the sums for the gradients of weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gatewise.compiler.emit.arguments import Blank
from gatewise.compiler.kernels import weight_gradients
from gatewise.compiler.plan.plan import Slot
from gatewise.compiler.run.program import CompiledCell, Team, worth
from gatewise.language.graph import Node
from gatewise.nn.kernels.flat import ByResults, Each, Tape
from gatewise.nn.kernels.layout import Key, Parts, Way
from gatewise.nn.kernels.problem import Problem
from gatewise.nn.kernels.scratch import in_rows
from gatewise.nn.kernels.weight_sums import bias_gradients
from gatewise.nn.walk import eager
from gatewise.nn.walk.packed_steps import Table
from gatewise.nn.walk.walk import Walk

_OUTER = weight_gradients.ARGUMENTS.blank({})
_SIDES = ("ih", "hh")


def _backward(kernels: CompiledCell, key: Key, team: Team, chunk: int) -> Parts:
    """The layout parts of a backward call. Options: derivatives may overwrite gates; x needs a gradient."""
    plan, (_, B, I, H, P), (in_place, by_x) = kernels.plan, key.sizes, key.options
    width = plan.gates if in_place and plan.overwrites else plan.derivatives
    ways = {"x": key.way_of_x(), "derivatives": key.way(width * H)}
    ways |= {"gates": key.way(plan.gates * H), "means": key.way(len(plan.forward.means))}
    ways |= {"projected": key.way(P)} if plan.cell.projects else {}
    ways |= {f"out_{name}": key.way(H if n else P) for n, name in enumerate(plan.cell.states)}
    scratch = kernels.backward_scratch(B, I, H, P)
    if key.padded:
        scratch["by_inputs"] = chunk * B * I * by_x
    return Parts(kernels.backward, chunk, {}, ways, scratch)


class Backward(Problem):
    """One call of the backward kernel, to be passed to `run`, and the sums over all steps after it."""

    find = staticmethod(_backward)

    def __init__(
        self,
        walk: Walk,
        tape: Tape,
        needed: Each[bool],
        by_results: ByResults,
        in_place: bool = True,
    ) -> None:
        # Derivatives overwrite the gates, unless the graph is kept for another backward (retain_graph=True).
        in_place = in_place and not graph_is_kept()
        super().__init__(walk, in_place, needed.x)
        self.needed = needed
        self.gates = tape.gates
        plan = self.cell.plan
        if plan.keeps:
            self.gates = self.taken_back(self.gates, plan.gates * self.H)
            self.hand_over("gates", self.gates)
        if plan.forward.means:
            self.means = self.taken_back(tape.means, len(plan.forward.means))
            self.hand_over("means", self.means)
        self.slots = len(plan.slots)
        in_place = in_place and plan.overwrites
        self.derivatives = self.gates if in_place else self.sequence(plan.derivatives * self.H)
        self.hand_over("derivatives", self.derivatives)
        if walk.cell.projects:
            self.projected = self.sequence(self.P)
            self.hand_over("projected", self.projected)
        if walk.cell.vectors:
            self.by_vectors = self.x.new_zeros(self.B, len(plan.by_vectors) * self.H)
            self.fields["by_vectors"] = self.by_vectors.data_ptr()
        widths = [self.P, *[self.H] * (len(tape.states) - 1)]
        self.state_steps = [self.taken_back(*pair) for pair in zip(tape.states, widths, strict=True)]
        for name, steps in zip(walk.cell.states, self.state_steps, strict=True):
            self.hand_over(f"out_{name}", steps)
        self._give_output_derivative(by_results.output)
        self._give_carries(by_results.states)
        self.dx = self.outside(self.I) if needed.x else None
        if self.dx is not None:
            self.give("dx", self.dx)
        self.fields["zeros"] = self.zeros.data_ptr()

    def _give_output_derivative(self, dout: Tensor | None) -> None:
        if dout is None:
            self.fields["dout"], self.fields["dout.t"], self.fields["dout.b"] = self.zeros.data_ptr(), 0, 0
            return
        self.dout = in_rows(self._fitting(dout, (*self.x.shape[:-1], self.P)))
        self.give("dout", self.dout)

    def _give_carries(self, by_finals: Sequence[Tensor | None]) -> None:
        """Pass memory for the derivatives by the initial states, and by the states of reset rows."""
        self.carries: list[Tensor] = []
        self.by_restart: list[Tensor] = []
        for n, (name, by_final) in enumerate(zip(self.walk.cell.states, by_finals, strict=True)):
            shape = self.B, self.H if n else self.P
            if by_final is None:
                carry = self.x.new_zeros(shape)
            else:
                carry = self._fitting(by_final, shape).clone(memory_format=torch.contiguous_format)
            self.carries.append(carry)
            self.fields[f"carry_{name}"] = carry.data_ptr()
            if self.walk.reset is not None and self.walk.states is not None:
                self.by_restart.append(torch.zeros_like(carry))
                self.fields[f"drestart_{name}"] = self.by_restart[-1].data_ptr()

    def _fitting(self, gradient: Tensor, shape: tuple[int, ...]) -> Tensor:
        if gradient.shape != shape or gradient.dtype != self.x.dtype:
            came = f"{gradient.dtype} {tuple(gradient.shape)}"
            raise RuntimeError(
                f"The gradient of a result {shape} must be {self.x.dtype} like it. Got {came}."
            )
        return gradient

    def gradients(self) -> Each[Tensor | None]:
        """The gradients by all tensors of the walk; None where not needed."""
        by_weights = [
            *self._by_weights(),
            *bias_gradients(self.cell.plan, self.sums, self.H, self.walk.biased),
            *self._by_vectors(),
            *self._by_products(),
        ]
        return Each(
            self.dx,
            _those(by_weights, self.needed.weights),
            _those(self._by_states(), self.needed.states),
            (None,) * len(self.needed.resets),
        )

    def _by_states(self) -> list[Tensor]:
        if self.walk.states is None:
            return []
        if not self.by_restart or self.walk.restart is not None:
            return self.carries
        return [carry + more for carry, more in zip(self.carries, self.by_restart, strict=True)]

    def _by_weights(self) -> tuple[Tensor | None, Tensor | None]:
        """The gradients by the input weights and the recurrent weights; None where not needed."""
        by_ih, by_hh = self.needed.weights[:2]
        weight_ih, weight_hh = self.others[:2]
        results = (
            torch.zeros_like(weight_ih) if by_ih else None,
            torch.zeros_like(weight_hh) if by_hh else None,
        )
        # the derivatives by slots and products, summed over all steps and rows
        self.sums = self.x.new_zeros(self.cell.plan.derivatives * self.H if self.walk.biased else 0)
        fields = self._summed("derivatives", self.derivatives)
        self.tables = list[Table]()
        if self.walk.padding is None:
            self._meet(fields, "ih", self.x, self.layout.ways["x"])
        else:
            x = self.x.transpose(0, 1) if self.walk.batch_first else self.x
            places = (some.numpy() for some in self.walk.padding.steps_and_rows)
            self._meet_rows(fields, "ih", addresses(x, *places))
        if by_hh:
            self._meet_state(fields)
        for first, run in self.cell.plan.runs:
            self._add_products(fields, first, run, results)
        return results

    def _add_products(
        self, fields: Blank, first: int, run: Sequence[Slot], results: Sequence[Tensor | None]
    ) -> None:
        """Add the products of adjacent slots to their rows in the gradients of both matrices."""
        fields = Blank(fields)
        place = first * self.H * self.x.itemsize
        fields["a"] += place
        fields["N"] = len(run) * self.H
        if self.walk.biased:
            fields["sum"] = self.sums.data_ptr() + place
        columns = 0
        for side, result, row in zip(_SIDES, results, (run[0].row_ih, run[0].row_hh), strict=True):
            if result is not None and row is not None:
                M = fields[f"M_{side}"] = result.size(1)
                fields[f"c_{side}"] = result.data_ptr() + row * self.H * M * result.itemsize
                columns += M
        self._sum_up(fields, columns)

    def _sum_up(self, fields: Blank, columns: int) -> None:
        work = fields["T"] * fields["B"] * fields["N"] * columns
        self.cell.outer(worth(torch.get_num_threads(), fields["N"], work), fields)

    def _summed(self, name: str, derivatives: Tensor) -> Blank:
        """The fields of a sum over all steps and rows. If packed, all rows count as rows of one step."""
        T, B = (self.T, self.B) if self.packed is None else (1, len(derivatives))
        way = self.layout.ways[name]
        fields = Blank(_OUTER)
        fields["T"], fields["B"], fields["chunk"] = T, B, weight_gradients.chunk(B)
        fields["a"], fields["a.t"], fields["a.b"] = derivatives.data_ptr() + way.first, way.t, way.b
        return fields

    def _meet(self, fields: Blank, side: str, sequence: Tensor, way: Way) -> None:
        """Pass the vectors that derivatives of one side are multiplied by."""
        fields[f"met_{side}"] = sequence.data_ptr() + way.first
        fields[f"met.t_{side}"], fields[f"met.b_{side}"] = way.t, way.b

    def _meet_state(self, fields: Blank) -> None:
        """Pass what the gates saw at each step: the outputs of the step before, or the initial ones."""
        outputs, packed = self.state_steps[0], self.packed
        if packed is None and self.walk.batch_first:
            outputs = outputs.transpose(0, 1)
        outputs = self._seen(outputs, None if packed is None else torch.from_numpy(packed.rows))
        initial = self._seen(self.states[0]) if self.walk.states is not None else self.zeros
        self.met = [outputs, initial]  # kept alive until the kernel is done
        if packed is not None or self.walk.reset is not None:
            initial = initial if self.walk.states is not None else initial[: self.P].view(1, -1)
            self._meet_rows(fields, "hh", self._entering(outputs, initial))
            return
        way = self.way(outputs, batch_first=False)
        self._meet(fields, "hh", outputs, way)
        fields["met_hh"] -= way.t * self.x.itemsize
        fields["first_hh"] = initial.data_ptr()
        fields["first.b_hh"] = 0 if self.walk.states is None else self.P

    def _meet_rows(self, fields: Blank, side: str, addresses: Table) -> None:
        """Pass a table with the address of the row that each derivative is multiplied by."""
        self.tables.append(np.ascontiguousarray(addresses))  # kept alive too
        fields[f"rows_{side}"] = self.tables[-1].ctypes.data

    def _entering(self, outputs: Tensor, initial: Tensor) -> Table:
        """The addresses of the outputs before each step, row by row.

        Steps are in the order of the walk, or of memory if packed.
        """
        packed, reset, again = self.packed, self.walk.reset, initial
        place: tuple[Table, ...]
        if self.walk.restart is not None:
            again = self._seen(self.walk.restart[0])
            self.met.append(again)
        if packed is not None:
            place, rows, joins = (packed.before,), packed.rows, packed.before < 0
        else:
            steps, rows = np.arange(self.T)[:, None], np.arange(self.B)
            place, joins = (steps[::-1] + 1 if self.walk.reverse else steps - 1, rows), steps == 0
        entering = addresses(outputs, *place)
        if reset is not None:
            if packed is None:
                reset = reset.T if self.walk.batch_first else reset
                reset = reset.flip(0) if self.walk.reverse else reset
            entering = np.where(reset.numpy(), addresses(again, rows), entering)
        return np.where(joins, addresses(initial, rows), entering)

    def _seen(self, outputs: Tensor, rows: Tensor | None = None) -> Tensor:
        """What the gates see of ``outputs [..., B, P]``, for all rows or these; one mask for all steps."""
        if self.walk.cell.seen.op == "state":
            return outputs
        assert self.walk.chance is not None
        rows = torch.arange(self.B, device="cpu") if rows is None else rows
        return eager.seen(self.walk.cell, outputs, self.weights, self.walk.chance, rows)

    def _by_products(self) -> list[Tensor]:
        """The gradients by the weights of products in a step: `weight_hr`, then those of `linear`."""
        plan, H = self.cell.plan, self.H
        results = []
        if plan.cell.projects:
            (vector,) = plan.cell.next_states[0].args
            results.append(self._products(self._summed("projected", self.projected), self.P, vector))
        if plan.cell.linears:
            by_weight = self.x.new_zeros(len(plan.cell.linears) * H, H)
            for n, node in enumerate(plan.cell.linears):
                fields = self._summed("derivatives", self.derivatives)
                place = (self.slots + n) * H * self.x.itemsize
                fields["a"] += place
                if self.walk.biased:
                    fields["sum"] = self.sums.data_ptr() + place
                by_weight[n * H : (n + 1) * H] = self._products(fields, H, node.args[0])
            results.append(by_weight)
        if plan.cell.linears and self.walk.biased:
            results.append(self.sums[self.slots * H :].clone())
        return results

    def _products(self, fields: Blank, N: int, vector: Node) -> Tensor:
        """The sum over steps and rows of N derivatives times the vector that a product multiplied."""
        result = self.x.new_zeros(N, self.H)
        self._meet(fields, "ih", self.gates, self.layout.ways["gates"])
        fields["met_ih"] += self.cell.plan.columns[vector] * self.H * self.x.itemsize
        fields["N"], fields["M_ih"], fields["c_ih"] = N, self.H, result.data_ptr()
        self._sum_up(fields, self.H)
        return result

    def _by_vectors(self) -> list[Tensor]:
        if not self.walk.cell.vectors:
            return []
        found = [self.x.new_zeros(self.H) for _ in self.walk.cell.vectors]
        sums = self.by_vectors.sum(0).view(-1, self.H)
        for by_vector, numbers in zip(sums, self.cell.plan.by_vectors.values(), strict=True):
            for n in numbers:
                found[n] = by_vector.clone()  # a copy, because torch may add to it in place
        return found


def _those(gradients: Sequence[Tensor | None], needed: Sequence[bool]) -> tuple[Tensor | None, ...]:
    """Replace gradients that are not needed by None."""
    return tuple(by if need else None for by, need in zip(gradients, needed, strict=True))


def addresses(rows: Tensor, *places: Table) -> Table:
    """The addresses of rows (of the last axis) at some positions. An axis of size 1 counts as expanded."""
    found: Table = np.array(rows.data_ptr())
    for size, stride, place in zip(rows.shape, rows.stride(), places, strict=False):
        found = found + place * (stride * rows.itemsize if size > 1 else 0)
    return found


def graph_is_kept() -> bool:
    """Whether the running backward pass keeps its graph; True if torch does not tell."""
    ask = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return True if ask is None else bool(ask())
