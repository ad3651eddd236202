"""Calls of the forward kernel with tensors.

Tensors go to the kernels as addresses and strides: nothing is copied or transposed, `batch_first` is a matter
of strides, and the second direction of a layer is the same kernel with time strides below zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gatewise.compiler.memory import prefer_huge_pages
from gatewise.compiler.program import Program, compiled, room, split, worth
from gatewise.language import Cell
from gatewise.nn.listening import here
from gatewise.nn.memory import scratch, zeros
from gatewise.nn.obstacles import COMPILED
from gatewise.nn.packed_steps import PackedSteps
from gatewise.nn.weights import Walk, Weights

_SMALL_WEIGHTS = 1 << 20  # bytes, of which two threads can keep their own in the second-level caches


class Call(NamedTuple):
    """What a scan is asked to do, apart from its tensors."""

    cell: Cell
    reverse: bool
    batch_first: bool
    record: tuple[str, ...]
    biased: bool
    reset: Tensor | None
    batch_sizes: Tensor | None
    given: bool  # whether initial states are

    @classmethod
    def of(cls, walk: Walk) -> Call:
        """The call that makes a walk."""
        biased, given = walk.weights.bias_ih is not None, walk.states is not None
        return cls(
            walk.cell, walk.reverse, walk.batch_first, tuple(walk.record), biased,
            walk.reset, walk.batch_sizes, given,
        )  # fmt: skip

    @property
    def tensors(self) -> int:
        """How many tensors it takes."""
        return 3 + 2 * self.biased + len(self.cell.vectors) + len(self.cell.states) * self.given

    def unpack(self, tensors: Sequence[Tensor]) -> tuple[Tensor, Weights, tuple[Tensor, ...]]:
        """x, weights and states from their flat sequence (the inverse of `flat`)."""
        x, weight_ih, weight_hh, *rest = tensors
        bias_ih, bias_hh = (rest.pop(0), rest.pop(0)) if self.biased else (None, None)
        vectors = tuple(rest[: len(self.cell.vectors)])
        weights = Weights(weight_ih, weight_hh, bias_ih, bias_hh, vectors)
        return x, weights, tuple(rest[len(vectors) :])


def flat(x: Tensor, weights: Weights, states: Sequence[Tensor]) -> list[Tensor]:
    """The tensors of a call in one sequence, as autograd wants them."""
    biases = [bias for bias in (weights.bias_ih, weights.bias_hh) if bias is not None]
    return [x, weights.weight_ih, weights.weight_hh, *biases, *weights.vectors, *states]


class Problem:
    """The sizes of a call, its compiled cell, and how tensors are handed over."""

    program: Program

    def __init__(self, call: Call, tensors: Sequence[Tensor]) -> None:
        self.call = call
        x, *others = tensors
        x = x if x.stride(-1) == 1 else x.contiguous()
        self.x, self.weights, self.states = call.unpack([x, *(t.contiguous() for t in others)])
        self.cell = compiled(call.cell, COMPILED[self.x.dtype])
        self.packed = None if call.batch_sizes is None else PackedSteps(call.batch_sizes, call.reverse)
        self.T, self.B, self.I = self._sizes()
        self.H = self.weights.weight_ih.size(0) // len(call.cell.input_gates)
        self.team = self.cell.team(
            torch.get_num_threads(), self.T, self.B, self.I, self.H, self.packed is not None
        )
        self.zeros = zeros(self.cell.padded(max(self.I, self.H)), self.x)
        self.chunk = min(self.T, self.cell.chunk(self.B, self.H, self.team.rows_apart))
        self.fields: dict[str, int] = {
            "T": self.T, "B": self.B, "I": self.I, "H": self.H, "chunk": self.chunk,
            "by_units": int(self.team.by_units),
            "w_ih": address(self.weights.weight_ih), "w_hh": address(self.weights.weight_hh),
            "b_ih": address(self.weights.bias_ih), "b_hh": address(self.weights.bias_hh),
        }  # fmt: skip
        for name, vector in zip(call.cell.vectors, self.weights.vectors, strict=True):
            self.fields[f"vector_{name}"] = address(vector)
        for n, name in enumerate(call.cell.states):
            # Initial states that are not given are a single row of zeros, read for every row of the batch.
            init = self.states[n] if self.states else self.zeros
            self.fields |= {f"init_{name}": address(init), f"init_{name}.b": self.H if self.states else 0}

        if self.packed is not None:
            self.fields |= {"starts": address(self.packed.starts), "counts": address(self.packed.counts)}
        if call.reset is not None:
            self.give("resets", call.reset)

    @property
    def weights_read(self) -> int:
        """Weights that a row meets at each step."""
        return len(self.cell.plan.slots) * self.H * (self.H + self.I)

    def _sizes(self) -> tuple[int, int, int]:
        """T, B and I."""
        if self.call.batch_sizes is not None:
            return len(self.call.batch_sizes), int(self.call.batch_sizes[0]), self.x.size(1)
        batch, time = (0, 1) if self.call.batch_first else (1, 0)
        return self.x.size(time), self.x.size(batch), self.x.size(2)

    def sequence(self, width: int) -> Tensor:
        """An uninitialised sequence in the layout of x, so wide."""
        sequence = self.x.new_empty((*self.x.shape[:-1], width))
        prefer_huge_pages(sequence.data_ptr(), sequence.nbytes)
        return sequence

    def give(self, name: str, sequence: Tensor, batch_first: bool | None = None) -> None:
        """Hand a sequence over under `name`: its first step, and its strides in the order of the walk."""
        if self.packed is not None:
            self.fields |= {name: sequence.data_ptr(), f"{name}.t": 1, f"{name}.b": sequence.stride(0)}
            return
        batch_first = self.call.batch_first if batch_first is None else batch_first
        batch, time = (0, 1) if batch_first else (1, 0)
        step = sequence.stride(time)
        last = (self.T - 1) * step * sequence.itemsize if self.call.reverse else 0
        self.fields[name] = sequence.data_ptr() + last
        self.fields[f"{name}.t"] = -step if self.call.reverse else step
        self.fields[f"{name}.b"] = sequence.stride(batch)

    def give_scratch(self, sizes: dict[str, int]) -> None:
        """Hand over scratch memory, with room for the states that enter a step where that is needed."""
        if self.packed is not None or self.call.reset is not None:
            sizes |= {f"entering_{state}": self.B * self.H for state in self.call.cell.states}
        self.scratch = scratch(room(sizes, self.x.itemsize), self.x, lane=int(self.call.reverse))
        self.fields |= split(self.scratch.data_ptr(), sizes, self.x.itemsize)


class Forward(Problem):
    """One call of the forward kernel, to be `run`; with `keep` it keeps what backward reads."""

    def __init__(self, call: Call, tensors: Sequence[Tensor], keep: bool) -> None:
        super().__init__(call, tensors)
        width = len(self.cell.plan.slots) * self.H
        sizes = self.cell.forward_scratch(self.I, self.H)
        keep_gates = keep and self.cell.plan.keeps
        if self.cell.joins(self.T, self.B // self.team.threads) and not self.team.by_units:
            sizes["joined"] = self.B * (self.I + self.H)
            self.chunk, self.fields["chunk"] = 1, self.T
        elif not keep_gates:
            sizes["gates"] = self.chunk * self.B * width
        self.give_scratch(sizes)
        self.gates = self.sequence(width) if keep_gates else self.x.new_empty(0)
        if keep_gates:
            self.give("gates", self.gates)
        else:
            self.fields |= {"gates.t": self.B * width, "gates.b": width}
        self.give("x", self.x)
        # Of the states behind the output only backward needs more than the last step.
        self.state_steps, self.finals = [self.sequence(self.H)], list[Tensor]()
        self.give(f"out_{call.cell.states[0]}", self.state_steps[0])
        for name in call.cell.states[1:]:
            self._give_state(f"out_{name}", keep)
        shape = (self.T, self.B, self.H) if self.packed is None else (len(self.x), self.H)
        self.recorded = [self.x.new_empty(shape) for _ in call.record]
        for name, values in zip(call.record, self.recorded, strict=True):
            self.give("watch", values, batch_first=False)
            self.fields[f"watch_{name}"] = self.fields["watch"]
        self.fields |= {"keep": int(keep_gates), "watch": int(bool(call.record))}
        self.program = self.cell.forward
        for listener in here.listeners:
            listener.kernel(self, tensors)

    def _give_state(self, name: str, keep: bool) -> None:
        if keep:
            self.state_steps.append(self.sequence(self.H))
            self.give(name, self.state_steps[-1])
        else:
            self.finals.append(self.x.new_empty(self.B, self.H))
            self.fields |= {name: address(self.finals[-1]), f"{name}.t": 0, f"{name}.b": self.H}

    def tape(self) -> tuple[Tensor, ...]:
        """What backward reads: gates, and each state at every step."""
        return self.gates, *self.state_steps

    def results(self) -> tuple[Tensor, ...]:
        """The output, the final states, the recorded values."""
        kept = [self._last(steps) for steps in self.state_steps]
        return self.state_steps[0], *kept, *self.finals, *self.recorded

    def _last(self, steps: Tensor) -> Tensor:
        """The last step of a sequence, a row's own where rows have different lengths."""
        if self.packed is not None:
            return steps.index_select(0, self.packed.last)
        last = 0 if self.call.reverse else self.T - 1
        return steps.select(1 if self.call.batch_first else 0, last).clone()


def run(*problems: Problem) -> None:
    """Run calls of one kernel, side by side where that pays.

    One thread for each call has nothing to wait for; but large weights are better divided than doubled.
    """
    if len(problems) == 1:
        (problem,) = problems
        problem.program(problem.team.threads, problem.fields)
        return
    work = sum(problem.weights_read * problem.B * problem.T for problem in problems)
    small = all(problem.weights_read * problem.x.itemsize <= _SMALL_WEIGHTS for problem in problems)
    if small and worth(torch.get_num_threads(), len(problems), work) == len(problems):
        for listener in here.listeners:
            listener.side_by_side(problems)
        problems[0].program.side_by_side([problem.fields for problem in problems])
        return
    for problem in problems:
        problem.program(problem.team.threads, problem.fields)


def address(tensor: Tensor | None) -> int:
    """Where its elements are; 0 for None."""
    return 0 if tensor is None else tensor.data_ptr()
