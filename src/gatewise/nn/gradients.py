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
        self.carries = []
        for name, by_final in zip(call.cell.states, by_results[1:], strict=False):
            carry = self.x.new_zeros(self.B, self.H)
            if by_final is not None:
                carry.copy_(by_final)
            self.carries.append(carry)
            self.fields[f"carry_{name}"] = carry.data_ptr()
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
        by_tensor += [functools.partial(self.carries.__getitem__, n) for n in range(len(self.states))]
        return (make() if need else None for make, need in zip(by_tensor, self.needed, strict=True))

    def _by_weight_ih(self) -> Tensor:
        return self._outer(self.weights.weight_ih, self.cell.plan.rows_ih, 0, [(self.derivatives, self.x)])

    def _by_weight_hh(self) -> Tensor:
        rows = self.cell.plan.rows_hh
        return self._outer(
            self.weights.weight_hh, rows, self.slots - len(rows), list(self._with_previous_output())
        )

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
        T, B = derivatives.shape[:2]
        T, B = (B, T) if self.call.batch_first else (T, B)
        N, M = derivatives.size(-1), met.size(-1)
        fields = {"T": T, "B": B, "N": N, "M": M, "c": to.data_ptr(), "c_n": M, "chunk": outer.chunk(B)}
        fields |= self._strided("a", derivatives) | self._strided("x", met)
        self.cell.outer(worth(torch.get_num_threads(), N, T * B * N * M), fields)

    def _strided(self, name: str, sequence: Tensor) -> dict[str, int]:
        batch, time = (0, 1) if self.call.batch_first else (1, 0)
        strides = {f"{name}.t": sequence.stride(time), f"{name}.b": sequence.stride(batch)}
        return {name: sequence.data_ptr(), **strides}

    def _with_previous_output(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Derivatives of steps beside the output that entered them."""
        time = 1 if self.call.batch_first else 0
        later, earlier = (0, 1) if self.call.reverse else (1, 0)
        output, n = self.state_steps[0], self.T - 1
        if self.states:
            first = self.derivatives.narrow(time, n if self.call.reverse else 0, 1)
            yield first, self.states[0].unsqueeze(time)
        yield self.derivatives.narrow(time, later, n), output.narrow(time, earlier, n)

    @functools.cached_property
    def _sums(self) -> Tensor:
        """The derivatives summed over steps and rows, by slot and vector."""
        return self.derivatives.sum((0, 1)).view(-1, self.H)

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
