"""Calls of the forward kernel with tensors.

Tensors go to the kernels as addresses and strides: nothing is copied or transposed, `batch_first` is a matter
of strides, and the second direction of a layer is the same kernel with time strides below zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gatewise.compiler.arguments import Blank
from gatewise.compiler.memory import prefer_huge_pages
from gatewise.compiler.program import CompiledCell, Team, compiled, worth
from gatewise.compiler.threads import available
from gatewise.language import Cell
from gatewise.nn.chance import Chance
from gatewise.nn.layout import Find, Key, Parts, Sizes, Way, layout
from gatewise.nn.listening import here
from gatewise.nn.memory import scratch, zeros
from gatewise.nn.obstacles import COMPILED
from gatewise.nn.packed import Packing
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
    padding: Packing | None = None  # x and output lie padded; what is kept besides, packed
    restart: tuple[Tensor, ...] | None = None  # what reset rows begin from, if not from the initial states

    @classmethod
    def of(cls, walk: Walk) -> Call:
        """The call that makes a walk, from whose own initial states reset rows begin."""
        assert walk.restart is None
        biased, given = walk.weights.bias_ih is not None, walk.states is not None
        return cls(
            walk.cell, walk.reverse, walk.batch_first, tuple(walk.record), biased,
            walk.reset, walk.batch_sizes, given, walk.chance, walk.padding,
        )  # fmt: skip

    @property
    def tensors(self) -> int:
        """How many tensors it takes."""
        linear = (1 + self.biased) * bool(self.cell.linears)
        weights = 2 + 2 * self.biased + len(self.cell.vectors) + self.cell.projects + linear
        return 1 + weights + len(self.cell.states) * self.given

    @property
    def steps(self) -> PackedSteps | None:
        """How packed steps are walked over, if they are packed."""
        if self.padding is not None:
            return self.padding.steps(self.reverse)
        return None if self.batch_sizes is None else PackedSteps(self.batch_sizes, self.reverse)

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
    """A call of a kernel with its tensors, to be `run`; `options` are those that its layout depends on."""

    find: Find

    def __init__(self, call: Call, tensors: Sequence[Tensor], *options: bool) -> None:
        self.call = call
        x, *others = tensors
        self.x = x if x.stride(-1) == 1 else x.contiguous()
        self.others = [tensor.contiguous() for tensor in others]
        self.cell = compiled(call.cell, COMPILED[x.dtype])
        self.packed = call.steps
        self.layout = layout(self.cell, self._key(options), type(self).find)
        self.T, self.B, self.I, self.H, self.P = self.layout.sizes
        self.fields = Blank(self.layout.fields)
        for name, tensor in zip(self.layout.given, self.others, strict=True):
            if name is not None:
                self.fields[name] = tensor.data_ptr()
        self.zeros = zeros(self.cell.padded(max(self.I, self.H)), self.x)
        if call.chance is not None:
            self.fields |= call.chance._asdict()
        if not call.given:
            self._give_beginnings("init", ())
        if self.packed is not None:
            for name in ("starts", "counts"):
                self.fields[name] = getattr(self.packed, name).ctypes.data
            self.fields |= {"rows": address(call.padding.order)} if call.padding else {}
        if call.reset is not None:
            self._give_resets(call.reset)
            self._give_beginnings("anew", call.restart or self.states)
        self.scratch = scratch(self.layout.room, self.x, lane=int(call.reverse))
        at = self.scratch.data_ptr()
        for name, place in self.layout.scratch.items():
            self.fields[name] = at + place

    def _key(self, options: tuple[bool, ...]) -> Key:
        call, x, (weight_ih, weight_hh) = self.call, self.x, self.others[:2]
        if call.batch_sizes is not None:
            T, B, I = len(call.batch_sizes), int(call.batch_sizes[0]), x.size(-1)
        elif call.batch_first:
            B, T, I = x.shape
        else:
            T, B, I = x.shape
        sizes = Sizes(T, B, I, weight_ih.size(0) // len(call.cell.input_gates), weight_hh.size(1))
        packed, padded, resets = (some is not None for some in (self.packed, call.padding, call.reset))
        return Key(
            options, sizes, x.stride(), available(torch.get_num_threads()),
            call.reverse, call.batch_first, packed, padded, call.biased, call.given, resets,
        )  # fmt: skip

    def _give_resets(self, reset: Tensor) -> None:
        if self.packed is None:
            self.give("resets", reset)
        else:
            self.fields |= {"resets": reset.data_ptr(), "resets.t": 1, "resets.b": reset.stride(0)}

    def _give_beginnings(self, array: str, states: Sequence[Tensor]) -> None:
        """What rows begin from; not given, a single row of zeros that is read for every row of the batch."""
        for n, name in enumerate(self.call.cell.states):
            self.fields[f"{array}_{name}"] = address(states[n] if states else self.zeros)
            if not states:
                self.fields[f"{array}_{name}.b"] = 0

    @property
    def team(self) -> Team:
        """The threads that it runs on."""
        return self.layout.team

    @property
    def chunk(self) -> int:
        """For how many steps at a time the product with the input is made."""
        return self.layout.chunk

    @property
    def weights(self) -> Weights:
        """The weights, as the kernel has them."""
        return self.call.unpack([self.x, *self.others])[1]

    @property
    def states(self) -> tuple[Tensor, ...]:
        """The initial states; none where they are not given."""
        return tuple(self.others[-len(self.call.cell.states) :]) if self.call.given else ()

    @property
    def weights_read(self) -> int:
        """Weights that a row meets at each step."""
        return len(self.cell.plan.slots) * self.H * (self.H + self.I)

    def sequence(self, width: int) -> Tensor:
        """An uninitialised sequence in the layout of x, so wide; packed where rows have different lengths."""
        padding = self.call.padding
        return self._fresh((*self.x.shape[:-1], width) if padding is None else (padding.size, width))

    def outside(self, width: int) -> Tensor:
        """A sequence that is handed out: one as x is; padded, zeros past the end of a row."""
        if self.call.padding is None:
            return self.sequence(width)
        return self.x.new_zeros(*self.x.shape[:-1], width)

    def _fresh(self, shape: tuple[int, ...]) -> Tensor:
        fresh = self.x.new_empty(shape)
        prefer_huge_pages(fresh.data_ptr(), fresh.nbytes)
        return fresh

    def hand_over(self, name: str, sequence: Tensor) -> None:
        """Hand a sequence over under `name` whose way the layout knows: its first step."""
        self.fields[name] = sequence.data_ptr() + self.layout.ways[name].first

    def give(self, name: str, sequence: Tensor, batch_first: bool | None = None) -> None:
        """Hand over a sequence from outside under `name`: its first step, its strides in the walk's order."""
        way = self.way(sequence, self.call.batch_first if batch_first is None else batch_first)
        self.fields[name] = sequence.data_ptr() + way.first
        self.fields[f"{name}.t"], self.fields[f"{name}.b"] = way.t, way.b

    def way(self, sequence: Tensor, batch_first: bool) -> Way:
        """The way of the walk through a sequence from outside; where it begins in bytes."""
        if self.packed is not None and self.call.padding is None:
            return Way(0, 1, sequence.stride(0))
        t, b = sequence.stride(1 if batch_first else 0), sequence.stride(0 if batch_first else 1)
        return Way((self.T - 1) * t * sequence.itemsize, -t, b) if self.call.reverse else Way(0, t, b)


def _forward(kernels: CompiledCell, key: Key, team: Team, chunk: int) -> Parts:
    """Of a forward call, which keeps what backward reads or not."""
    plan, (T, B, I, H, P), (keep,) = kernels.plan, key.sizes, key.options
    output, *behind = plan.cell.states
    width, means = plan.gates * H, len(plan.forward.means)
    scratch = kernels.forward_packed(I, H, P) | kernels.forward_scratch(B, H, P)
    fields = {"keep": int(keep and plan.keeps)}
    gates_step = B * width
    if kernels.joins(T, B // team.threads) and not team.by_units:
        scratch["joined"] = B * (I + P)
        chunk, fields["chunk"] = 1, T
        gates_step = 0  # one step's are all there is room for
    elif key.padded:
        scratch["inputs"] = chunk * B * I
    ways = {"x": key.way_of_x(), f"out_{output}": key.way(P)}
    if fields["keep"]:
        ways |= {"gates": key.way(width), "means": key.way(means)}
    else:
        scratch |= {"gates": chunk * B * width, "means": B * means}
        fields |= {"gates.t": gates_step, "gates.b": width, "means.t": 0, "means.b": means}
    # Of the states behind the output only backward needs more than the last step.
    ways |= {f"out_{name}": key.way(H) if keep else Way(0, 0, H) for name in behind}
    return Parts(kernels.forward, chunk, fields, ways, scratch)


class Forward(Problem):
    """One call of the forward kernel; with `keep` it keeps what backward reads.

    With `every` it keeps the states that follow each so many steps of the walk: `passed`, each
    ``[T // every, B, H]``.
    """

    find = staticmethod(_forward)

    def __init__(self, call: Call, tensors: Sequence[Tensor], keep: bool, every: int = 0) -> None:
        super().__init__(call, tensors, keep)
        plan = self.cell.plan
        self.gates = self.means = self.x.new_empty(0)
        if keep and plan.keeps:
            self.gates = self.sequence(plan.gates * self.H)
            self.hand_over("gates", self.gates)
            if plan.forward.means:
                self.means = self.sequence(len(plan.forward.means))
                self.hand_over("means", self.means)
        self.hand_over("x", self.x)
        self.state_steps, self.finals = [self.sequence(self.P)], list[Tensor]()
        for _ in call.cell.states[1:]:
            if keep:
                self.state_steps.append(self.sequence(self.H))
            else:
                self.finals.append(self.x.new_empty(self.B, self.H))
        for name, steps in zip(call.cell.states, self.state_steps + self.finals, strict=True):
            self.hand_over(f"out_{name}", steps)
        self.output = self.state_steps[0]
        if call.padding is not None:
            self.output = self.outside(self.P)
            self.give("shown", self.output)
        self.passed = [self.x.new_empty(0)] * len(call.cell.states)
        if every:
            self._keep_every(every)
        self.recorded: dict[str, Tensor] = {}
        if call.record:
            self._record()
        for listener in here.listeners:
            listener.kernel(self, tensors)

    def _keep_every(self, steps: int) -> None:
        widths = [self.P, *[self.H] * (len(self.passed) - 1)]
        self.passed = [self.x.new_empty(self.T // steps, self.B, width) for width in widths]
        self.fields["every"] = steps
        for name, passed in zip(self.call.cell.states, self.passed, strict=True):
            self.fields[f"passed_{name}"] = passed.data_ptr()

    def _record(self) -> None:
        # A projected output is watched by itself.
        seen = [name for name in self.call.record if self.call.cell.values[name].op != "project"]
        # Together, they are large enough for large pages: fresh ones cost more than all that is written.
        recorded = self._fresh((len(seen), *self._recorded_shape))
        if self.call.padding is not None:
            recorded.fill_(torch.nan)  # what stays past the end of a row
        self.recorded = dict(zip(seen, recorded, strict=True))
        for name, values in self.recorded.items():
            self.give("watch", values, batch_first=False)
            self.fields[f"watch_{name}"] = self.fields["watch"]
        self.fields["watch"] = 1

    @property
    def _recorded_shape(self) -> tuple[int, ...]:
        if self.call.padding is not None:
            return self.call.padding.T, self.call.padding.B, self.H
        return (self.T, self.B, self.H) if self.packed is None else (len(self.x), self.H)

    def tape(self) -> tuple[Tensor, ...]:
        """What backward reads: gates, means, and each state at every step."""
        return self.gates, self.means, *self.state_steps

    def results(self) -> tuple[Tensor, ...]:
        """The output, the final states, the recorded values."""
        kept = [self._last(steps) for steps in self.state_steps]
        recorded = (self.recorded.get(name) for name in self.call.record)
        shown = (self._output_in_time() if values is None else values for values in recorded)
        return self.output, *kept, *self.finals, *shown

    def _output_in_time(self) -> Tensor:
        """The output as it is recorded, time first."""
        output = self.state_steps[0]
        if self.call.padding is not None:
            return self.call.padding.pad_with_nan(output)
        return (output.transpose(0, 1) if self.packed is None and self.call.batch_first else output).clone()

    def _last(self, steps: Tensor) -> Tensor:
        """The last step of a sequence, a row's own where rows have different lengths."""
        if self.packed is not None:
            return steps.index_select(0, torch.from_numpy(self.packed.last))
        last = 0 if self.call.reverse else self.T - 1
        return steps.select(1 if self.call.batch_first else 0, last).clone()


def run(*problems: Problem) -> None:
    """Run calls of one kernel, side by side where that pays.

    One thread for each call has nothing to wait for; but large weights are better divided than doubled.
    """
    if len(problems) == 1:
        (problem,) = problems
        problem.layout.program(problem.team.threads, problem.fields)
        return
    work = sum(problem.weights_read * problem.B * problem.T for problem in problems)
    small = all(problem.weights_read * problem.x.itemsize <= _SMALL_WEIGHTS for problem in problems)
    if small and worth(torch.get_num_threads(), len(problems), work) == len(problems):
        for listener in here.listeners:
            listener.side_by_side(problems)
        problems[0].layout.program.side_by_side([problem.fields for problem in problems])
        return
    for problem in problems:
        problem.layout.program(problem.team.threads, problem.fields)


def address(tensor: Tensor | None) -> int:
    """Where its elements are; 0 for None."""
    return 0 if tensor is None else tensor.data_ptr()
