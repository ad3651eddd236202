"""Runs kernels on arrays filled with NaN, between margins of NaN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gatewise.compiler.kernels import weight_gradients
from gatewise.compiler.run.program import CompiledCell, Program, compiled
from gatewise.language.graph import Node
from tests.compiler.problems import FIRST_STEP, SEED, Array, Problem, dropped

MARGIN = 40  # elements in each margin

Results = dict[str, Array]


class Memory:
    """Arrays filled with NaN, between margins of NaN that must stay unchanged, in one of several layouts.

    Each array has its own NaN bit pattern. So `check` also finds a copy from another array into a margin.
    """

    LAYOUTS = ("time first", "batch first", "backwards", "backwards, batch first", "with gaps")

    def __init__(self, dtype: str, layout: str = "time first") -> None:
        self.dtype, self.layout = dtype, layout
        self._bits = np.dtype(f"u{np.dtype(dtype).itemsize}")
        self._nan = np.array(np.nan, dtype).view(self._bits)
        self._beside: list[tuple[Array, Array]] = []  # the margins, and the bits that they must keep

    def array(self, *shape: int) -> Array:
        """An array with contiguous axes."""
        self._nan = self._nan + np.ones((), self._bits)
        whole = np.full(int(np.prod(shape)) + 2 * MARGIN, self._nan, self._bits).view(self.dtype)
        self._keep(whole[:MARGIN], whole[-MARGIN:])
        return whole[MARGIN:-MARGIN].reshape(shape)

    def sequence(self, T: int, B: int, width: int) -> Array:
        """An array ``[T, B, width]`` whose last axis is contiguous."""
        if self.layout == "with gaps":
            wide = self.array(T, 2 * B, width + 3)
            self._keep(wide[:, 1::2], wide[..., width:])
            return wide[:, ::2, :width]
        batch_first = self.layout.endswith("batch first")
        steps = self.array(B, T, width).swapaxes(0, 1) if batch_first else self.array(T, B, width)
        return steps[::-1] if self.layout.startswith("backwards") else steps

    def copy(self, values: Array) -> Array:
        """A copy of an array. With three axes it is laid out as a sequence."""
        array = self.sequence(*values.shape) if values.ndim == 3 else self.array(*values.shape)
        array[...] = values
        return array

    def check(self) -> None:
        """Fail if a margin was written to."""
        assert all((beside.view(self._bits) == nan).all() for beside, nan in self._beside)

    def _keep(self, *beside: Array) -> None:
        self._beside += [(array, self._nan) for array in beside]


def strided(name: str, steps: Array) -> dict[str, int]:
    """The fields of a sequence: the address of its first step, and its strides over steps and over rows."""
    by_step, by_row, _ = (stride // steps.itemsize for stride in steps.strides)
    return {name: steps.ctypes.data, f"{name}.t": by_step, f"{name}.b": by_row}


def met(side: str, steps: Array, c: Array) -> dict[str, int]:
    """The fields of one side of the weight gradients: the vectors that meet derivatives, and their sum."""
    names = strided("met", steps) | {"M": steps.shape[2], "c": c.ctypes.data}
    # The name of a stride has a dot, as in "met_ih.t": the side stands before the dot.
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
    """All results of the kernels, in arrays that were filled with NaN.

    The names are "output" ``[T, B, H]``, "final s" ``[B, H]``, "watch v" ``[T, B, H]``, and with `train`
    "gradient a" for each leaf a. With `joined`, forward gets memory for input and state side by side. With
    `in_place`, derivatives overwrite the gates. Without `dx`, the gradient of the input is not computed.
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
    """One problem in its own memory. `states` are the arrays that forward writes."""

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
        self.width = dict.fromkeys(p.cell.states, H) | {p.cell.states[0]: p.P}
        self.states: Results = {}
        self.fields = {"T": T, "B": B, "I": I, "H": H, "P": p.P, "chunk": self.chunk}
        self.fields |= {"by_units": int(by_units), "seed": SEED, "first_step": FIRST_STEP}
        self.fields |= strided("x", self.arrays["x"])
        for name in p.leaves[1:]:
            self.fields[name] = self.arrays[name].ctypes.data
        for state in p.cell.states:
            nothing = np.broadcast_to(self.zeros[: self.width[state]], (B, self.width[state]))
            init = self.arrays.get(f"init_{state}", nothing)
            whole = np.broadcast_to(init, (T, B, self.width[state]))
            self.fields |= strided(f"init_{state}", whole)

    def sequence(self, name: str, width: int) -> Array:
        """A new sequence, passed to kernels as the field `name`."""
        T, B, _, _ = self.p.sizes
        steps = self.memory.sequence(T, B, width)
        self.fields |= strided(name, steps)
        return steps

    def scratch(self, sizes: dict[str, int]) -> None:
        """Allocate scratch arrays with exactly these numbers of elements."""
        self.pieces = {name: self.memory.array(size) for name, size in sizes.items()}
        self.fields |= {name: piece.ctypes.data for name, piece in self.pieces.items()}

    def fields_of(self, kernel: Program) -> dict[str, int]:
        """The fields that this kernel takes."""
        return {name: self.fields[name] for name in kernel.arguments.names if name in self.fields}

    def join(self) -> None:
        """Allocate memory for the input and the state of a step, side by side."""
        _, B, I, _ = self.p.sizes
        self.joined = self.memory.array(B, I + self.p.P)
        self.fields["joined"] = self.joined.ctypes.data

    def forward(self, keep: bool, watch: Sequence[str]) -> Results:
        """Run forward. Without `keep`, only the last step of all states except the output is stored."""
        plan, cell, (T, B, I, H) = self.kernels.plan, self.p.cell, self.p.sizes
        width, count = plan.gates * H, len(plan.forward.means)
        tape = keep and plan.keeps
        self.gates = self.sequence("gates", width) if tape else self.memory.array(self.chunk, B, width)
        self.fields |= strided("gates", self.gates)
        one_step = np.broadcast_to(self.memory.array(B, count), (T, B, count))
        self.means = self.sequence("means", count) if tape else one_step
        self.fields |= strided("means", self.means)
        self.scratch(self.kernels.forward_packed(I, H, self.p.P))
        self.scratch(self.kernels.forward_scratch(B, H, self.p.P))
        for s in cell.states if keep else cell.states[:1]:
            self.states[s] = self.sequence(f"out_{s}", self.width[s])
        finals = {s: self.states[s][-1] for s in self.states}
        for s in cell.states[len(self.states) :]:
            finals[s] = self.memory.array(B, H)
            self.fields |= strided(f"out_{s}", np.broadcast_to(finals[s], (T, B, H)))
        seen = [v for v in watch if cell.values[v].op != "project"]  # the output is recorded in any case
        watched = {v: self.sequence("watch", H) for v in seen}
        self.fields |= {f"watch_{v}": steps.ctypes.data for v, steps in watched.items()}
        self.fields |= {"keep": int(tape), "watch": int(bool(watch))}
        self.kernels.forward(self.threads, self.fields_of(self.kernels.forward))
        results = {"output": self.states[cell.states[0]]}
        results |= {f"final {s}": value for s, value in finals.items()}
        watched |= {v: results["output"] for v in watch if v not in watched}
        return results | {f"watch {v}": value for v, value in watched.items()}

    def backward(self, in_place: bool, dx: bool) -> Results:
        """Run backward and the kernel of weight gradients."""
        plan, cell, (_, B, I, H) = self.kernels.plan, self.p.cell, self.p.sizes
        width = plan.derivatives * H
        if in_place:
            self.derivatives = self.gates
            self.fields |= strided("derivatives", self.gates)
        else:
            self.derivatives = self.sequence("derivatives", width)
        self.fields |= strided("dout", self.arrays["dout"])
        self.fields |= {f"carry_{s}": self.arrays[f"carry_{s}"].ctypes.data for s in cell.states}
        results = {"gradient x": self.sequence("dx", I)}
        self.fields["dx"] *= dx
        self.projected = self.sequence("projected", self.p.P) if cell.projects else None
        self.by_vectors = self.memory.copy(np.zeros((B, len(plan.by_vectors) * H)))
        self.fields["by_vectors"] = self.by_vectors.ctypes.data
        self.scratch(self.kernels.backward_scratch(B, I, H, self.p.P))
        self.fields["zeros"] = self.zeros.ctypes.data
        self.kernels.backward(self.threads, self.fields_of(self.kernels.backward))
        for s in cell.states:
            results[f"gradient init_{s}"] = self.arrays[f"carry_{s}"]
        return results | self.by_weights()

    def slot(self, n: int) -> Array:
        """The derivatives of slot n; from the last slot on, those of the `linear` products."""
        H = self.p.sizes[3]
        return self.derivatives[:, :, n * H : (n + 1) * H]

    def by_weights(self) -> Results:
        plan, cell, (T, B, I, H) = self.kernels.plan, self.p.cell, self.p.sizes
        ones = np.broadcast_to(np.ones((), self.memory.dtype), (T, B, 1))
        init = [self.arrays.get(f"init_{cell.states[0]}", np.zeros((B, self.p.P), self.memory.dtype))]
        entering = np.stack([*init, *self.states[cell.states[0]][:-1]])
        if cell.seen.op == "dropout":
            entering = dropped(cell.seen, entering, FIRST_STEP)
        entering = self.memory.copy(entering)
        results: Results = {}
        for side, met, number in (("ih", self.arrays["x"], I), ("hh", entering, self.p.P)):
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
        if cell.linears:
            by_weight = self.memory.copy(np.zeros((len(cell.linears) * H, H)))
            by_bias = self.memory.copy(np.zeros((len(by_weight), 1)))
            for n, node in enumerate(plan.cell.linears):
                block = slice(n * H, (n + 1) * H)
                self.outer(self.slot(len(plan.slots) + n), self.column(node.args[0]), by_weight[block])
                self.outer(self.slot(len(plan.slots) + n), ones, by_bias[block])
            results |= {"gradient w_linear": by_weight, "gradient b_linear": by_bias[:, 0]}
        if self.projected is not None:
            results["gradient w_hr"] = self.memory.copy(np.zeros((self.p.P, H)))
            self.outer(
                self.projected, self.column(plan.cell.next_states[0].args[0]), results["gradient w_hr"]
            )
        for n, numbers in enumerate(plan.by_vectors.values()):
            for number in numbers:
                by_vector = self.by_vectors[:, n * H : (n + 1) * H].sum(0)
                results[f"gradient vector_{cell.vectors[number]}"] = by_vector
        return results

    def column(self, node: Node) -> Array:
        """The vector that a `linear` or `project` in the step was multiplied by."""
        H, n = self.p.sizes[3], self.kernels.plan.columns[node]
        return self.memory.copy(self.gates[:, :, n * H : (n + 1) * H])

    def outer(self, a: Array, x: Array, c: Array) -> None:
        """``c [N, M] += sum over t, b of a[t, b, N] * x[t, b, M]``."""
        T, B, N = a.shape
        fields = {"T": T, "B": B, "N": N, "chunk": weight_gradients.chunk(B)} | strided("a", a)
        self.kernels.outer(self.threads, fields | met("ih", x, c))


def assert_same_bits(found: Results, expected: Results) -> None:
    """Assert that common results have equal bits, including signs of zeros. The output must be among them."""
    common = found.keys() & expected.keys()
    assert "output" in common
    for name in common:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name, strict=True)
        np.testing.assert_array_equal(np.signbit(found[name]), np.signbit(expected[name]), err_msg=name)
        assert not np.isnan(found[name]).any(), name
