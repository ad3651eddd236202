"""Single steps, replacements for the `*Cell` modules of `torch.nn`. A step is a scan of length one."""

from __future__ import annotations

import torch
from torch import Tensor

from gatewise import cells
from gatewise.language import Cell
from gatewise.nn.kernels.plain.call import Results
from gatewise.nn.modules import checks, initialisation
from gatewise.nn.modules.arguments import AnyStepArguments, RNNCellArguments, StepArguments, takes
from gatewise.nn.modules.autocast import in_type_of, without_autocast
from gatewise.nn.modules.layer import Hidden, Layer
from gatewise.nn.modules.torch_names import RNN_CELLS
from gatewise.nn.scan import scan_together
from gatewise.nn.walk.walk import Walk


class Step(Layer):
    """One step of any cell, with the parameters and shapes of the `*Cell` modules of `torch.nn`.

    Args:
        cell: the equations; any `gatewise.Cell`.
        input_size: I, the width of the input.
        hidden_size: H, the number of units.
        bias: whether the gates have biases.
        device: the device of the parameters.
        dtype: the element type of the parameters.

    Shape:
        - input: ``[B, I]`` or ``[I]``.
        - hx: the state ``[B, H]`` or ``[H]``, or a tuple of them, one for each state of the cell; by
          default zeros.
        - output: the next states, in the form of `hx`.

    Attributes:
        weight_ih: ``[G*H, I]``; the gates are stacked.
        weight_hh: ``[G*H, H]``; only gates that see the state.
        bias_ih, bias_hh: ``[G*H]`` each, or None.
        {vector}: ``[H]``, for each `Vector` of the cell. A name that the module already has gets a ``_``
            appended (``bias_``).

    Raises:
        ValueError, RuntimeError: wrong dimensions, shapes or types, as in `torch.nn`, with the same messages;
            a cell that projects its output.

    Example:
        >>> import torch
        >>> from gatewise import cells, nn
        >>> nn.Step(cells.gru, 3, 8)(torch.randn(2, 3)).shape
        torch.Size([2, 8])
    """

    @takes(AnyStepArguments)
    def __init__(self, given: AnyStepArguments) -> None:
        self._set_up(given.cell, given)

    def _set_up(self, cell: Cell, given: StepArguments) -> None:
        """Initialise the step. Called by the constructors of this class and of its subclasses."""
        super().__init__(cell, given.input_size, given.hidden_size, given.bias)
        checks.not_projected(cell)
        self._declare("", given.input_size, given.device, given.dtype)
        if not given.bias:
            self.register_parameter("bias_ih", None)
            self.register_parameter("bias_hh", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise all parameters from U(-k, k) with ``k = 1 / sqrt(H)``, in the order of `torch.nn`."""
        names = {called: name for name, called in self._renamed.items()}
        named = {names.get(called, called): parameter for called, parameter in self.named_parameters()}
        initialisation.fill(self.cell, named, self.hidden_size)

    def forward(self, input: Tensor, hx: Hidden | None = None) -> Hidden:
        """Take one step. Shapes are as in the class."""
        if not torch.compiler.is_compiling():
            finals = self._plain_call(input, hx)
            if finals is not None:
                return finals[0] if len(finals) == 1 else tuple(finals)
        states = self._given(hx)
        checks.step_dimensions(type(self).__name__, input, states)
        x, given = input, states
        batched = input.dim() == 2
        if not batched:
            x, given = input.unsqueeze(0), tuple(state.unsqueeze(0) for state in states)
        finals = self._run(x, given)
        if not batched:
            finals = tuple(state.squeeze(0) for state in finals)
        if not torch.compiler.is_compiling():
            self._prepare_plain_call("", input, states, Results(None, finals))
        return finals[0] if len(finals) == 1 else finals

    def _given(self, hx: Hidden | None) -> tuple[Tensor, ...]:
        """The states as a tuple, empty if none are passed."""
        if hx is None:
            return ()
        checks.is_hidden(hx)
        if len(self.cell.states) == 1:
            return (hx,)  # type: ignore[return-value]  # a tuple here is refused by the first check
        if isinstance(hx, Tensor):
            raise TypeError(
                f"{self.cell.name}_cell(): argument 'hx' (position 2) must be tuple of Tensors, not Tensor"
            )
        checks.state_count(self.cell, len(hx), suffix="_cell")
        return tuple(hx)

    def _run(self, x: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Check the arguments and take the step, in the element type of the weights."""
        weights = self._weights("")
        x, *given = (in_type_of(weights.weight_ih, tensor) for tensor in (x, *states))
        checks.step_sizes(x, given, self.input_size, self.hidden_size)
        checks.same_device(x, given, weights.weight_ih)
        checks.same_type([x, *given], weights.weight_ih)
        with without_autocast(x.device.type):
            initial = tuple(given) or None
            equations = self._equations()
            walk = Walk(
                equations, x.unsqueeze(0), weights, initial,
                record=self._names_to_record, chance=self._chance(equations), inner=True,
            )  # fmt: skip
            (scanned,) = scan_together([walk])
        self._hand_over("l0", scanned.recorded, walk, scanned)
        return scanned.states

    def extra_repr(self) -> str:
        """The cell and the arguments that differ from their defaults."""
        return f"{self.cell.name}, {self._sizes()}"

    def _sizes(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else f", bias={self.bias}")


class LSTMCell(Step):
    """One step of an LSTM, a replacement for `torch.nn.LSTMCell`; ``hx`` is ``(h, c)``.

    Arguments, shapes and errors are those of `Step`.

    Source: Hochreiter & Schmidhuber 1997; Gers et al. 2000.

    Example:
        >>> import torch
        >>> from gatewise import nn
        >>> h, c = nn.LSTMCell(10, 20)(torch.randn(3, 10))
        >>> h.shape
        torch.Size([3, 20])
    """

    @takes(StepArguments)
    def __init__(self, given: StepArguments) -> None:
        self._set_up(cells.lstm, given)

    extra_repr = Step._sizes


class GRUCell(Step):
    """One step of a GRU, a replacement for `torch.nn.GRUCell`.

    Arguments, shapes and errors are those of `Step`.

    Source: Cho et al. 2014, with the reset after the product.

    Example:
        >>> import torch
        >>> from gatewise import nn
        >>> nn.GRUCell(10, 20)(torch.randn(3, 10), torch.zeros(3, 20)).shape
        torch.Size([3, 20])
    """

    @takes(StepArguments)
    def __init__(self, given: StepArguments) -> None:
        self._set_up(cells.gru, given)

    extra_repr = Step._sizes


class RNNCell(Step):
    """One step of an Elman network, a replacement for `torch.nn.RNNCell`.

    Arguments, shapes and errors are those of `Step`. `nonlinearity` is ``"tanh"`` or ``"relu"``; as in torch,
    the first step refuses any other.

    Source: Elman 1990; rectified: Le, Jaitly & Hinton 2015.

    Example:
        >>> import torch
        >>> from gatewise import nn
        >>> nn.RNNCell(10, 20, nonlinearity="relu")(torch.randn(10)).shape
        torch.Size([20])
    """

    @takes(RNNCellArguments)
    def __init__(self, given: RNNCellArguments) -> None:
        self._set_up(RNN_CELLS.get(given.nonlinearity, cells.rnn), given)
        self.nonlinearity = given.nonlinearity

    def forward(self, input: Tensor, hx: Hidden | None = None) -> Hidden:
        """Take one step. Shapes are as in `Step`."""
        if self.nonlinearity not in RNN_CELLS:
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return super().forward(input, hx)

    def extra_repr(self) -> str:
        """The sizes and the arguments that differ from their defaults."""
        tanh = self.nonlinearity == "tanh"
        return self._sizes() + ("" if tanh else f", nonlinearity={self.nonlinearity}")
