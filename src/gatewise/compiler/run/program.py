"""Compiled cells: kernels that are called with addresses.

`CompiledCell` says what its kernels need besides the arrays of the caller: the sizes of scratch memory, the
steps of a chunk, the number of threads. It allocates and converts nothing; callers own all memory. A call
releases the interpreter's lock (GIL) while it computes.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from ctypes import Array
from typing import Any, NamedTuple, Protocol, final

from gatewise.compiler.emit import entry
from gatewise.compiler.emit.arguments import Arguments
from gatewise.compiler.emit.number import NUMBERS, Number
from gatewise.compiler.emit.target import Target
from gatewise.compiler.kernels.backward import BackwardKernel
from gatewise.compiler.kernels.forward import ForwardKernel
from gatewise.compiler.kernels.weight_gradients import WeightGradientKernel
from gatewise.compiler.plan.plan import plan
from gatewise.compiler.run import machine
from gatewise.compiler.run.crowding import crowding
from gatewise.compiler.run.host import host
from gatewise.compiler.run.pool import run_parts
from gatewise.compiler.run.threads import available, openmp
from gatewise.language import Cell

CHUNK_BYTES = 1 << 18  # the size of the pre-activations of a chunk: a share of the second-level cache
_THREAD_WORK = 2e6  # multiply-adds that one more thread must have, or it costs more than it gains
_STEP_WORK = 5e4  # multiply-adds of a step that one more thread must have, to pay for the barrier
_FEW_ROWS = 8  # rows for each thread, below which units are divided instead of rows
_LARGE_WEIGHTS = 8 << 20  # bytes of weights, above which units are divided instead of rows
ROWS_TO_JOIN = 8  # rows from which one product for x and state pays; below, input products of many steps do
_LEAST_ROWS = 2  # rows for each thread: one row takes almost as long as two


@final
class Program:
    """A kernel in memory: the functions `entry.ENTRIES` and the fields they take.

    Attributes:
        arguments: the fields; ``arguments.fill`` makes the array whose address the functions take.
        prepare: ``prepare(address)`` packs the weights; once is enough until they change.
        part: ``part(address, i, n)`` computes part i of n of the rows.
    """

    def __init__(self, key: str, arguments: Arguments, write: Callable[[], str]) -> None:
        self.arguments = arguments
        loaded = machine.load(key, write, entry.ENTRIES)
        array, index = ctypes.c_void_p, ctypes.c_int64
        self._run = loaded.function("run", array)
        self._many = loaded.function("many", array)
        self.prepare = loaded.function("prepare", array)
        self.part = loaded.function("part", array, index, index)
        self._part = loaded.address["part"]

    def __call__(self, threads: int, fields: Mapping[str, int]) -> None:
        """Run on this number of threads."""
        team = self.team(threads)
        if team:
            fields = self.arguments.blank(fields)
            fields.update(team)
        self.run(self.arguments.fill(fields), threads)

    @staticmethod
    def team(threads: int) -> dict[str, int]:
        """The fields for a team of OpenMP threads; none for one thread, and where there is no OpenMP."""
        team = openmp() if threads > 1 else None
        return {} if team is None else {"threads": threads, **team._asdict()}

    def run(self, array: Array[ctypes.c_int64], threads: int) -> None:
        """Run on this number of threads, or on one if the cores are crowded.

        `array` has the fields of their `team`.
        """
        if threads > 1 and crowding:
            array[self.arguments.place["threads"]] = threads = 1
        if threads == 1:
            self._run(ctypes.addressof(array))
            return
        clocks = crowding.start()
        if openmp() is not None:
            self._run(ctypes.addressof(array))
        else:
            self.prepare(ctypes.addressof(array))
            run_parts(self._part, ctypes.addressof(array), threads)
        crowding.end(threads, clocks)

    def side_by_side(self, threads: int, calls: Sequence[Mapping[str, int]]) -> None:
        """Run several calls at the same time, each on one thread; in turn if there is no OpenMP.

        A call may wait for steps of a call before it in the list (see `awaits` in `entry`).
        """
        team = openmp()
        functions = {} if team is None else team._asdict()
        waiting = {"give_way": functions.pop("give_way")} if functions else {}
        blanks = [self.arguments.blank(fields) for fields in calls]
        for blank in blanks:
            blank.update(waiting)
        arrays = [self.arguments.fill(blank) for blank in blanks]
        if team is None or crowding:
            for array in arrays:
                self._run(ctypes.addressof(array))
            return
        clocks = crowding.start()
        head = entry.MANY.fill({**functions, "threads": threads, "count": len(arrays)})
        listed = (ctypes.c_int64 * (len(head) + len(arrays)))(*head, *map(ctypes.addressof, arrays))
        self._many(ctypes.addressof(listed))
        crowding.end(threads, clocks)


class Kernel(Protocol):
    """A kernel that can be written as LLVM text.

    Attributes:
        arguments: the fields of a call.
        key: the text that tells it from other kernels of its name.
    """

    @property
    def arguments(self) -> Arguments: ...  # noqa: D102
    @property
    def key(self) -> str: ...  # noqa: D102

    def write(self, number: Number, target: Target) -> str:
        """The module as LLVM text."""


@final
class Team(NamedTuple):
    """The number of threads, and whether they divide the units of a layer or the rows of the batch."""

    threads: int
    by_units: bool

    @property
    def rows_apart(self) -> int:
        """The number of parts into which the rows are divided."""
        return 1 if self.by_units else self.threads


@final
class CompiledCell:
    """The kernels of a cell for one element type, on this machine, with vectors of one width.

    Attributes:
        layouts: a cache for callers of what follows from the sizes of a call; it lives as long as the
        kernels.
    """

    def __init__(self, cell: Cell, number: Number, target: Target) -> None:
        self.plan = plan(cell)
        self.number = number
        self.width = target.width(number)
        self._target = target
        self._programs: dict[str, Program] = {}
        self.layouts: dict[Hashable, Any] = {}

    @property
    def forward(self) -> Program:
        """The forward kernel (see `gatewise.compiler.kernels.forward`)."""
        return self._programs.get("forward") or self._load("forward", ForwardKernel(self.plan))

    @property
    def backward(self) -> Program:
        """The backward kernel (see `gatewise.compiler.kernels.backward`)."""
        return self._programs.get("backward") or self._load("backward", BackwardKernel(self.plan))

    @property
    def outer(self) -> Program:
        """The kernel of weight gradients (see `gatewise.compiler.kernels.weight_gradients`)."""
        return self._programs.get("outer") or self._load("outer", WeightGradientKernel())

    def _load(self, name: str, kernel: Kernel) -> Program:
        key = f"{name} {self.number.name} {self._target.key} {kernel.key}"
        # No lock: of threads that come at the same time one compiles (see `machine.load`), and one entry
        # stays.
        program = Program(key, kernel.arguments, lambda: kernel.write(self.number, self._target))
        return self._programs.setdefault(name, program)

    def padded(self, units: int) -> int:
        """Units rounded up to whole vectors."""
        return -(-units // self.width) * self.width

    def forward_packed(self, I: int, H: int, P: int) -> dict[str, int]:
        """The number of elements of each array that `prepare` fills for a forward call."""
        plan, units = self.plan, self.padded(H)
        return {
            "panels": units * (len(plan.input_slots) * I + len(plan.state_slots) * P),
            "panels_linear": units * H * len(plan.cell.linears),
            "panels_project": self.padded(P) * H if plan.cell.projects else 0,
            "bias": (len(plan.slots) + len(plan.cell.linears) + 1) * units,
        }

    def forward_scratch(self, B: int, H: int, P: int) -> dict[str, int]:
        """The number of elements of each scratch array of the steps of a forward call."""
        seen = 0 if self.plan.cell.seen.op == "state" else B * P
        return {"spills": B * H * len(self.plan.forward.spilled), "seen": seen}

    def backward_scratch(self, B: int, I: int, H: int, P: int) -> dict[str, int]:
        """The number of elements of each scratch array of a backward call."""
        plan = self.plan
        return {
            "panels_ih": self.padded(I) * len(plan.input_slots) * H,
            "panels_hh": self.padded(P) * len(plan.state_slots) * H,
            "panels_linear": self.padded(H) * H * len(plan.cell.linears),
            "panels_project": self.padded(H) * P if plan.cell.projects else 0,
            "spills": B * H * len(plan.backward.spilled),
            "own_means": B * len(plan.backward.means),
        }

    def chunk(self, B: int, H: int, threads: int) -> int:
        """The number of steps of a chunk: their pre-activations fit the cache."""
        rows = -(-B // threads)
        step = rows * H * self.plan.gates * self.number.bytes
        return max(1, CHUNK_BYTES // max(step, 1))

    def joins(self, T: int, rows: int) -> bool:
        """Whether a forward call with this number of rows for each thread gains by ``joined [B, I + P]``."""
        return self.plan.joins and (T == 1 or rows >= ROWS_TO_JOIN)

    def team(self, wanted: int, T: int, B: int, I: int, H: int, packed: bool = False) -> Team:
        """The team for a call, of at most `wanted` threads.

        Threads that divide the units need a barrier at each step, but each reads only its part of the
        weights. Threads that divide the rows need no barrier; but few rows make poor tiles, and rows of
        different lengths make unequal shares: the rows of packed sequences are never divided.
        """
        if wanted == 1:
            return Team(1, by_units=False)
        weights = len(self.plan.slots) * H * (H + I)
        prefers_units = packed or _FEW_ROWS * wanted > B or weights * self.number.bytes > _LARGE_WEIGHTS
        if prefers_units and self.plan.divides_units and openmp() is not None:
            parts = min(self.padded(H) // self.width, int(weights * B / _STEP_WORK))
            threads = worth(wanted, parts, weights * B * T)
            if threads > 1:
                return Team(threads, by_units=True)
        rows = 1 if packed else B // _LEAST_ROWS
        return Team(worth(wanted, rows, weights * B * T), by_units=False)


def worth(wanted: int, parts: int, work: float) -> int:
    """How many of the wanted threads are worth their cost, for this number of parts and multiply-adds."""
    return max(1, min(available(wanted), parts, int(work / _THREAD_WORK)))


def compiled(cell: Cell, dtype: str, width: int | None = None) -> CompiledCell:
    """The kernels of `cell` for "float32" or "float64", at this machine's vector width or at `width`."""
    number = NUMBERS[dtype]
    return _compiled(cell, number, host().width(number) if width is None else width)


@functools.lru_cache(maxsize=128)  # the number of cells in a process has no limit
def _compiled(cell: Cell, number: Number, width: int) -> CompiledCell:
    return CompiledCell(cell, number, host(width))


def split(address: int, sizes: Mapping[str, int], itemsize: int) -> dict[str, Any]:
    """The addresses of consecutive arrays in one piece of memory, each aligned to a cache line."""
    result = {}
    for name, size in sizes.items():
        address = -(-address // 64) * 64
        result[name] = address
        address += size * itemsize
    return result


def room(sizes: Mapping[str, int], itemsize: int) -> int:
    """The number of elements of the piece of memory that `split` divides."""
    return sum(sizes.values()) + len(sizes) * (64 // itemsize)
