"""Prepared kernel calls: all fields are filled in once, except for the addresses of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import Array, addressof, c_int64
from typing import final

import torch
from torch import Tensor

from gatewise.compiler.run.program import Program
from gatewise.nn.kernels.scratch import scratch

_MOST = 16  # the most threads whose filled fields are cached


@final
class Prepared:
    """A kernel call that is made many times, each time with other tensors.

    Args:
        program: the kernel.
        fields: its fields, without addresses.
        arrays: the offsets of arrays in scratch memory, in bytes.
        room: the number of elements of scratch memory.
        threads: the number of threads.

    Attributes:
        place: the index of each field in the array of fields.
    """

    def __init__(
        self, program: Program, fields: Mapping[str, int], arrays: Mapping[str, int], room: int, threads: int
    ) -> None:
        self.place, self._array = program.arguments.place, program.arguments.array
        self._program, self._fields, self._arrays, self._room = program, fields, arrays, room
        self._threads = threads
        self._filled: dict[int, bytes] = {}  # by the address of the scratch memory, which differs by thread

    def array(self, like: Tensor) -> tuple[Array[c_int64], Tensor]:
        """A new array of the fields, without the addresses of tensors, and its scratch memory.

        The caller must keep the memory alive until the call is done.
        """
        memory = scratch(self._room, like)
        return self.array_on(memory), memory

    def array_on(self, memory: Tensor) -> Array[c_int64]:
        """A new array of the fields, with `memory` as scratch memory."""
        return self._array.from_buffer_copy(self._filled.get(memory.data_ptr()) or self._fill(memory))

    def _fill(self, memory: Tensor) -> bytes:
        at = memory.data_ptr()
        arrays = {name: at + place for name, place in self._arrays.items()}
        fields = self._program.arguments.blank(
            {**self._fields, **arrays, **self._program.team(self._threads)}
        )
        if len(self._filled) >= _MOST:
            self._filled.clear()
        filled = self._filled[at] = bytes(self._program.arguments.fill(fields))
        return filled

    def run(self, array: Array[c_int64]) -> None:
        """Run the kernel on a complete array."""
        self._program.run(array, self._threads)

    @property
    def is_alone(self) -> bool:
        """Whether the kernel runs on one thread."""
        return self._threads == 1

    def own_memory(self, like: Tensor) -> Tensor:
        """New scratch memory, for calls that keep their weights packed in it."""
        return torch.empty(self._room, dtype=like.dtype, device="cpu")

    def pack(self, array: Array[c_int64]) -> None:
        """Pack the weights into the scratch memory of a complete array."""
        self._program.prepare(addressof(array))

    def run_packed(self, array: Array[c_int64]) -> None:
        """Run the kernel on one thread, with weights that `pack` has packed."""
        self._program.part(addressof(array), 0, 1)
