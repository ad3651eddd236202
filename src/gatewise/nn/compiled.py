"""The compiled kernels behind torch's autograd.

Tensors go to the kernels as addresses and strides: nothing is copied or transposed, `batch_first` is a matter
of strides, and the second direction of a layer is the same kernel with time strides below zero.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from gatewise.compiler import outer
from gatewise.compiler.memory import prefer_huge_pages
from gatewise.compiler.program import CompiledCell, compiled, room, split
from gatewise.language import Cell
from gatewise.nn import eager
from gatewise.nn.weights import Scanned, Weights

_NAMES = {torch.float32: "float32", torch.float64: "float64"}
_memory = threading.local()


def can_run(x: Tensor, weights: Weights, states: Sequence[Tensor]) -> bool:
    """Whether the kernels serve this call: plain CPU tensors of one type, and no transform around them."""
    tensors = [x, *states, *weights.vectors, *(w for w in weights[:4] if isinstance(w, Tensor))]
    return (
        weights.weight_hr is None
        and x.dtype in _NAMES
        and all(t.dtype == x.dtype and t.device.type == "cpu" and type(t) in _PLAIN for t in tensors)
        and torch._C._functorch.peek_interpreter_stack() is None
        and torch.autograd.forward_ad._current_level < 0
    )


_PLAIN = (Tensor, torch.nn.Parameter)


class _Call(NamedTuple):
    """What a scan is asked to do, apart from its tensors."""

    cell: Cell
    reverse: bool
    batch_first: bool
    record: tuple[str, ...]
    given_states: bool
    biased: bool

    def unpack(self, tensors: Sequence[Tensor]) -> tuple[Tensor, Weights, tuple[Tensor, ...]]:
        """x, weights and states from their flat sequence (the inverse of `_flat`)."""
        x, weight_ih, weight_hh, *rest = tensors
        biases = (rest.pop(0), rest.pop(0)) if self.biased else (None, None)
        vectors = tuple(rest[: len(self.cell.vectors)])
        return x, Weights(weight_ih, weight_hh, *biases, vectors), tuple(rest[len(vectors) :])


def _flat(x: Tensor, weights: Weights, states: Sequence[Tensor]) -> list[Tensor]:
    biases = [bias for bias in (weights.bias_ih, weights.bias_hh) if bias is not None]
    return [x, weights.weight_ih, weights.weight_hh, *biases, *weights.vectors, *states]


def scan(
    cell: Cell,
    x: Tensor,
    weights: Weights,
    states: tuple[Tensor, ...] | None,
    *,
    reverse: bool,
    batch_first: bool,
    record: Sequence[str],
) -> Scanned:
    """As `gatewise.nn.scan.scan`, for calls that `can_run` accepts."""
    call = _Call(cell, reverse, batch_first, tuple(record), states is not None, weights.bias_ih is not None)
    tensors = _flat(x, weights, states or ())
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        output, *rest = _Scan.apply(call, *tensors)
    else:
        output, *rest = _Forward(call, tensors, keep=False).results()
    finals, recorded = rest[: len(cell.states)], rest[len(cell.states) :]
    return Scanned(output, tuple(finals), dict(zip(record, recorded, strict=True)))


@final
class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        forward = _Forward(call, tensors, keep=True)
        ctx.call = call
        ctx.tensors = len(tensors)
        ctx.save_for_backward(*tensors, *forward.tape())
        ctx.set_materialize_grads(False)
        results = forward.results()
        ctx.mark_non_differentiable(*results[1 + len(call.cell.states) :])
        return results

    @staticmethod
    def backward(ctx: Any, *by_results: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        tensors, tape = saved[: ctx.tensors], saved[ctx.tensors :]
        needed = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():
            return None, *_differentiable_backward(ctx.call, tensors, needed, by_results)
        return None, *_Backward(ctx.call, tensors, tape, needed, by_results).gradients()


def _differentiable_backward(
    call: _Call, tensors: Sequence[Tensor], needed: Sequence[bool], by_results: Sequence[Tensor | None]
) -> Iterator[Tensor | None]:
    """The gradient as torch operations, for those who differentiate it again (``create_graph=True``)."""
    x, weights, states = call.unpack(tensors)
    again = eager.scan(
        call.cell, x, weights, states or None, reverse=call.reverse, batch_first=call.batch_first
    )
    pairs = zip((again.output, *again.states), by_results, strict=False)
    outputs, by_outputs = zip(*((y, d) for y, d in pairs if d is not None), strict=True)
    wanted = [t for t, need in zip(tensors, needed, strict=True) if need]
    found = iter(torch.autograd.grad(outputs, wanted, by_outputs, create_graph=True, allow_unused=True))
    return (next(found) if need else None for need in needed)


class _Problem:
    """The sizes of a call, its compiled cell, and how tensors are handed over."""

    def __init__(self, call: _Call, tensors: Sequence[Tensor]) -> None:
        self.call = call
        self.x, weights, states = call.unpack(tensors)
        if self.x.stride(-1) != 1:
            self.x = self.x.contiguous()
        self.weights = Weights(
            *(_contiguous(w) for w in weights[:4]), tuple(map(_contiguous, weights.vectors))
        )  # type: ignore[arg-type]
        self.cell: CompiledCell = compiled(call.cell, _NAMES[self.x.dtype])
        batch, time = (0, 1) if call.batch_first else (1, 0)
        self.T, self.B, self.I = self.x.size(time), self.x.size(batch), self.x.size(2)
        self.H = self.weights.weight_ih.size(0) // len(call.cell.input_gates)
        self.states = [s.contiguous() for s in states]
        self.threads = self.cell.threads(torch.get_num_threads(), self.T, self.B, self.I, self.H)
        self.zeros = _zeros(self.x, self.cell.padded(max(self.I, self.H)))
        self.chunk = min(self.T, self.cell.chunk(self.B, self.H, self.threads))
        self.fields: dict[str, int] = {
            "T": self.T, "B": self.B, "I": self.I, "H": self.H, "chunk": self.chunk,
            "w_ih": _address(self.weights.weight_ih), "w_hh": _address(self.weights.weight_hh),
            "b_ih": _address(self.weights.bias_ih), "b_hh": _address(self.weights.bias_hh),
        }  # fmt: skip
        for name, vector in zip(call.cell.vectors, self.weights.vectors, strict=True):
            self.fields[f"vector_{name}"] = _address(vector)
        for n, name in enumerate(call.cell.states):
            # Initial states that are not given are a single row of zeros, read for every row of the batch.
            init = self.states[n] if states else self.zeros
            self.fields |= {f"init_{name}": _address(init), f"init_{name}_b": self.H if states else 0}

    def sequence(self, width: int) -> Tensor:
        """An uninitialised ``[T, B, width]``, or ``[B, T, width]`` with `batch_first`."""
        sizes = (self.B, self.T, width) if self.call.batch_first else (self.T, self.B, width)
        sequence = self.x.new_empty(sizes)
        prefer_huge_pages(sequence.data_ptr(), sequence.nbytes)
        return sequence

    def give(self, name: str, sequence: Tensor, batch_first: bool | None = None) -> None:
        """Hand a sequence over under `name`: its first step, and its strides in the order of the walk."""
        batch_first = self.call.batch_first if batch_first is None else batch_first
        batch, time = (0, 1) if batch_first else (1, 0)
        step = sequence.stride(time)
        last = (self.T - 1) * step * sequence.itemsize if self.call.reverse else 0
        self.fields[name] = sequence.data_ptr() + last
        self.fields[f"{name}_t"] = -step if self.call.reverse else step
        self.fields[f"{name}_b"] = sequence.stride(batch)

    def give_scratch(self, sizes: dict[str, int]) -> None:
        """Hand over scratch memory."""
        self.scratch = _scratch(room(sizes, self.x.itemsize), self.x)
        self.fields |= split(self.scratch.data_ptr(), sizes, self.x.itemsize)


class _Forward(_Problem):
    """One run of the forward kernel; with `keep` it keeps what backward reads."""

    def __init__(self, call: _Call, tensors: Sequence[Tensor], keep: bool) -> None:
        super().__init__(call, tensors)
        width = len(self.cell.plan.slots) * self.H
        sizes = self.cell.forward_scratch(self.I, self.H)
        keep_gates = keep and self.cell.plan.keeps
        if not keep_gates:
            sizes["gates"] = self.chunk * self.B * width
        self.give_scratch(sizes)
        self.gates = self.sequence(width) if keep_gates else self.x.new_empty(0)
        if keep_gates:
            self.give("gates", self.gates)
        else:
            self.fields |= {"gates_t": self.B * width, "gates_b": width}
        self.give("x", self.x)
        # Of the states behind the output only backward needs more than the last step.
        self.state_steps = [self.sequence(self.H)]
        self.give(f"out_{call.cell.states[0]}", self.state_steps[0])
        for name in call.cell.states[1:]:
            self._give_state(f"out_{name}", keep)
        self.recorded = [self.x.new_empty(self.T, self.B, self.H) for _ in call.record]
        for name, values in zip(call.record, self.recorded, strict=True):
            self.give("watch", values, batch_first=False)
            self.fields[f"watch_{name}"] = self.fields["watch"]
        self.fields |= {"keep": int(keep_gates), "watch": int(bool(call.record))}
        self.cell.forward(self.threads, self.fields)

    def _give_state(self, name: str, keep: bool) -> None:
        if keep:
            self.state_steps.append(self.sequence(self.H))
            self.give(name, self.state_steps[-1])
        else:
            self.state_steps.append(self.x.new_empty(self.B, self.H))
            self.fields |= {name: self.state_steps[-1].data_ptr(), f"{name}_t": 0, f"{name}_b": self.H}

    def tape(self) -> tuple[Tensor, ...]:
        """What backward reads: gates, and each state at every step."""
        return self.gates, *self.state_steps

    def results(self) -> tuple[Tensor, ...]:
        """The output, the final states, the recorded values."""
        last = 0 if self.call.reverse else self.T - 1
        time = 1 if self.call.batch_first else 0
        finals = [s if s.dim() == 2 else s.select(time, last).clone() for s in self.state_steps]
        return self.state_steps[0], *finals, *self.recorded


class _Backward(_Problem):
    """One run of the backward kernel, and the products over all steps after it."""

    def __init__(
        self,
        call: _Call,
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
            carry = self.x.new_zeros(self.B, self.H) if by_final is None else _copy(by_final)
            self.carries.append(carry)
            self.fields[f"carry_{name}"] = carry.data_ptr()
        self.dx = self.sequence(self.I) if needed[0] else None
        if self.dx is not None:
            self.give("dx", self.dx)
        self.give_scratch(self.cell.backward_scratch(self.I, self.H))
        self.fields["zeros"] = _address(self.zeros)
        self.cell.backward(self.threads, self.fields)

    def _give_output_derivative(self, dout: Tensor | None) -> None:
        if dout is None:
            self.fields |= {"dout": _address(self.zeros), "dout_t": 0, "dout_b": 0}
            return
        self.dout = dout if dout.stride(-1) == 1 else dout.contiguous()
        self.give("dout", self.dout)

    def gradients(self) -> Iterator[Tensor | None]:
        """By each tensor of the call, None where it is not needed."""
        makers = [lambda: self.dx, self._by_weight_ih, self._by_weight_hh]
        if self.call.biased:
            makers += [self._by_bias_ih, self._by_bias_hh]
        makers += [lambda n=n: self._by_vector(n) for n in range(len(self.call.cell.vectors))]  # type: ignore[misc]
        makers += [lambda c=c: c for c in self.carries[: len(self.states)]]  # type: ignore[misc]
        return (make() if need else None for make, need in zip(makers, self.needed, strict=True))

    def _rows(self, sequence: Tensor) -> Tensor:
        return sequence.reshape(self.T * self.B, sequence.size(-1))

    def _columns(self, first: int, last: int) -> slice:
        return slice(first * self.H, last * self.H)

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
        for (start, stop), (first_block, _) in _runs(rows):
            for derivatives, met in pairs:
                T, B, N, M = *self._sizes(derivatives), (stop - start) * self.H, met.size(-1)
                fields = {"T": T, "B": B, "N": N, "M": M, "chunk": max(1, outer.ROWS // max(B, 1))}
                column = (first_slot + start) * self.H
                fields |= self._strided("a", derivatives, column) | self._strided("x", met)
                fields |= {"c": result[first_block * self.H :].data_ptr(), "c_n": M}
                self.cell.outer(self.threads, fields)
        return result

    def _sizes(self, sequence: Tensor) -> tuple[int, int]:
        T, B = sequence.shape[:2]
        return (B, T) if self.call.batch_first else (T, B)

    def _strided(self, name: str, sequence: Tensor, column: int = 0) -> dict[str, int]:
        batch, time = (0, 1) if self.call.batch_first else (1, 0)
        address = sequence.data_ptr() + column * sequence.itemsize
        return {name: address, f"{name}_t": sequence.stride(time), f"{name}_b": sequence.stride(batch)}

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
        """The derivatives summed over steps and rows, by slot and vector: the outer product with ones."""
        width = self.derivatives.size(-1)
        result, one = self.x.new_zeros(width), self.x.new_ones(1)
        fields = self._strided("a", self.derivatives) | {"x": one.data_ptr()}
        fields |= {"T": self.T, "B": self.B, "N": width, "M": 1, "chunk": max(1, outer.ROWS // max(self.B, 1))}
        self.cell.outer(self.threads, fields | {"c": result.data_ptr(), "c_n": 1})
        return result.view(-1, self.H)

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


def _runs(blocks: Sequence[int]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Runs of slots whose blocks of rows follow each other: (first and last slot, first and last block)."""
    start = 0
    for n in range(1, len(blocks) + 1):
        if n == len(blocks) or blocks[n] != blocks[n - 1] + 1:
            yield (start, n), (blocks[start], blocks[n - 1] + 1)
            start = n


def _graph_is_kept() -> bool:
    """Whether the running backward pass leaves its graph usable; True where torch does not tell."""
    ask = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return True if ask is None else bool(ask())


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def _copy(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)


def _zeros(like: Tensor, size: int) -> Tensor:
    """At least `size` zeros that nobody writes to, kept for the next call."""
    return _kept("zeros", like, size, torch.zeros)


def _scratch(size: int, like: Tensor) -> Tensor:
    """Memory for the time of one kernel, kept for this thread's next call."""
    return _kept("scratch", like, size, torch.empty)


def _kept(name: str, like: Tensor, size: int, make: Any) -> Tensor:
    key = f"{name}_{like.dtype}"
    tensor: Tensor | None = getattr(_memory, key, None)
    if tensor is None or tensor.numel() < size:
        tensor = make(size, dtype=like.dtype)
        prefer_huge_pages(tensor.data_ptr(), tensor.nbytes)
        setattr(_memory, key, tensor)
    return tensor
