"""The backward kernel in plain calls, and the sums over steps and rows after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from gatewise.nn.kernels.backward import Backward, graph_is_kept
from gatewise.nn.kernels.plain.common import Common
from gatewise.nn.kernels.prepared import Prepared
from gatewise.nn.kernels.weight_sums import WeightSums


class _Ready(NamedTuple):
    """A prepared call, and the index of each address in its array of fields."""

    prepared: Prepared
    tape: list[tuple[int, int]]  # with their offsets on the tape
    derivatives: int
    weight_ih: int
    weight_hh: int
    initial: list[int]
    by_output: int
    carries: list[int]
    dx: int


@final
class PlainBackward:
    """The backward kernel of plain calls, for cells whose only parameters are weights and biases of gates."""

    def __init__(self, common: Common) -> None:
        self._common = common
        self._ready: dict[tuple[bool, bool], _Ready] = {}
        self._sums = WeightSums(common.kernels, common.key, common.zeros)

    def __call__(
        self, tensors: Sequence[Tensor], tape: Tensor, needed: Sequence[bool], by: Sequence[Tensor | None]
    ) -> Iterator[Tensor | None]:
        """Compute the needed gradients by x, weights and initial states, from those by the results."""
        common = self._common
        by_output, *by_finals = (None, *by) if common.single else by
        x, weight_ih, weight_hh = tensors[:3]
        states = tensors[1 + len(common.shapes.weights) :]
        plan, (T, B, _, H, P) = common.kernels.plan, common.sizes
        in_place, by_x = plan.overwrites and not graph_is_kept(), needed[0]
        ready = self._ready.get((in_place, by_x)) or self._prepare(in_place, by_x)
        array, memory = ready.prepared.array(x)
        at = tape.data_ptr()
        for place, offset in ready.tape:
            array[place] = at + offset
        apart = None if in_place else x.new_empty(T * B * plan.derivatives * H)
        derivatives_at = at if apart is None else apart.data_ptr()  # the gates come first on the tape
        array[ready.derivatives] = derivatives_at
        array[ready.weight_ih], array[ready.weight_hh] = weight_ih.data_ptr(), weight_hh.data_ptr()
        for place, state in zip(ready.initial, states, strict=False):
            array[place] = state.data_ptr()
        if by_output is not None:
            by_output = by_output.contiguous()
            array[ready.by_output] = by_output.data_ptr()
            array[ready.by_output + 1], array[ready.by_output + 2] = common.strides(P)
        carries = [
            x.new_zeros(*shape) if by is None else by.contiguous().clone()
            for shape, by in zip(common.shapes.states, by_finals, strict=True)
        ]
        for place, carry in zip(ready.carries, carries, strict=True):
            array[place] = carry.data_ptr()
        dx = torch.empty_like(x) if by_x else None
        if dx is not None:
            array[ready.dx] = dx.data_ptr()
        ready.prepared.run(array)
        del memory
        outputs, initial = at + common.tape.outputs, states[0] if states else None
        sums = self._sums(x, tensors[1:3], initial, derivatives_at, outputs, needed[1:3], in_place)
        found = [dx, *sums, *(carries if states else ())]
        return (gradient if need else None for gradient, need in zip(found, needed, strict=True))

    def _prepare(self, in_place: bool, by_x: bool) -> _Ready:
        common = self._common
        strides = dict(zip(("dx.t", "dx.b"), common.strides(common.sizes.I), strict=True))
        # By default the gradient by the output is zero.
        zeros = common.zeros.data_ptr()
        nothing = {"zeros": zeros, "dout": zeros, "dout.t": 0, "dout.b": 0}
        prepared = common.prepared(common.layout(Backward.find, in_place, by_x), nothing | strides)
        place, states = prepared.place, common.walk.cell.states
        assert place["dout.t"] == place["dout"] + 1
        assert place["dout.b"] == place["dout"] + 2
        ready = self._ready[in_place, by_x] = _Ready(
            prepared,
            [(place[name], offset) for name, offset in common.tape.offsets.items() if name in place],
            place["derivatives"], place["w_ih"], place["w_hh"],
            [place[f"init_{name}"] for name in states], place["dout"],
            [place[f"carry_{name}"] for name in states], place["dx"],
        )  # fmt: skip
        return ready
