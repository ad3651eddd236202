"""Recurrent layers over rows of different lengths, in both directions. Nothing is computed past an end.

The rows are packed: for each step the rows that have it lie side by side, the longest row first. A row that
is read backwards is reversed within its own length, so both directions walk in the same way.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple, final

import numpy as np

from gatewise.runtime.arrays import Array, Shape, address, aligned
from gatewise.runtime.calls import Call
from gatewise.runtime.layers_file import StoredLayers
from gatewise.runtime.stack import Stack
from gatewise.runtime.stream import Stream
from gatewise.runtime.weights import layers_of

_REVERSE = "_reverse"


class Outputs(NamedTuple):
    """What layers give.

    Attributes:
        output: the output of the last layer at each step, ``[T, B, D*P]``; zeros past the end of a row.
        states: the final states of each row by name, ``[L*D, B, H]`` (the output ``[L*D, B, P]``), in the
            order of `torch.nn`: layer by layer, the reverse direction second.
        last: the last output of each row, ``[B, D*P]``: the forward direction at the row's last step, the
            reverse one at its first. A row without steps has its initial state.
    """

    output: Array
    states: dict[str, Array]
    last: Array


@final
class Layers:
    """The recurrent layers of a model, in evaluation mode.

    The bits are those of `gatewise.nn.Recurrent` in evaluation mode, whatever the batch of a row. Threads may
    use the same layers at the same time.

    Attributes:
        cell: the equations, with the layers' options.
        dtype: the type of the weights.
        input_size, output_size: I, and D*P.
        num_layers, directions: L, and D.

    Raises:
        TypeError: the weights are neither float32 nor float64.
    """

    def __init__(self, stored: StoredLayers) -> None:
        self._stored = stored
        self.cell = stored.streamed
        self.num_layers = stored.options["num_layers"]
        self.directions = 1 + stored.options["bidirectional"]
        self._stacks = [self._stack(f"_l{k}") for k in range(self.num_layers)]
        first = self._stacks[0][0]
        self.dtype, self.input_size = first.dtype, first.I
        self.output_size = self.directions * first.P

    def _stack(self, layer: str) -> list[Stack]:
        """The weights of a layer, packed for each direction."""
        stacks = []
        for suffix in (layer, layer + _REVERSE)[: self.directions]:
            weights = {
                f"{name.removesuffix(suffix)}_l0": array
                for name, array in self._stored.weights.items()
                if name.endswith(suffix)
            }
            stacks.append(Stack(self.cell, layers_of(self.cell, weights, None)))
        return stacks

    def __call__(self, x: Array, lengths: Array | None = None) -> Outputs:
        """Run the layers over ``x [T, B, I]``, whose rows have ``lengths [B]`` from 0 to T (by default T).

        Raises:
            TypeError: `x` is not an array of the layers' `dtype`.
            ValueError: a shape is wrong, or a length is outside of 0 to T.
        """
        if not isinstance(x, np.ndarray) or x.dtype != self.dtype:
            came = getattr(x, "dtype", type(x).__name__)
            raise TypeError(f"x must be an array of {self.dtype}. Got {came}.")
        if x.ndim != 3 or x.shape[2] != self.input_size:
            raise ValueError(f"x must have shape [T, B, {self.input_size}]. Got {x.shape}.")
        rows = _Rows(x.shape[:2], lengths)
        below = [rows.packed(x, reverse) for reverse in range(self.directions)]
        finals: list[dict[str, Array]] = []
        for stacks in self._stacks:
            passed = [_run(stack, some, rows) for stack, some in zip(stacks, below, strict=True)]
            finals += [rows.of_all(stack, final) for stack, (_, final) in zip(stacks, passed, strict=True)]
            below = rows.joined([output for output, _ in passed])
        output = rows.padded(below[0])
        states = {name: np.stack([final[name] for final in finals]) for name in self.cell.states}
        last = np.concatenate(list(states[self.cell.states[0]][-self.directions :]), axis=1)
        return Outputs(output, states, last)

    def stream(self, batch: int = 1) -> Stream:
        """A `Stream` of the layers. Streams share the packed weights.

        Raises:
            ValueError: the layers are bidirectional, or `batch` is not a positive integer.
        """
        return Stream.of(self._for_streams, batch)

    @cached_property
    def _for_streams(self) -> Stack:
        if self.directions > 1:
            raise ValueError("bidirectional layers read each sequence to its end first; they cannot stream.")
        return Stack(self.cell, layers_of(self.cell, self._stored.weights, None))


@final
class _Rows:
    """The rows of a padded batch ``[T, B]`` in packed order.

    Attributes:
        order: ``[R]``, for each packed row its number in the batch. Rows without steps are left out.
        lengths: ``[R]``, their lengths, falling.
        starts, counts: for each step, its first place in packed arrays and its number of rows; then 0.
    """

    def __init__(self, sizes: Shape, lengths: Array | None) -> None:
        self.T, self.B = sizes
        whole = np.full(self.B, self.T) if lengths is None else _checked(lengths, *sizes)
        self.order = np.argsort(-whole, kind="stable")[: np.count_nonzero(whole)]
        self.lengths = whole[self.order]
        steps = int(self.lengths[0]) if len(self.lengths) else 0
        counts = np.count_nonzero(np.arange(steps)[:, None] < self.lengths, axis=1).astype(np.int64)
        self.counts = np.append(counts, 0)
        self.starts = np.append(0, counts.cumsum())
        self.is_whole = bool(counts.sum() == self.T * self.B)

    @cached_property
    def _places(self) -> list[Array]:
        """``[N]`` for each direction: the place of each packed row in the batch with its axes flattened."""
        steps, row = np.nonzero(np.arange(len(self.counts) - 1)[:, None] < self.lengths)
        return [t * self.B + self.order[row] for t in (steps, self.lengths[row] - 1 - steps)]

    @cached_property
    def _turned(self) -> Array:
        """``[N]``: for each packed place, that of the same step in the other direction."""
        place = np.empty(self.T * self.B, np.int64)
        place[self._places[0]] = np.arange(len(self._places[0]))
        turned: Array = place[self._places[1]]
        return turned

    def packed(self, x: Array, reverse: int) -> Array:
        """Pack ``x [T, B, I]`` to ``[N, I]``, in the order of a direction."""
        if self.is_whole:
            return np.ascontiguousarray(x[::-1] if reverse else x).reshape(-1, x.shape[2])
        return np.take(x.reshape(-1, x.shape[2]), self._places[reverse], axis=0)

    def padded(self, packed: Array) -> Array:
        """The inverse of `packed`, with zeros past the end of each row."""
        width = packed.shape[1]
        if self.is_whole:
            return packed.reshape(self.T, self.B, width)
        padded = np.zeros((self.T * self.B, width), packed.dtype)
        padded[self._places[0]] = packed
        return padded.reshape(self.T, self.B, width)

    def joined(self, outputs: list[Array]) -> list[Array]:
        """The packed outputs of the directions side by side, in the order of each direction."""
        if len(outputs) == 1:
            return outputs
        forward = np.concatenate([outputs[0], outputs[1][self._turned]], axis=1)
        return [forward, forward[self._turned]]

    def of_all(self, stack: Stack, finals: dict[str, Array]) -> dict[str, Array]:
        """Final states of all rows ``[B, width]``. A row without steps has its initial state."""
        states = {}
        for name, values in finals.items():
            states[name] = np.repeat(stack.initial[name][0], self.B, axis=0)
            states[name][self.order] = values
        return states


def _checked(lengths: Any, T: int, B: int) -> Array:
    found = np.asarray(lengths)
    if found.shape != (B,) or found.dtype.kind not in "iu":
        raise ValueError(f"lengths must be {B} whole numbers. Got {found.dtype} of shape {found.shape}.")
    if found.size and not (found.min() >= 0 and found.max() <= T):
        raise ValueError(f"lengths must be from 0 to {T}. Got {found.min()} to {found.max()}.")
    return found.astype(np.int64)


def _run(stack: Stack, x: Array, rows: _Rows) -> tuple[Array, dict[str, Array]]:
    """One layer in one direction over packed rows.

    Returns:
        Its packed outputs ``[N, P]``, and the final states of the rows that have steps.
    """
    output, *behind = stack.cell.states
    found = np.empty((len(x), stack.P), stack.dtype)
    R = len(rows.order)
    finals = {name: np.empty((R, stack.widths[name]), stack.dtype) for name in behind}
    if R == 0:
        return found, {output: found, **finals}
    scratch = _scratch(stack, R, len(rows.counts) - 1)
    fields = stack.fields[0] | scratch.fields | {
        "T": len(rows.counts) - 1, "B": R, "x": address(x), "x.t": 1, "x.b": stack.I,
        "starts": address(rows.starts), "counts": address(rows.counts),
        f"out_{output}": address(found), f"out_{output}.t": 1, f"out_{output}.b": stack.P,
    }  # fmt: skip
    for name, values in stack.initial.items():
        fields |= {f"init_{name}": address(values), f"init_{name}.b": 0}
    for name, values in finals.items():
        fields |= {f"out_{name}": address(values), f"out_{name}.b": stack.H}
    Call(stack.program, fields).run()
    last = found[rows.starts[rows.lengths - 1] + np.arange(R)]
    return found, {output: last, **finals}


class _Scratch(NamedTuple):
    """Scratch memory of a call. `arrays` keeps alive what the addresses in `fields` point to."""

    fields: dict[str, int]
    arrays: dict[str, Array]


def _scratch(stack: Stack, B: int, T: int) -> _Scratch:
    kernels, H, P, width = stack.kernels, stack.H, stack.P, stack.kernels.plan.gates * stack.H
    chunk, means = min(T, kernels.chunk(B, H, threads=1)), len(kernels.plan.forward.means)
    sizes = kernels.forward_scratch(B, H, P) | {"means": B * means}
    fields = {"gates.t": B * width, "gates.b": width, "means.t": 0, "means.b": means, "chunk": chunk}
    if kernels.joins(T, B):
        sizes |= {"joined": B * (stack.I + P), "gates": B * width}
        fields |= {"gates.t": 0, "chunk": T}
    else:
        sizes["gates"] = chunk * B * width
    arrays = aligned({name: (size,) for name, size in sizes.items()}, stack.dtype)
    return _Scratch(fields | {name: address(array) for name, array in arrays.items()}, arrays)
