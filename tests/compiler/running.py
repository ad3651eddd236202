"""Kernels run on arrays that are full of NaN and have NaN on every side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gatewise.compiler import outer
from gatewise.compiler.program import CompiledCell, compiled
from tests.compiler.problems import Array, Problem

MARGIN = 40  # elements on each side of an array

Results = dict[str, Array]


class Memory:
    """Arrays of NaN, with NaN on each side that nobody may change, in one of several layouts.

    Every array has a NaN of its own, so that a copy of one beside another is found too.
    """

    LAYOUTS = ("time first", "batch first", "backwards", "backwards, batch first", "with gaps")

    def __init__(self, dtype: str, layout: str = "time first") -> None:
        self.dtype, self.layout = dtype, layout
        self._bits = np.dtype(f"u{np.dtype(dtype).itemsize}")
        self._nan = np.array(np.nan, dtype).view(self._bits)
        self._beside: list[tuple[Array, Array]] = []  # what must stay, and its bits

    def array(self, *shape: int) -> Array:
        """An array with contiguous axes."""
        self._nan = self._nan + np.ones((), self._bits)
        whole = np.full(int(np.prod(shape)) + 2 * MARGIN, self._nan, self._bits).view(self.dtype)
        self._keep(whole[:MARGIN], whole[-MARGIN:])
        return whole[MARGIN:-MARGIN].reshape(shape)

    def sequence(self, T: int, B: int, width: int) -> Array:
        """``[T, B, width]``, the last axis contiguous."""
        if self.layout == "with gaps":
            wide = self.array(T, 2 * B, width + 3)
            self._keep(wide[:, 1::2], wide[..., width:])
            return wide[:, ::2, :width]
        batch_first = self.layout.endswith("batch first")
        steps = self.array(B, T, width).swapaxes(0, 1) if batch_first else self.array(T, B, width)
        return steps[::-1] if self.layout.startswith("backwards") else steps

    def copy(self, values: Array) -> Array:
        """A copy of an array, a sequence if it has three axes."""
        array = self.sequence(*values.shape) if values.ndim == 3 else self.array(*values.shape)
        array[...] = values
        return array

    def check(self) -> None:
        """Fail if something was written beside an array."""
        assert all((beside.view(self._bits) == nan).all() for beside, nan in self._beside)

    def _keep(self, *beside: Array) -> None:
        self._beside += [(array, self._nan) for array in beside]


def strided(name: str, steps: Array) -> dict[str, int]:
    """The fields of a sequence: where its first step is, and how far apart steps and rows are."""
    by_step, by_row, _ = (stride // steps.itemsize for stride in steps.strides)
    return {name: steps.ctypes.data, f"{name}.t": by_step, f"{name}.b": by_row}


def met(side: str, steps: Array, c: Array) -> dict[str, int]:
    """The fields of one side of the weight gradients: what derivatives met, and their sum."""
    names = strided("met", steps) | {"M": steps.shape[2], "c": c.ctypes.data}
    # A stride of a sequence is named after it, behind a dot: the side comes before.
    return {f"{name}_{side}": value for name, value in names.items()}


def run(
    p: Problem,
    dtype: str = "float64",
    *,
    width: int | None = None,
    threads: int = 1,
    by_units: bool = False,
    chunk: int | None = None,
    train: bool = True,
    watch: Sequence[str] = (),
    layout: str = "time first",
    joined: bool = False,
    in_place: bool = False,
    dx: bool = True,
) -> Results:
    """All that the kernels compute, in arrays that were NaN before.

    "output" ``[T, B, H]``, "final s" ``[B, H]``, "watch v" ``[T, B, H]``; with `train` also "gradient a" for
    each leaf a. `joined` gives forward room to lay input and state side by side; `in_place` puts the
    derivatives where the gates were; without `dx` none is asked for.
    """
    call = Call(p, compiled(p.cell, dtype, width), threads, chunk, layout, by_units)
    if joined:
        call.join()
    results = call.forward(train, watch)
    if train:
        results |= call.backward(in_place, dx)
    call.memory.check()
    return {name: value.copy() for name, value in results.items()}


class Call:
    """One problem in memory of its own; `states` are the arrays that forward writes to."""

    def __init__(
        self,
        p: Problem,
        kernels: CompiledCell,
        threads: int = 1,
        chunk: int | None = None,
        layout: str = "time first",
        by_units: bool = False,
    ) -> None:
        self.p, self.kernels, self.threads = p, kernels, threads
        self.memory = Memory(kernels.number.name, layout)
        self.arrays = {name: self.memory.copy(array) for name, array in p.arrays.items()}
        T, B, I, H = p.sizes
        self.zeros = np.zeros(kernels.padded(max(I, H)), self.memory.dtype)
        self.chunk = chunk or T
        self.states: Results = {}
        self.fields = {"T": T, "B": B, "I": I, "H": H, "chunk": self.chunk, "by_units": int(by_units)}
        self.fields |= strided("x", self.arrays["x"])
        for name in p.leaves[1:]:
            self.fields[name] = self.arrays[name].ctypes.data
        for state in p.cell.states:
            init = self.arrays.get(f"init_{state}", np.broadcast_to(self.zeros[:H], (B, H)))
            self.fields |= strided(f"init_{state}", np.broadcast_to(init, (T, B, H)))

    def sequence(self, name: str, width: int) -> Array:
        """A new sequence that a kernel knows as `name`."""
        T, B, _, _ = self.p.sizes
        steps = self.memory.sequence(T, B, width)
        self.fields |= strided(name, steps)
        return steps

    def scratch(self, sizes: dict[str, int]) -> None:
        """Scratch arrays, of so many elements and no more."""
        self.pieces = {name: self.memory.array(size) for name, size in sizes.items()}
        self.fields |= {name: piece.ctypes.data for name, piece in self.pieces.items()}

    def join(self) -> None:
        """Give room for the input and the state of a step."""
        _, B, I, H = self.p.sizes
        self.joined = self.memory.array(B, I + H)
        self.fields["joined"] = self.joined.ctypes.data

    def forward(self, keep: bool, watch: Sequence[str]) -> Results:
        """Run forward; without `keep` states behind the output have their last step only."""
        plan, cell, (T, B, I, H) = self.kernels.plan, self.p.cell, self.p.sizes
        width = len(plan.slots) * H
        tape = keep and plan.keeps
        self.gates = self.sequence("gates", width) if tape else self.memory.array(self.chunk, B, width)
        self.fields |= strided("gates", self.gates)
        self.scratch(self.kernels.forward_scratch(I, H))
        for s in cell.states if keep else cell.states[:1]:
            self.states[s] = self.sequence(f"out_{s}", H)
        finals = {s: self.states[s][-1] for s in self.states}
        for s in cell.states[len(self.states) :]:
            finals[s] = self.memory.array(B, H)
            self.fields |= strided(f"out_{s}", np.broadcast_to(finals[s], (T, B, H)))
        watched = {v: self.sequence("watch", H) for v in watch}
        self.fields |= {f"watch_{v}": steps.ctypes.data for v, steps in watched.items()}
        self.fields |= {"keep": int(tape), "watch": int(bool(watch))}
        self.kernels.forward(self.threads, self.fields)
        results = {"output": self.states[cell.states[0]]}
        results |= {f"final {s}": value for s, value in finals.items()}
        return results | {f"watch {v}": value for v, value in watched.items()}

    def backward(self, in_place: bool, dx: bool) -> Results:
        """Run backward and the products for the weights."""
        cell, (_, _, I, H) = self.p.cell, self.p.sizes
        width = (len(self.kernels.plan.slots) + len(cell.vectors)) * H
        if in_place:
            self.derivatives = self.gates
            self.fields |= strided("derivatives", self.gates)
        else:
            self.derivatives = self.sequence("derivatives", width)
        self.fields |= strided("dout", self.arrays["dout"])
        self.fields |= {f"carry_{s}": self.arrays[f"carry_{s}"].ctypes.data for s in cell.states}
        results = {"gradient x": self.sequence("dx", I)}
        self.fields["dx"] *= dx
        self.scratch(self.kernels.backward_scratch(I, H))
        self.fields["zeros"] = self.zeros.ctypes.data
        self.kernels.backward(self.threads, self.fields)
        for s in cell.states:
            results[f"gradient init_{s}"] = self.arrays[f"carry_{s}"]
        return results | self.by_weights()

    def slot(self, n: int) -> Array:
        """The derivatives by a slot, or after the slots by a vector."""
        H = self.p.sizes[3]
        return self.derivatives[:, :, n * H : (n + 1) * H]

    def by_weights(self) -> Results:
        plan, cell, (T, B, I, H) = self.kernels.plan, self.p.cell, self.p.sizes
        ones = np.broadcast_to(np.ones((), self.memory.dtype), (T, B, 1))
        init = [self.arrays.get(f"init_{cell.states[0]}", np.zeros((B, H), self.memory.dtype))]
        entering = self.memory.copy(np.stack([*init, *self.states[cell.states[0]][:-1]]))
        results: Results = {}
        for side, met, number in (("ih", self.arrays["x"], I), ("hh", entering, H)):
            rows = [getattr(slot, f"row_{side}") for slot in plan.slots]
            by_weight = self.memory.copy(
                np.zeros((len(rows) - rows.count(None), H, number)).reshape(-1, number)
            )
            by_bias = self.memory.copy(np.zeros((len(by_weight), 1)))
            for n, row in enumerate(rows):
                if row is not None:
                    block = slice(row * H, (row + 1) * H)
                    self.outer(self.slot(n), met, by_weight[block])
                    self.outer(self.slot(n), ones, by_bias[block])
            results |= {f"gradient w_{side}": by_weight, f"gradient b_{side}": by_bias[:, 0]}
        for n, v in enumerate(cell.vectors, len(plan.slots)):
            by_vector = self.memory.copy(np.zeros((H, 1)))
            self.outer(self.slot(n), ones, by_vector)
            results[f"gradient vector_{v}"] = by_vector[:, 0]
        return results

    def outer(self, a: Array, x: Array, c: Array) -> None:
        """``c [N, M] += sum over t, b of a[t, b, N] * x[t, b, M]``."""
        T, B, N = a.shape
        fields = {"T": T, "B": B, "N": N, "chunk": outer.chunk(B)} | strided("a", a)
        self.kernels.outer(self.threads, fields | met("ih", x, c))


def assert_same_bits(found: Results, expected: Results) -> None:
    """All that both have is equal to the last bit, signs of zeros included; they have the output at least."""
    common = found.keys() & expected.keys()
    assert "output" in common
    for name in common:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name, strict=True)
        np.testing.assert_array_equal(np.signbit(found[name]), np.signbit(expected[name]), err_msg=name)
        assert not np.isnan(found[name]).any(), name
