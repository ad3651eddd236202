"""The forward kernel in plain calls."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from ctypes import Array, c_int64
from typing import NamedTuple, final

from torch import Tensor

from gatewise.nn.kernels.forward import Forward
from gatewise.nn.kernels.plain.common import Common
from gatewise.nn.kernels.prepared import Prepared


class _Ready(NamedTuple):
    """A prepared call, and the index of each address in its array of fields."""

    prepared: Prepared
    given: list[int | None]
    kept: list[int]
    passed: list[int]
    shown: int
    tape: list[tuple[int, int]]  # with their offsets on the tape


@final
class PlainForward:
    """The forward kernel of plain calls, with or without saving for backward."""

    def __init__(self, common: Common) -> None:
        self._common = common
        self._ready: dict[bool, _Ready] = {}
        self._in_thread = threading.local()

    def __call__(
        self,
        x: Tensor,
        addresses: Sequence[int],
        tape: Tensor | None,
        frozen: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """Run the kernel on the tensors at `addresses`. Values for backward are written to `tape`.

        `frozen` are these tensors if the weights stay packed between calls, else None.
        """
        shapes, keep = self._common.shapes, tape is not None
        ready = self._ready.get(keep) or self._prepare(keep)
        prepared, packed = ready.prepared, None
        if frozen is not None and prepared.is_alone:
            packed = self._packed(prepared, addresses, frozen)
        if packed is None:
            array, memory = prepared.array(x)
        else:
            array, memory = prepared.array_on(packed.memory), packed.memory
        for place, address in zip(ready.given, addresses, strict=True):
            if place is not None:
                array[place] = address
        results = [x.new_empty(*shape) for shape in shapes.states]  # faster than with one argument
        if tape is None:
            for place, final in zip(ready.kept, results, strict=True):
                array[place] = final.data_ptr()  # except the output of a layer, which is set below
        else:
            at = tape.data_ptr()
            for place, offset in ready.tape:
                array[place] = at + offset
        if keep or shapes.output is not None:
            for place, final in zip(ready.passed, results, strict=True):
                array[place] = final.data_ptr()
        if shapes.output is not None:
            output = x.new_empty(*shapes.output)
            array[ready.shown if keep else ready.kept[0]] = output.data_ptr()
            results.insert(0, output)
        if packed is None:
            prepared.run(array)
        else:
            packed.run(prepared, array)
        del memory
        return results

    def _prepare(self, keep: bool) -> _Ready:
        common = self._common
        found, T = common.layout(Forward.find, keep), common.sizes.T
        fields = {"every": T if keep or not common.single else 0}
        if keep and not common.single:
            fields |= dict(zip(("shown.t", "shown.b"), common.strides(common.sizes.P), strict=True))
        prepared = common.prepared(found, fields)
        place, states = prepared.place, common.walk.cell.states
        ready = self._ready[keep] = _Ready(
            prepared,
            [place["x"], *(None if name is None else place[name] for name in found.given)],
            [place[f"out_{state}"] for state in states],
            [place[f"passed_{state}"] for state in states],
            place["shown"],
            [(place[name], offset) for name, offset in common.tape.offsets.items()],
        )
        return ready

    def _packed(
        self, prepared: Prepared, addresses: Sequence[int], tensors: Sequence[Tensor]
    ) -> _Packed | None:
        """The packed weights of this thread; None if tensors have no version counters."""
        n = 1 + len(self._common.shapes.weights)
        if any(tensor.is_inference() for tensor in tensors[1:n]):
            return None
        packed: _Packed | None = getattr(self._in_thread, "packed", None)
        if packed is None:
            packed = self._in_thread.packed = _Packed(prepared.own_memory(tensors[0]))
        packed.wanted = [*addresses[1:n], *(tensor._version for tensor in tensors[1:n])]
        return packed


@final
class _Packed:
    """Weights that stay packed, in scratch memory that one thread keeps.

    Attributes:
        memory: the scratch memory.
        wanted: the addresses and versions of the weights of the next call.
    """

    def __init__(self, memory: Tensor) -> None:
        self.memory = memory
        self.wanted: list[int] = []
        self._there: list[int] = []  # the addresses and versions of the packed weights

    def run(self, prepared: Prepared, array: Array[c_int64]) -> None:
        """Run a call. Weights that have changed are packed first."""
        if self._there != self.wanted:
            self._there = []
            prepared.pack(array)
            self._there = self.wanted
        prepared.run_packed(array)
