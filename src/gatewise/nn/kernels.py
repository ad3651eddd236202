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
from gatewise.nn.chance import Chance
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
    chance: Chance | None
    restart: tuple[Tensor, ...] | None = None  # what reset rows begin from, if not from the initial states

    @classmethod
    def of(cls, walk: Walk) -> Call:
        """The call that makes a walk, from whose own initial states reset rows begin."""
        assert walk.restart is None
        biased, given = walk.weights.bias_ih is not None, walk.states is not None
        return cls(
            walk.cell, walk.reverse, walk.batch_first, tuple(walk.record), biased,
            walk.reset, walk.batch_sizes, given, walk.chance,
        )  # fmt: skip

    @property
    def tensors(self) -> int:
        """How many tensors it takes."""
        linear = (1 + self.biased) * bool(self.cell.linears)
        weights = 2 + 2 * self.biased + len(self.cell.vectors) + self.cell.projects + linear
        return 1 + weights + len(self.cell.states) * self.given

    def unpack(self, tensors: Sequence[Tensor]) -> tuple[Tensor, Weights, tuple[Tensor, ...]]:
        """x, weights and states from their flat sequence (the inverse of `flat`)."""
        x, weight_ih, weight_hh, *rest = tensors
        bias_ih, bias_hh = (rest.pop(0), rest.pop(0)) if self.biased else (None, None)
        vectors = tuple(rest[: len(self.cell.vectors)])
        del rest[: len(vectors)]
        weight_hr = rest.pop(0) if self.cell.projects else None
        weight_linear = rest.pop(0) if self.cell.linears else None
        bias_linear = rest.pop(0) if self.cell.linears and self.biased else None
        weights = Weights(
            weight_ih, weight_hh, bias_ih, bias_hh, vectors, weight_hr, weight_linear, bias_linear
        )
        return x, weights, tuple(rest)


def flat(x: Tensor, weights: Weights, states: Sequence[Tensor]) -> list[Tensor]:
    """The tensors of a call in one sequence, as autograd wants them."""
    return [x, *weights.flat, *states]


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
        self.P = self.H if self.weights.weight_hr is None else self.weights.weight_hr.size(0)
        self.widths = dict.fromkeys(call.cell.states, self.H) | {call.cell.states[0]: self.P}
        self.team = self.cell.team(
            torch.get_num_threads(), self.T, self.B, self.I, self.H, self.packed is not None
        )
        self.zeros = zeros(self.cell.padded(max(self.I, self.H)), self.x)
        self.chunk = min(self.T, self.cell.chunk(self.B, self.H, self.team.rows_apart))
        self.fields: dict[str, int] = {
            "T": self.T, "B": self.B, "I": self.I, "H": self.H, "P": self.P, "chunk": self.chunk,
            "by_units": int(self.team.by_units),
            "w_ih": address(self.weights.weight_ih), "w_hh": address(self.weights.weight_hh),
            "b_ih": address(self.weights.bias_ih), "b_hh": address(self.weights.bias_hh),
            "w_linear": address(self.weights.weight_linear), "b_linear": address(self.weights.bias_linear),
            "w_hr": address(self.weights.weight_hr),
        }  # fmt: skip
        if call.chance is not None:
            self.fields |= call.chance._asdict()
        for name, vector in zip(call.cell.vectors, self.weights.vectors, strict=True):
            self.fields[f"vector_{name}"] = address(vector)
        self._give_beginnings("init", self.states)
        if self.packed is not None:
            self.fields |= {"starts": address(self.packed.starts), "counts": address(self.packed.counts)}
        if call.reset is not None:
            self.give("resets", call.reset)
            self._give_beginnings("anew", call.restart or self.states)

    def _give_beginnings(self, array: str, states: Sequence[Tensor]) -> None:
        """What rows begin from; not given, a single row of zeros that is read for every row of the batch."""
        for n, (name, width) in enumerate(self.widths.items()):
            begin, stride = (states[n], width) if states else (self.zeros, 0)
            self.fields |= {f"{array}_{name}": address(begin), f"{array}_{name}.b": stride}

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
        return self._fresh((*self.x.shape[:-1], width))

    def _fresh(self, shape: tuple[int, ...]) -> Tensor:
        fresh = self.x.new_empty(shape)
        prefer_huge_pages(fresh.data_ptr(), fresh.nbytes)
        return fresh

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
            sizes |= {f"entering_{state}": self.B * width for state, width in self.widths.items()}
        self.scratch = scratch(room(sizes, self.x.itemsize), self.x, lane=int(self.call.reverse))
        self.fields |= split(self.scratch.data_ptr(), sizes, self.x.itemsize)


class Forward(Problem):
    """One call of the forward kernel, to be `run`; with `keep` it keeps what backward reads."""

    def __init__(self, call: Call, tensors: Sequence[Tensor], keep: bool) -> None:
        super().__init__(call, tensors)
        plan = self.cell.plan
        width, means = plan.gates * self.H, len(plan.forward.means)
        sizes = self.cell.forward_packed(self.I, self.H, self.P)
        sizes |= self.cell.forward_scratch(self.B, self.H, self.P)
        keep_gates = keep and plan.keeps
        gates_step = self.B * width
        if self.cell.joins(self.T, self.B // self.team.threads) and not self.team.by_units:
            sizes["joined"] = self.B * (self.I + self.P)
            self.chunk, self.fields["chunk"] = 1, self.T
            gates_step = 0  # one step's are all there is room for
        if not keep_gates:
            sizes |= {"gates": self.chunk * self.B * width, "means": self.B * means}
            self.fields |= {"gates.t": gates_step, "gates.b": width, "means.t": 0, "means.b": means}
        self.give_scratch(sizes)
        self.gates, self.means = (
            self.sequence(size) if keep_gates and size else self.x.new_empty(0) for size in (width, means)
        )
        if keep_gates:
            self.give("gates", self.gates)
        if keep_gates and means:
            self.give("means", self.means)
        self.give("x", self.x)
        # Of the states behind the output only backward needs more than the last step.
        self.state_steps, self.finals = [self.sequence(self.P)], list[Tensor]()
        self.give(f"out_{call.cell.states[0]}", self.state_steps[0])
        for name in call.cell.states[1:]:
            self._give_state(f"out_{name}", keep)
        shape = (self.T, self.B, self.H) if self.packed is None else (len(self.x), self.H)
        # A projected output is watched by itself.
        seen = [name for name in call.record if call.cell.values[name].op != "project"]
        # Together, they are large enough for large pages: fresh ones cost more than all that is written.
        recorded = self._fresh((len(seen), *shape)) if seen else ()
        self.recorded = dict(zip(seen, recorded, strict=True))
        for name, values in self.recorded.items():
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
        """What backward reads: gates, means, and each state at every step."""
        return self.gates, self.means, *self.state_steps

    def results(self) -> tuple[Tensor, ...]:
        """The output, the final states, the recorded values."""
        kept = [self._last(steps) for steps in self.state_steps]
        recorded = (self.recorded.get(name) for name in self.call.record)
        shown = (self._output_in_time() if values is None else values for values in recorded)
        return self.state_steps[0], *kept, *self.finals, *shown

    def _output_in_time(self) -> Tensor:
        """The output, time first."""
        output = self.state_steps[0]
        return (output.transpose(0, 1) if self.packed is None and self.call.batch_first else output).clone()

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
