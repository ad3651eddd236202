"""`Stream`: stacked layers of a cell, run step by step or in blocks, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, final

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from gatewise.language import Cell
from gatewise.language.rewrites import projected
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
    """Stacked layers of one cell that read a sequence piece by piece and keep their state in between.

    Steps, blocks and the whole sequence give the same bits. A stream computes on the thread of the caller and
    releases the GIL meanwhile. Only one thread at a time may use a stream; different streams, also forks of
    one, may run at the same time.

    Args:
        cell: the equations; any `gatewise.Cell`.
        weights: arrays by the names of `torch.nn`, for each of the L layers ``k``; they are copied.
            ``weight_ih_l{k} [G*H, I]`` (above the first layer ``[G*H, P]``), ``weight_hh_l{k} [G*H, P]``,
            ``bias_ih_l{k} [G*H]`` and ``bias_hh_l{k} [G*H]`` (both or none), ``{vector}_l{k} [H]`` for each
            `Vector` of the cell; for N products `linear` ``weight_linear_l{k} [N*H, H]`` and optionally
            ``bias_linear_l{k} [N*H]``; for a projected output ``weight_hr_l{k} [P, H]`` (else P is H);
            ``initial_{state}_l{k}`` for learned initial states. The `state_dict` of a layer of torch or of
            `gatewise.nn` is such a mapping.
        batch: B, the number of sequences that run side by side.
        dtype: float32 or float64; by default the type of the weights.

    Attributes:
        cell, batch, dtype: as given.
        input_size, hidden_size, num_layers: I, H and L, read from the weights.

    Raises:
        TypeError: the element type is neither float32 nor float64.
        ValueError: a weight is missing, unknown or of a wrong shape; the layers are bidirectional, or project
            an output that the cell itself uses; `batch` is not a positive integer.

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
        """A stream of the recurrent layers in a model file, with the equations in the file.

        The file comes from `gatewise.save`, or from a task such as a `Forecaster`, of which only the
        recurrent layers are used. Nothing in it is executed. `batch` and `dtype` are as for the class.

        Raises:
            ModelFileError: the file is damaged, not gatewise's, of a newer version, or holds no layers, or
                its layers cannot run step by step.
            ValueError: `batch` is not a positive integer.
        """
        stored = stored_layers(read_model(path, None))
        _check_batch(batch)
        try:
            return cls(stored.streamed, stored.weights, batch, dtype)
        except (TypeError, ValueError) as error:
            raise ModelFileError(f"{path}: these layers cannot be a stream ({error})") from error

    @classmethod
    def of(cls, stack: Stack, batch: int = 1) -> Stream:
        """A stream over layers whose weights are packed already. It shares them.

        Raises:
            ValueError: `batch` is not a positive integer.
        """
        _check_batch(batch)
        stream: Stream = object.__new__(cls)
        stream._open(stack, int(batch))
        return stream

    def _open(self, stack: Stack, batch: int) -> None:
        """Set up the memory and the calls, and start at the initial state."""
        self.cell, self.dtype, self.batch = stack.cell, stack.dtype, batch
        self.input_size, self.hidden_size, self.num_layers = stack.I, stack.H, stack.L
        self._stack = stack
        self._memory = memory = memory_of(stack, batch)
        self._x = memory.x
        self._turn = 0  # which of the two buffers holds the current states
        layers = range(stack.L)
        self._steps = [[step_call(stack, memory, k, turn).run for k in layers] for turn in (0, 1)]
        self._blocks = [[block_call(stack, memory, k, turn) for k in layers] for turn in (0, 1)]
        # Shape of x -> the last layer's output in each of the two buffers.
        outputs = memory.states[stack.cell.states[0]][:, -1]
        self._outputs: dict[Shape, list[Array]] = {(batch, stack.I): list(outputs)}
        if batch == 1:
            self._outputs[stack.I,] = list(outputs[:, 0])
        self.reset()

    def step(self, x: Array, out: Array | None = None) -> Array:
        """One step: ``x [B, I]`` gives the last layer's output ``[B, P]``; for one row also [I] gives [P].

        The output is a new array, or `out` if that is passed.

        Raises:
            TypeError: `x` or `out` is not a NumPy array of the stream's `dtype`.
            ValueError: it has another shape, or `out` is read-only. The state does not change then.
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
        """Many steps: ``x [T, B, I]`` gives ``[T, B, P]``; for one row also ``[T, I]`` gives ``[T, P]``.

        Raises:
            TypeError: `x` is not a NumPy array of the stream's `dtype`.
            ValueError: `x` has another shape.
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
        """A copy of the states by name, ``[L, B, H]`` (the first ``[L, B, P]``). Setting it copies too.

        Setting other names, types or shapes raises TypeError or ValueError, and changes nothing.
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
        """Reset the states of all rows, or of `rows`, to their initial values: learned ones, or zeros.

        `rows` is an index, a slice, a list or a mask.

        Raises:
            IndexError: a row does not exist.
        """
        try:
            chosen = slice(None) if rows is None else rows
            for name, values in self._now().items():
                initial = np.broadcast_to(self._stack.initial[name], values.shape)
                values[:, chosen] = initial[:, chosen]
        except IndexError as error:
            raise IndexError(f"rows must choose among {self.batch} rows. Got {rows!r}.") from error

    def fork(self) -> Stream:
        """An independent copy of the stream, in the same state. Both share the packed weights."""
        fork = Stream.of(self._stack, self.batch)
        fork.state = self._now()
        return fork

    def save_state(self, path: str | Path) -> None:
        """Write the state to a ``.safetensors`` file. An existing file is replaced only by a complete one."""
        write_model(path, _TASK, self._described(), self._now())

    def load_state(self, path: str | Path) -> None:
        """Continue from a state that `save_state` wrote.

        Equations and sizes must be the same; weights may differ. Nothing in the file is executed.

        Raises:
            ModelFileError: the file is not a state, or one of other equations, options, sizes or type. The
                stream does not change then.
        """
        file = read_model(path, _TASK)
        own = self._described()
        if file.header.get("equations") != own["equations"]:
            came = f"{file.header.get('cell')!r:.60}"
            also = " with other equations" if file.header.get("cell") == self.cell.name else ""
            raise ModelFileError(
                f"{path}: the file must hold a state of the cell {self.cell.name!r}. Got {came}{also}"
            )
        for size in _SIZES:
            if file.header.get(size) != own[size]:
                came = f"{file.header.get(size)!r:.60}"
                raise ModelFileError(
                    f"{path}: the file must hold a state with {size} {own[size]}. Got {came}"
                )
        try:
            self.state = file.tensors
        except (TypeError, ValueError) as error:
            raise ModelFileError(f"{path}: {error}") from error

    def _described(self) -> dict[str, Any]:
        """What a saved state must agree with. The equations include options such as zoneout."""
        sizes = {name: getattr(self, name) for name in _SIZES}
        return {"cell": self.cell.name, "equations": self.cell.signature(), **sizes}

    def __reduce__(self) -> NoReturn:
        # A copy would hold the addresses of this stream's memory.
        raise TypeError("a Stream cannot be copied or pickled: use fork, state or save_state")

    def __repr__(self) -> str:
        sizes = f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, batch={self.batch}"
        return f"Stream({self.cell.name}, {sizes}, dtype={self.dtype})"


def _check_batch(batch: object) -> None:
    if not isinstance(batch, int | np.integer) or isinstance(batch, bool) or batch < 1:
        raise ValueError(f"batch must be a positive integer. Got {batch!r}.")
