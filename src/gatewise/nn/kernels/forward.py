"""Calls of the forward kernel with tensors."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gatewise.compiler.run.program import CompiledCell, Team
from gatewise.nn.kernels.flat import Tape
from gatewise.nn.kernels.layout import Key, Parts, Way
from gatewise.nn.kernels.problem import Problem
from gatewise.nn.kernels.scratch import nothing
from gatewise.nn.walk.listening import KernelCall, here
from gatewise.nn.walk.walk import Scanned, Walk


def _forward(kernels: CompiledCell, key: Key, team: Team, chunk: int) -> Parts:
    """The parts of the layout of a forward call. Option: whether it saves for backward."""
    plan, (T, B, I, H, P), (keep,) = kernels.plan, key.sizes, key.options
    output, *behind = plan.cell.states
    width, means = plan.gates * H, len(plan.forward.means)
    scratch = kernels.forward_packed(I, H, P) | kernels.forward_scratch(B, H, P)
    fields = {"keep": int(keep and plan.keeps)}
    gates_step = B * width
    if kernels.joins(T, B // team.threads) and not team.by_units:
        scratch["joined"] = B * (I + P)
        chunk, fields["chunk"] = 1, T
        gates_step = 0  # there is memory for one step only
    elif key.padded:
        scratch["inputs"] = chunk * B * I
    ways = {"x": key.way_of_x(), f"out_{output}": key.way(P)}
    if fields["keep"]:
        ways |= {"gates": key.way(width), "means": key.way(means)}
    else:
        scratch |= {"gates": chunk * B * width, "means": B * means}
        fields |= {"gates.t": gates_step, "gates.b": width, "means.t": 0, "means.b": means}
    # Only backward needs more than the last step of the states besides the output.
    ways |= {f"out_{name}": key.way(H) if keep else Way(0, 0, H) for name in behind}
    return Parts(kernels.forward, chunk, fields, ways, scratch)


class Forward(Problem):
    """One call of the forward kernel.

    Args:
        walk: the walk.
        keep: whether to save gates and states for backward.
        every: if not 0, `passed` gets the states after each `every` steps, ``[T // every, B, H]`` each.
    """

    find = staticmethod(_forward)

    def __init__(self, walk: Walk, keep: bool, every: int = 0) -> None:
        super().__init__(walk, keep)
        plan = self.cell.plan
        self.gates = self.means = nothing(self.x.dtype)
        if keep and plan.keeps:
            self.gates = self.sequence(plan.gates * self.H)
            self.hand_over("gates", self.gates)
            if plan.forward.means:
                self.means = self.sequence(len(plan.forward.means))
                self.hand_over("means", self.means)
        self.hand_over("x", self.x)
        states = walk.cell.states
        widths = [self.P, *[self.H] * (len(states) - 1)]
        self.finals = [self.x.new_empty(self.B, width) for width in widths]
        self.state_steps = [self.sequence(width) for width in (widths if keep else widths[:1])]
        for name, steps in zip(states, self.state_steps + self.finals[len(self.state_steps) :], strict=True):
            self.hand_over(f"out_{name}", steps)
        self.output = self.state_steps[0]
        # The caller may change the output in place, so backward reads another copy.
        if walk.padding is not None or (keep and not walk.inner):
            self.output = self.outside(self.P)
            self.give("shown", self.output)
        self.passed = [self.x.new_empty(self.T // every, self.B, width) for width in widths] if every else []
        # The kernel copies the states after each `every` steps; final states are those after T steps.
        self.copies_finals = self.packed is None and not every
        if every or self.copies_finals:
            self.fields["every"] = every or self.T
            for name, copies in zip(states, self.passed or self.finals, strict=True):
                self.fields[f"passed_{name}"] = copies.data_ptr()
        self.recorded: dict[str, Tensor] = {}
        if walk.record:
            self._record()
        if here.listeners:
            self.told = self._facts()
            for listener in here.listeners:
                listener.kernel(self.told)

    def _record(self) -> None:
        # A projected output is recorded as the output.
        seen = [name for name in self.walk.record if self.walk.cell.values[name].op != "project"]
        # One tensor for all, so that it is large enough for huge pages: writing to new pages is expensive.
        recorded = self._fresh((len(seen), *self._recorded_shape))
        if self.walk.padding is not None:
            recorded.fill_(torch.nan)  # the values past the end of a row
        self.recorded = dict(zip(seen, recorded, strict=True))
        for name, values in self.recorded.items():
            self.give("watch", values, batch_first=False)
            self.fields[f"watch_{name}"] = self.fields["watch"]
        self.fields["watch"] = 1

    @property
    def _recorded_shape(self) -> tuple[int, ...]:
        if self.walk.padding is not None:
            return self.walk.padding.T, self.walk.padding.B, self.H
        return (self.T, self.B, self.H) if self.packed is None else (len(self.x), self.H)

    def _facts(self) -> KernelCall:
        """The facts for listeners."""
        walk, sizes = self.walk, self.layout.sizes
        beside_output = [steps for steps in self.state_steps if steps is not self.output]
        return KernelCall(
            cell=walk.cell, kernels=self.cell, weight_ih=walk.weights.weight_ih, dtype=self.x.dtype,
            steps=sizes.T, rows=sizes.B, inputs=sizes.I, units=sizes.H, outputs=sizes.P,
            places=self.x.numel() // sizes.I, packed=walk.batch_sizes is not None,
            team=self.team, chunk=self.chunk,
            copied=tuple(self._copied()), wants_gradient=any(t.requires_grad for t in walk.arguments),
            recorded=len(walk.record), inner=walk.inner,
            kept_gates=self.gates.nbytes + self.means.nbytes,
            kept_states=sum(steps.nbytes for steps in beside_output),
            kept_segments=sum(s.nbytes for s in (*self.states, *self.passed)),
        )  # fmt: skip

    def _copied(self) -> Iterator[str]:
        """The names of arguments that had to be copied, except a state that is expanded to all rows."""
        ours, tensors = (self.x, *self.others), self.walk.arguments
        copies = [n for n, (own, came) in enumerate(zip(ours, tensors, strict=True)) if own is not came]
        copies = [n for n in copies if 0 not in tensors[n].stride()]
        if copies:
            names = {id(weight): name for name, weight in self.weights._asdict().items()}
            names |= {
                id(v): name for name, v in zip(self.walk.cell.vectors, self.weights.vectors, strict=True)
            }
            names |= {id(self.x): "the input"} | {id(state): "the initial state" for state in self.states}
            yield from dict.fromkeys(names[id(ours[n])] for n in copies)

    def tape(self) -> Tape:
        """The tensors saved for backward."""
        return Tape(self.gates, self.means, tuple(self.state_steps))

    def results(self) -> Scanned:
        """The results of the walk."""
        finals = self.finals
        if not self.copies_finals:
            finals = [*map(self._last, self.state_steps), *finals[len(self.state_steps) :]]
        recorded = {name: self.recorded.get(name) for name in self.walk.record}
        shown = {n: self._output_in_time() if values is None else values for n, values in recorded.items()}
        return Scanned(self.output, tuple(finals), shown)

    def _output_in_time(self) -> Tensor:
        """The output as a recorded value, time first."""
        output = self.state_steps[0]
        if self.walk.padding is not None:
            return self.walk.padding.pad_with_nan(output)
        return (output.transpose(0, 1) if self.packed is None and self.walk.batch_first else output).clone()

    def _last(self, steps: Tensor) -> Tensor:
        """The last step of a sequence; for rows of different lengths, the last step of each row."""
        if self.packed is not None:
            return steps.index_select(0, torch.from_numpy(self.packed.last))
        last = 0 if self.walk.reverse else self.T - 1
        return steps.select(1 if self.walk.batch_first else 0, last).clone()
