"""A recorded run of one layer in one direction over a sequence, which the analyses can replay.

They replay it by the eager interpreter, usually in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import final

import torch
from torch import Tensor

from gatewise.language import Cell
from gatewise.language.graph import Node
from gatewise.nn.modules.edited import Edited
from gatewise.nn.modules.layer import Recorded
from gatewise.nn.walk import eager
from gatewise.nn.walk.packing import Packing
from gatewise.nn.walk.walk import Walk, Weights

_NUMBERS = 1 << 22  # in the Jacobians that are computed at a time


@final
@dataclass(frozen=True)
class Passage:
    """One scan with all its inputs, time first.

    Attributes:
        layer: the name of the layer, such as ``encoder.l0_reverse``.
        walk: the cell, the input, the weights and the initial states.
        found: the final states that the layer computed, in the order of the walk's rows.
        packing: the packing of rows of different lengths, or None.
        edited: the additional gates and inputs of an edited layer, or None.
    """

    layer: str
    walk: Walk
    found: tuple[Tensor, ...]
    packing: Packing | None = None
    edited: Edited | None = None

    @classmethod
    def of(cls, layer: str, recorded: Recorded) -> Passage:
        """The passage of a recorded run. Its tensors are still part of the autograd graph."""
        walk = recorded.walk
        assert walk is not None
        assert recorded.scanned is not None
        if walk.padding is not None:
            walk = walk.packed()
        if walk.batch_first:
            reset = None if walk.reset is None else walk.reset.T
            walk = walk._replace(x=walk.x.transpose(0, 1), batch_first=False, reset=reset)
        walk = walk._replace(record=())
        return cls(layer, walk, recorded.scanned.states, recorded.packing, recorded.edited)

    def exact(self) -> Passage:
        """A copy in float64, on the CPU.

        Raises:
            ValueError: the layer ran over no steps.
        """
        if not self.running.any():
            raise ValueError(f"{self.layer!r} has no steps: there is nothing to explain.")
        return self._copy(lambda tensor: tensor.detach().cpu().double())

    def snapshot(self) -> Passage:
        """A copy that is detached from the autograd graph and from later changes of the weights."""
        return self._copy(lambda tensor: tensor.detach().clone())

    def _copy(self, apart: Callable[[Tensor], Tensor]) -> Passage:
        walk, x = self.walk, apart(self.walk.x)
        walk = walk._replace(
            x=x,
            weights=each_weight(apart, walk.weights),
            states=None if walk.states is None else tuple(map(apart, walk.states)),
            reset=None if walk.reset is None else walk.reset.to(x.device, copy=True),
        )
        return replace(self, walk=walk, found=tuple(map(apart, self.found)))

    @property
    def cell(self) -> Cell:
        """Its equations."""
        return self.walk.cell

    def values(self, names: Iterable[str]) -> dict[str, Node]:
        """The nodes of the layer's values by name; for an edited layer, the edited values."""
        name_of = self.edited.name_of if self.edited else str
        return {name: self.cell.values[name_of(name)] for name in names}

    @property
    def steps(self) -> int:
        """T, the number of steps."""
        return self.packing.T if self.packing else self.walk.x.size(0)

    @property
    def rows(self) -> int:
        """B, the number of rows, including rows without steps."""
        return self.packing.B if self.packing else self.walk.x.size(1)

    @property
    def units(self) -> int:
        """H, the number of units."""
        return self.walk.weights.weight_ih.size(0) // len(self.cell.input_gates)

    @cached_property
    def order(self) -> list[int]:
        """The steps in the order in which the layer walked them."""
        return list(range(self.steps))[:: -1 if self.walk.reverse else 1]

    @cached_property
    def running(self) -> Tensor:
        """``[T, B]``: whether a row has a step."""
        if self.packing:
            return self._padded_mask(None)
        return torch.ones(self.steps, self.rows, dtype=torch.bool)

    @cached_property
    def begins(self) -> Tensor:
        """``[T, B]``: whether a step starts from the initial state: the first of a row, or a reset."""
        reset = self.walk.reset
        if self.packing and reset is not None:
            reset = self._padded_mask(reset)
        none = torch.zeros(self.steps, self.rows, dtype=torch.bool)
        begins = none if reset is None else reset.cpu().clone()
        begins |= self.running & ~self._one_step_on(self.running, torch.zeros(self.rows, dtype=torch.bool))
        return begins & self.running

    @cached_property
    def ends(self) -> Tensor:
        """``[T, B]``: whether a step is the last one that the layer walked in its row."""
        running, none = self.running, torch.zeros(1, self.rows, dtype=torch.bool)
        after = torch.cat([none, running[:-1]] if self.walk.reverse else [running[1:], none])
        return running & ~after

    @cached_property
    def x(self) -> Tensor:
        """The input ``[T, B, I]``; zeros past the end of a row."""
        return self.packing.pad(self.walk.x, False) if self.packing else self.walk.x

    @cached_property
    def initial(self) -> tuple[Tensor, ...]:
        """The initial states, each ``[B, H]`` (a projected output ``[B, P]``)."""
        walk = self.walk
        rows = len(self.packing.order) if self.packing else self.rows
        states = walk.states or eager.initial_states(self.cell, walk.x.new_zeros(rows, 0), walk.weights)
        return self.of_all_rows(states)

    @cached_property
    def finals(self) -> tuple[Tensor, ...]:
        """The final states, each ``[B, H]``; zeros for a row without steps."""
        return self.of_all_rows(self.found)

    def of_all_rows(self, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """States, given in the order of the walk's rows, as ``[B, H]``; zeros for rows without steps."""
        if not self.packing:
            return states
        rows, order = self.rows, self.packing.order
        return tuple(s.new_zeros(rows, s.size(1)).index_copy(0, order.to(s.device), s) for s in states)

    def compute(self, nodes: Mapping[str, Node]) -> dict[str, Tensor]:
        """The values of nodes of the cell at every step, ``[T, B, H]``, NaN past the end of a row."""
        walk = self.walk
        cell = _with_values(walk.cell, tuple(nodes.items()))
        found = eager.scan(walk._replace(cell=cell, record=tuple(nodes))).recorded
        return {n: self.packing.pad_with_nan(v) if self.packing else v for n, v in found.items()}

    def states(self) -> tuple[Tensor, ...]:
        """The states after each step, each ``[T, B, H]``."""
        found = self.compute(dict(zip(self.cell.states, self.cell.next_states, strict=True)))
        return tuple(found[name] for name in self.cell.states)

    def entering(self, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The states before each step, from the states after each step; zeros past the end of a row."""
        return tuple(self._entering(*pair) for pair in zip(states, self.initial, strict=True))

    def step(self, x: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The states after a step, from its input ``x [B, I]`` and the states before it."""
        return eager.scan(Walk(self.cell, x[None], self.walk.weights, states)).states

    def jacobian(self, x: Tensor, states: tuple[Tensor, ...]) -> Tensor:
        """``[B, N, N]``: the derivative of all N numbers of the states after a step by those before it."""
        widths = [state.size(1) for state in states]

        def after(numbers: Tensor) -> Tensor:
            return torch.cat(self.step(x, torch.split(numbers, widths, 1)), 1)

        before = torch.cat(states, 1)
        pull = torch.func.vjp(after, before)[1]
        rows = torch.eye(before.size(1), dtype=before.dtype)[:, None].expand(-1, len(before), -1)
        (found,) = torch.func.vmap(pull)(rows)
        return torch.as_tensor(found).transpose(0, 1).contiguous()

    def jacobians(self, entering: tuple[Tensor, ...], steps: Sequence[int]) -> Iterator[Tensor]:
        """The Jacobian ``[B, N, N]`` of each step in `steps`, from the states ``[T, B, H]`` before each step.

        Several steps are computed at a time, as if they were rows.
        """
        at_once = max(1, rows_at_once(entering) // max(1, self.rows))
        for first in range(0, len(steps), at_once):
            some = torch.as_tensor(steps[first : first + at_once])
            states = tuple(state[some].flatten(0, 1) for state in entering)
            found = self.jacobian(self.x[some].flatten(0, 1), states)
            yield from found.view(len(some), self.rows, *found.shape[1:])

    def without_random(self, who: str, edited: bool = False) -> Passage:
        """Check that the steps are a deterministic function of their input. Returns the passage itself.

        Raises:
            ValueError: the walk was random; or the layer is edited, and `edited` does not allow that.
        """
        if self.walk.chance is not None:
            raise ValueError(f"{who}: {self.layer!r} is random. Call model.eval() first.")
        if self.edited and not edited:
            raise ValueError(f"{who}: {self.layer!r} is edited. Use a layer without edits (gatewise.edit).")
        return self

    def own(self, name: str, by_weight: Tensor) -> Tensor:
        """The part of a tensor shaped like a weight of the walk that belongs to the layer's own weight."""
        return self.edited.own(name, by_weight) if self.edited else by_weight

    def _entering(self, states: Tensor, initial: Tensor) -> Tensor:
        before = self._one_step_on(states, initial)
        before = torch.where(self.begins[..., None], initial, before)
        return before.masked_fill(~self.running[..., None], 0)

    def _one_step_on(self, steps: Tensor, first: Tensor) -> Tensor:
        """Values shifted by one step in walking order, with `first` at the first step."""
        pair = [steps[1:], first[None]] if self.walk.reverse else [first[None], steps[:-1]]
        return torch.cat(pair)

    def _padded_mask(self, packed: Tensor | None) -> Tensor:
        assert self.packing is not None
        numbers = torch.ones(int(self.packing.batch_sizes.sum())) if packed is None else packed.cpu().float()
        return self.packing.pad(numbers[:, None], False)[..., 0] > 0


def rows_at_once(states: Sequence[Tensor]) -> int:
    """The number of rows whose Jacobians are computed at a time, to limit memory."""
    return max(1, _NUMBERS // sum(state.size(-1) for state in states) ** 2)


@lru_cache
def _with_values(cell: Cell, values: tuple[tuple[str, Node], ...]) -> Cell:
    """The cell with other watchable values."""
    return replace(cell, values=dict(values))


def each_weight(change: Callable[[Tensor], Tensor], weights: Weights) -> Weights:
    """The weights with `change` applied to every tensor."""
    return weights.filled(map(change, weights.flat))
