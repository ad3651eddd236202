"""`Stream`: stacked layers of a cell, run step by step or in blocks, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, final

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from gatewise.language import Cell
from gatewise.language.rewrites import projected, with_zoneout
from gatewise.runtime.arrays import Array, Shape, check
from gatewise.runtime.calls import block_call, memory_of, step_call
from gatewise.runtime.layers_file import stored_layers
from gatewise.runtime.model_file import ModelFileError, read_model, write_model
from gatewise.runtime.stack import Stack
from gatewise.runtime.weights import layers_of

_TASK = "state"
_SIZES = ("input_size", "hidden_size", "num_layers")


@final
class Stream:
    """Stacked layers of one cell that take a sequence as it comes, and remember where they are.

    The outputs do not depend on how a sequence is cut: steps, blocks and the whole give the same bits. It
    computes on the thread of the caller and holds no lock of the interpreter meanwhile. One stream is not for
    several threads at once; several streams are, forks of one included.

    Args:
        cell: the equations; any `gatewise.Cell`.
        weights: arrays by the names of `torch.nn`, for each of the L layers ``k``; they are copied.
            ``weight_ih_l{k} [G*H, I]`` (above the first layer ``[G*H, P]``), ``weight_hh_l{k} [G*H, P]``,
            ``bias_ih_l{k} [G*H]`` and ``bias_hh_l{k} [G*H]`` or neither, ``{vector}_l{k} [H]`` for each
            `Vector` of the cell; for N products `linear` ``weight_linear_l{k} [N*H, H]`` and perhaps
            ``bias_linear_l{k} [N*H]``; for a projected output ``weight_hr_l{k} [P, H]`` (else P is H);
            ``initial_{state}_l{k}`` where they were learned. The `state_dict` of a layer of torch or of
            `gatewise.nn` is such a mapping.
        batch: B, the rows that go side by side.
        dtype: float32 or float64; that of the weights if left out.

    Attributes:
        cell, batch, dtype: as given.
        input_size, hidden_size, num_layers: I, H and L, as the weights say.

    Raises:
        TypeError: the element type is neither float32 nor float64.
        ValueError: a weight is missing, unknown or of a wrong shape; it belongs to a second direction, or to
            a projection of a cell that computes with its output; `batch` is no positive integer.

    Example:
        >>> import numpy as np
        >>> from gatewise import cells
        >>> from gatewise.runtime import Stream
        >>> rng = np.random.default_rng(0)
        >>> weights = {"weight_ih_l0": rng.normal(size=(32, 3)), "weight_hh_l0": rng.normal(size=(32, 8))}
        >>> stream = Stream(cells.lstm, weights, batch=2)
        >>> x = rng.normal(size=(10, 2, 3))
        >>> whole = stream.run(x)
        >>> stream.reset()
        >>> bool((np.stack([stream.step(x_t) for x_t in x]) == whole).all())
        True
    """

    def __init__(
        self,
        cell: Cell,
        weights: Mapping[str, ArrayLike],
        batch: int = 1,
        dtype: DTypeLike | None = None,
    ) -> None:
        _check_batch(batch)
        if "weight_hr_l0" in weights and not cell.projects:
            cell = projected(cell)
        self._open(Stack(cell, layers_of(cell, weights, dtype)), int(batch))

    @classmethod
    def load(cls, path: str | Path, batch: int = 1, dtype: DTypeLike | None = None) -> Stream:
        """A stream of the recurrent layers in a model file, with the equations of the file.

        The file is one of `gatewise.save`, or of a task such as a `Forecaster`, whose other parts are left
        aside. Nothing in it is executed. `batch` and `dtype` are as for the class.

        Raises:
            ModelFileError: the file is damaged, foreign, of a newer version or holds no layers, or its layers
                cannot go step by step.
            ValueError: `batch` is no positive integer.
        """
        stored = stored_layers(read_model(path, None))
        _check_batch(batch)
        try:
            cell, rates = stored.cell, tuple(stored.options["zoneout"])
            if stored.options["proj_size"] and not cell.projects:
                cell = projected(cell)
            # What is to be expected of it, as of the layers outside of training.
            cell = with_zoneout(cell, rates) if any(rates) else cell
            return cls(cell, stored.weights, batch, dtype)
        except (TypeError, ValueError) as error:
            raise ModelFileError(f"{path}: these layers cannot be a stream ({error})") from error

    def _open(self, stack: Stack, batch: int) -> None:
        """Begin at the initial state."""
        self.cell, self.dtype, self.batch = stack.cell, stack.dtype, batch
        self.input_size, self.hidden_size, self.num_layers = stack.I, stack.H, stack.L
        self._stack = stack
        self._memory = memory = memory_of(stack, batch)
        self._x = memory.x
        self._turn = 0  # where the states are now
        layers = range(stack.L)
        self._steps = [[step_call(stack, memory, k, turn).run for k in layers] for turn in (0, 1)]
        self._blocks = [[block_call(stack, memory, k, turn) for k in layers] for turn in (0, 1)]
        # For each shape that x may have, the last layer's output in either place.
        outputs = memory.states[stack.cell.states[0]][:, -1]
        self._outputs: dict[Shape, list[Array]] = {(batch, stack.I): list(outputs)}
        if batch == 1:
            self._outputs[stack.I,] = list(outputs[:, 0])
        self.reset()

    def step(self, x: Array, out: Array | None = None) -> Array:
        """One step: ``x [B, I]`` gives the last layer's output ``[B, P]``; with one row also [I] gives [P].

        The output is a new array, or `out`, filled.

        Raises:
            TypeError: `x` or `out` is no NumPy array of the stream's `dtype`.
            ValueError: it has another shape, or `out` is read-only. The step is not taken then.
        """
        if not isinstance(x, np.ndarray) or x.dtype != self.dtype or x.shape not in self._outputs:
            check("x", x, self.dtype, self._outputs)
        outputs = self._outputs[x.shape]
        if out is not None:
            check("out", out, self.dtype, (outputs[0].shape,))
        self._x[...] = x
        turn = self._turn
        for run in self._steps[turn]:
            run()
        if out is None:
            out = outputs[1 - turn].copy()
        else:
            out[...] = outputs[1 - turn]
        self._turn = 1 - turn
        return out

    def run(self, x: Array) -> Array:
        """Many steps: ``x [T, B, I]`` gives ``[T, B, P]``; with one row also ``[T, I]`` gives ``[T, P]``.

        Raises:
            TypeError: `x` is no NumPy array of the stream's `dtype`.
            ValueError: it has another shape.
        """
        steps = x.shape[:1] if isinstance(x, np.ndarray) and x.ndim else (1,)
        check("x", x, self.dtype, [steps + shape for shape in self._outputs])
        x = np.require(x, requirements=("C_CONTIGUOUS", "ALIGNED"))
        out = np.empty((len(x), *self._outputs[x.shape[1:]][0].shape), self.dtype)
        most = len(self._memory.gates)
        for t in range(0, len(x), most):
            self._run_block(x[t : t + most], out[t : t + most])
        return out

    def _run_block(self, x: Array, out: Array) -> None:
        calls, last = self._blocks[self._turn], len(x) - 1
        calls[0].set(x=x.ctypes.data)
        calls[-1].set(**{f"out_{self.cell.states[0]}": out.ctypes.data})
        carried = self._memory.states[self.cell.states[0]][1 - self._turn]
        for layer, (call, outputs) in enumerate(zip(calls, [*self._memory.between, out], strict=True)):
            call.set(T=len(x))
            call.run()
            carried[layer] = outputs[last]
        self._turn = 1 - self._turn

    @property
    def state(self) -> dict[str, Array]:
        """The states by name, ``[L, B, H]`` (the first ``[L, B, P]``): a copy. What is set is copied too.

        Setting raises TypeError or ValueError, and changes nothing, for other names, types or shapes.
        """
        return {name: values.copy() for name, values in self._now().items()}

    @state.setter
    def state(self, state: Mapping[str, Array]) -> None:
        now = self._now()
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be a mapping of names to arrays. Got {type(state).__name__}.")
        if state.keys() != now.keys():
            raise ValueError(f"state must hold {', '.join(now)}. Got {', '.join(state) or 'nothing'}.")
        for name, values in now.items():
            check(f"state: {name!r}", state[name], self.dtype, [values.shape])
        for name, values in now.items():
            values[...] = state[name]

    def _now(self) -> dict[str, Array]:
        return {name: places[self._turn] for name, places in self._memory.states.items()}

    def reset(self, rows: Any = None) -> None:
        """Set the states to their initial values: of all rows, or of those that `rows` chooses.

        `rows` is an index, a slice, a list or a mask. Initial values are zeros where none were learned.

        Raises:
            IndexError: there are no such rows.
        """
        try:
            chosen = slice(None) if rows is None else rows
            for name, values in self._now().items():
                initial = np.broadcast_to(self._stack.initial[name], values.shape)
                values[:, chosen] = initial[:, chosen]
        except IndexError as error:
            raise IndexError(f"rows must choose among {self.batch} rows. Got {rows!r}.") from error

    def fork(self) -> Stream:
        """A stream in the same state that goes its own way; the packed weights are shared."""
        fork = object.__new__(Stream)
        fork._open(self._stack, self.batch)
        fork.state = self._now()
        return fork

    def save_state(self, path: str | Path) -> None:
        """Write the state to a ``.safetensors`` file, whole or not at all."""
        write_model(path, _TASK, self._described(), self._now())

    def load_state(self, path: str | Path) -> None:
        """Go on from a state that `save_state` wrote: of these equations and sizes, whatever the weights.

        Nothing in the file is executed.

        Raises:
            ModelFileError: it is no such file, or a state of other equations, options, sizes or type; the
                stream is as before.
        """
        file = read_model(path, _TASK)
        own = self._described()
        if file.header.get("equations") != own["equations"]:
            came = f"{file.header.get('cell')!r:.60}"
            also = ", whose equations are others" if file.header.get("cell") == self.cell.name else ""
            raise ModelFileError(f"{path}: expected a state of the cell {self.cell.name!r}. Got {came}{also}")
        for size in _SIZES:
            if file.header.get(size) != own[size]:
                came = f"{file.header.get(size)!r:.60}"
                raise ModelFileError(f"{path}: expected a state of {size} {own[size]}. Got {came}")
        try:
            self.state = file.tensors
        except (TypeError, ValueError) as error:
            raise ModelFileError(f"{path}: {error}") from error

    def _described(self) -> dict[str, Any]:
        """What a state belongs to; the equations have in them what options such as zoneout make of a cell."""
        sizes = {name: getattr(self, name) for name in _SIZES}
        return {"cell": self.cell.name, "equations": self.cell.signature(), **sizes}

    def __reduce__(self) -> NoReturn:
        # A copy would hold the addresses of this stream's memory.
        raise TypeError("a Stream is neither copied nor pickled: use fork, state or save_state")

    def __repr__(self) -> str:
        sizes = f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, batch={self.batch}"
        return f"Stream({self.cell.name}, {sizes}, dtype={self.dtype})"


def _check_batch(batch: object) -> None:
    if not isinstance(batch, int | np.integer) or isinstance(batch, bool) or batch < 1:
        raise ValueError(f"batch must be a positive integer. Got {batch!r}.")
