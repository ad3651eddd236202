"""Calls of the backward kernel with tensors, and the gradients by the weights after it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from gatewise.compiler import outer
from gatewise.compiler.program import worth
from gatewise.nn.kernels import Call, Problem, address


class Backward(Problem):
    """One run of the backward kernel, and the products over all steps after it."""

    def __init__(
        self,
        call: Call,
        tensors: Sequence[Tensor],
        tape: Sequence[Tensor],
        needed: Sequence[bool],
        by_results: Sequence[Tensor | None],
    ) -> None:
        super().__init__(call, tensors)
        self.needed = needed
        gates, *self.state_steps = tape
        plan = self.cell.plan
        if plan.keeps:
            self.give("gates", gates)
        self.slots = len(plan.slots)
        # Derivatives take the place of the gates, unless the graph is to be walked again (retain_graph=True).
        in_place = plan.keeps and not call.cell.vectors and not _graph_is_kept()
        width = (self.slots + len(call.cell.vectors)) * self.H
        self.derivatives = gates if in_place else self.sequence(width)
        self.give("derivatives", self.derivatives)
        for name, steps in zip(call.cell.states, self.state_steps, strict=True):
            self.give(f"out_{name}", steps)
        self._give_output_derivative(by_results[0])
        # By each state as it enters the first step; what resets bring to the initial states comes apart.
        self.carries, self.by_resets = list[Tensor](), list[Tensor]()
        for name, by_final in zip(call.cell.states, by_results[1:], strict=False):
            given = self.x.new_zeros(self.B, self.H) if by_final is None else by_final
            self.carries.append(given.clone(memory_format=torch.contiguous_format))
            self.fields[f"carry_{name}"] = address(self.carries[-1])
            if call.reset is not None and self.states:
                self.by_resets.append(self.x.new_zeros(self.B, self.H))
                self.fields[f"dinit_{name}"] = address(self.by_resets[-1])
        self.dx = self.sequence(self.I) if needed[0] else None
        if self.dx is not None:
            self.give("dx", self.dx)
        self.give_scratch(self.cell.backward_scratch(self.I, self.H))
        self.fields["zeros"] = address(self.zeros)
        self.cell.backward(self.team.threads, self.fields)

    def _give_output_derivative(self, dout: Tensor | None) -> None:
        if dout is None:
            self.fields |= {"dout": address(self.zeros), "dout.t": 0, "dout.b": 0}
            return
        self.dout = dout if dout.stride(-1) == 1 else dout.contiguous()
        self.give("dout", self.dout)

    def gradients(self) -> Iterator[Tensor | None]:
        """By each tensor of the call, None where it is not needed."""
        by_tensor: list[Callable[[], Tensor | None]] = [
            lambda: self.dx,
            self._by_weight_ih,
            self._by_weight_hh,
        ]
        if self.call.biased:
            by_tensor += [self._by_bias_ih, self._by_bias_hh]
        by_tensor += [functools.partial(self._by_vector, n) for n in range(len(self.call.cell.vectors))]
        by_tensor += [functools.partial(self._by_state, n) for n in range(len(self.states))]
        return (make() if need else None for make, need in zip(by_tensor, self.needed, strict=True))

    def _by_state(self, n: int) -> Tensor:
        return self.carries[n] + self.by_resets[n] if self.by_resets else self.carries[n]

    def _by_weight_ih(self) -> Tensor:
        pairs = [(self._time_first(self.derivatives), self._time_first(self.x))]
        return self._outer(self.weights.weight_ih, self.cell.plan.rows_ih, 0, pairs)

    def _by_weight_hh(self) -> Tensor:
        rows = self.cell.plan.rows_hh
        first_slot = self.slots - len(rows)
        return self._outer(self.weights.weight_hh, rows, first_slot, list(self._with_entering()))

    def _time_first(self, sequence: Tensor) -> Tensor:
        """As ``[T, B, width]``; packed, all rows as those of one step."""
        if self.walk is not None:
            return sequence.unsqueeze(0)
        return sequence.transpose(0, 1) if self.call.batch_first else sequence

    def _outer(
        self, like: Tensor, rows: Sequence[int], first_slot: int, pairs: Sequence[tuple[Tensor, Tensor]]
    ) -> Tensor:
        """The gradient by a weight matrix: outer products of derivatives and what they met, summed."""
        result = torch.zeros_like(like)
        for (start, stop), block in _runs(rows):
            for derivatives, met in pairs:
                columns = slice((first_slot + start) * self.H, (first_slot + stop) * self.H)
                self._add_outer(result[block * self.H :], derivatives[..., columns], met)
        return result

    def _add_outer(self, to: Tensor, derivatives: Tensor, met: Tensor) -> None:
        """Add ``sum over t, b of derivatives[t, b, n] * met[t, b, m]`` to the first n rows of `to`."""
        T, B, N = derivatives.shape
        M = met.size(2)
        fields = {"T": T, "B": B, "N": N, "M": M, "c": to.data_ptr(), "c_n": M, "chunk": outer.chunk(B)}
        for name, steps in (("a", derivatives), ("x", met)):
            fields |= {name: address(steps), f"{name}.t": steps.stride(0), f"{name}.b": steps.stride(1)}
        self.cell.outer(worth(torch.get_num_threads(), N, T * B * N * M), fields)

    def _with_entering(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Derivatives of steps beside the outputs that entered them."""
        output, derivatives = self._time_first(self.state_steps[0]), self._time_first(self.derivatives)
        if self.walk is not None or self.call.reset is not None:
            yield derivatives, self._entering(output)
            return
        n = self.T - 1
        later, earlier, first = (0, 1, n) if self.call.reverse else (1, 0, 0)
        if self.states:
            yield derivatives.narrow(0, first, 1), self.states[0].unsqueeze(0)
        yield derivatives.narrow(0, later, n), output.narrow(0, earlier, n)

    def _entering(self, output: Tensor) -> Tensor:
        """The outputs ``[T, B, H]`` that entered each step, where some rows entered it anew."""
        initial = self.states[0] if self.states else self.x.new_zeros(self.B, self.H)
        reset = self.call.reset
        if self.walk is not None:
            anew, rows = self.walk.before < 0, self.walk.rows
            anew = anew if reset is None else anew | reset
            entering = output[0].index_select(0, self.walk.before.clamp(min=0))
            entering[anew] = initial[rows[anew]]
            return entering.unsqueeze(0)
        entering = output.roll(-1 if self.call.reverse else 1, 0)
        entering[-1 if self.call.reverse else 0] = initial
        if reset is not None:
            steps, rows = (reset.T if self.call.batch_first else reset).nonzero(as_tuple=True)
            entering[steps, rows] = initial[rows]
        return entering

    @functools.cached_property
    def _sums(self) -> Tensor:
        """The derivatives summed over steps and rows, by slot and vector."""
        return self.derivatives.sum(tuple(range(self.derivatives.dim() - 1))).view(-1, self.H)

    def _by_bias_ih(self) -> Tensor:
        return self._by_rows(self.cell.plan.rows_ih, 0)

    def _by_bias_hh(self) -> Tensor:
        rows = self.cell.plan.rows_hh
        return self._by_rows(rows, self.slots - len(rows))

    def _by_rows(self, rows: Sequence[int], first_slot: int) -> Tensor:
        """The sums of consecutive slots, in the order of their blocks of rows."""
        return self._sums[[first_slot + rows.index(block) for block in range(len(rows))]].flatten()

    def _by_vector(self, n: int) -> Tensor:
        return self._sums[self.slots + n]


def _runs(blocks: Sequence[int]) -> Iterator[tuple[tuple[int, int], int]]:
    """Runs of slots whose blocks of rows follow each other: (first and last slot, first block)."""
    start = 0
    for n in range(1, len(blocks) + 1):
        if n == len(blocks) or blocks[n] != blocks[n - 1] + 1:
            yield (start, n), blocks[start]
            start = n


def _graph_is_kept() -> bool:
    """Whether the running backward pass leaves its graph usable; True where torch does not tell."""
    ask = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return True if ask is None else bool(ask())
