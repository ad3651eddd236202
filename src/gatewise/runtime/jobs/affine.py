"""Linear maps, and convolutions over time. A row has the same bits alone and in any batch."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from gatewise.language import Input, cell
from gatewise.runtime.arrays import Array, address, aligned
from gatewise.runtime.calls import Call
from gatewise.runtime.stack import Stack
from gatewise.runtime.weights import TYPES, Layer

_FEWEST_ROWS = 16  # rows of a call, however wide the map is


@cell
def affine(y, *, a: Input):  # type: ignore[no-untyped-def]
    """A linear map: a cell without memory. (The order of a library's sums depends on the number of rows.)"""
    return a


@final
class Affine:
    """The map ``y = x W^T + b`` of the last axis, as `torch.nn.Linear`.

    Args:
        weight: ``[O, I]``, of float32 or float64.
        bias: ``[O]``; None for none.

    Attributes:
        inputs, outputs: I and O.
        dtype: the type of the weight; the input has the same.

    Raises:
        TypeError: the type is neither float32 nor float64.
        ValueError: a shape is wrong.

    Example:
        >>> import numpy as np
        >>> from gatewise.runtime.jobs.affine import Affine
        >>> rng = np.random.default_rng(0)
        >>> affine = Affine(rng.normal(size=(3, 100)), rng.normal(size=3))
        >>> x = rng.normal(size=(20, 100))
        >>> bool((affine(x)[7] == affine(x[7])).all())
        True
    """

    def __init__(self, weight: Array, bias: Array | None = None) -> None:
        if weight.dtype.name not in TYPES:
            raise TypeError(f"weight must be of float32 or float64. Got {weight.dtype}.")
        if weight.ndim != 2 or 0 in weight.shape:
            raise ValueError(f"weight must be a matrix [O, I]. Got shape {weight.shape}.")
        if bias is not None and (bias.shape, bias.dtype) != (weight.shape[:1], weight.dtype):
            wanted = f"{weight.dtype} of shape {weight.shape[:1]}"
            raise ValueError(f"bias must be {wanted}. Got {bias.dtype} of shape {bias.shape}.")
        self.outputs, self.inputs = weight.shape
        self.dtype: np.dtype[Any] = np.dtype(weight.dtype.name)
        layer: Layer = {
            "weight_ih": np.ascontiguousarray(weight, self.dtype),
            "weight_hh": np.zeros((0, self.outputs), self.dtype),
        }
        if bias is not None:
            layer["bias_ih"] = np.ascontiguousarray(bias, self.dtype)
        self._stack = Stack(affine, [layer])

    def __call__(self, x: Array) -> Array:
        """The map of ``x [..., I]``, ``[..., O]``.

        Raises:
            TypeError: `x` is not an array of the weight's type.
            ValueError: its last axis is not I wide.
        """
        if not isinstance(x, np.ndarray) or x.dtype != self.dtype:
            came = getattr(x, "dtype", type(x).__name__)
            raise TypeError(f"x must be an array of {self.dtype}. Got {came}.")
        if x.ndim == 0 or x.shape[-1] != self.inputs:
            raise ValueError(f"x must have shape [..., {self.inputs}]. Got {x.shape}.")
        rows = np.require(x.reshape(-1, self.inputs), requirements=("C_CONTIGUOUS", "ALIGNED"))
        out = np.empty((len(rows), self.outputs), self.dtype)
        self._run(rows, out)
        return out.reshape(*x.shape[:-1], self.outputs)

    def _run(self, x: Array, out: Array) -> None:
        """Compute all rows, a block at a time."""
        most = max(self._stack.kernels.chunk(1, self.outputs, threads=1), _FEWEST_ROWS)
        prepared = Prepared(self._stack, min(len(x), most))
        for first in range(0, len(x), most):
            prepared.run(x[first : first + most], out[first : first + most])

    def prepared(self, rows: int) -> Prepared:
        """The same map for many calls with this number of rows, for code that must be fast."""
        return Prepared(self._stack, rows)

    def repeated(self, rows: int) -> Repeated:
        """The same map for many calls with this number of rows, called like the map itself."""
        return Repeated(self.prepared(rows))


@final
class Prepared:
    """An affine map with its own memory. Only one thread at a time may use it.

    Attributes:
        x, out: the input ``[B, I]`` and the output ``[B, O]`` of `step`.
        step: ``step()`` computes `out` from `x`.
    """

    def __init__(self, stack: Stack, B: int) -> None:
        O, I = stack.H, stack.I
        self._memory = aligned({"x": (B, I), "out": (B, O), "gates": (B, O), "zeros": (O,)}, stack.dtype)
        self._memory["zeros"][:] = 0
        self.x, self.out = self._memory["x"], self._memory["out"]
        at = {name: address(array) for name, array in self._memory.items()}
        fields = stack.fields[0] | {
            "T": 1, "B": B, "chunk": 1, "x": at["x"], "x.t": B * I, "x.b": I, "gates": at["gates"],
            "gates.t": B * O, "gates.b": O, "init_y": at["zeros"], "out_y": at["out"], "out_y.b": O,
        }  # fmt: skip
        self._call = Call(stack.program, fields)
        self.step = self._call.run

    def run(self, x: Array, out: Array) -> None:
        """Compute ``out`` from at most B rows ``x``, both contiguous. `step` is of no use then."""
        self._call.set(B=len(x), x=address(x), out_y=address(out))
        self._call.run()


@final
class Repeated:
    """An affine map that is called many times with the same number of rows, by one thread at a time."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared

    def __call__(self, x: Array) -> Array:
        """The map of ``x [..., I]``, ``[..., O]``, as of `Affine`, but without its checks."""
        self._prepared.x[...] = x.reshape(self._prepared.x.shape)
        self._prepared.step()
        return self._prepared.out.reshape(*x.shape[:-1], -1).copy()


@final
class Convolution:
    """A convolution over time that gives as many steps as it gets, as `torch.nn.Conv1d` with ``"same"``.

    A row sees zeros before its first step and after its last one, whatever the batch has there.

    Args:
        weight: ``[O, I, W]``.
        bias: ``[O]``; None for none.
        causal: whether a step sees itself and the W - 1 steps before, not the steps around it.

    Attributes:
        inputs, outputs, width: I, O and W.
    """

    def __init__(self, weight: Array, bias: Array | None = None, causal: bool = False) -> None:
        if weight.ndim != 3:
            raise ValueError(f"weight must have shape [O, I, W]. Got {weight.shape}.")
        self.outputs, self.inputs, self.width = weight.shape
        self._before = self.width - 1 if causal else (self.width - 1) // 2
        self._affine = Affine(weight.reshape(len(weight), -1), bias)

    def __call__(self, x: Array, lengths: Array) -> Array:
        """From ``x [T, B, I]`` with ``lengths [B]`` to ``[T, B, O]``; zeros past the end of a row."""
        found = self._affine(windows(x, lengths, self.width, self._before))
        found[np.arange(len(x))[:, None] >= lengths] = 0
        return found

    def at(self, window: Array) -> Array:
        """The output ``[O]`` of the step whose window is ``window [W, I]``."""
        return self._affine(np.ascontiguousarray(window.T).reshape(-1))


def windows(x: Array, lengths: Array, width: int, before: int | None = None) -> Array:
    """The windows of `width` steps around each step of ``x [T, B, I]``, ``[T, B, I * width]``.

    Entry ``i * width + w`` at step t is channel i of step ``t + w - before``, or 0 if this is outside of the
    row, whose length is in ``lengths [B]``. By default `before` is ``(width - 1) // 2``.
    """
    T, B, I = x.shape
    before = (width - 1) // 2 if before is None else before
    padded = np.zeros((T + width - 1, B, I), x.dtype)
    padded[before : before + T] = np.where((np.arange(T)[:, None] < lengths)[..., None], x, 0)
    view = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)
    return view.reshape(T, B, I * width)
