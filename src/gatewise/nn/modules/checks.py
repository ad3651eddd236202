"""Checks of arguments. Where `torch.nn` makes the same check, type and message of the error are the same."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Number, Real

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from gatewise.language import Cell
from gatewise.language.names import initial
from gatewise.runtime.layer_options import LayerOptions


def options(cell: Cell, given: LayerOptions) -> None:
    """Check the options of a layer, in the order in which torch checks them."""
    _dropout(given.dropout, given.num_layers)
    _typed("bias", given.bias, bool)
    _typed("batch_first", given.batch_first, bool)
    _typed("input_size", given.input_size, int)
    _positive("input_size", given.input_size)
    _typed("hidden_size", given.hidden_size, int)
    _positive("hidden_size", given.hidden_size)
    _positive("num_layers", given.num_layers)
    _projection(cell, given.hidden_size, given.proj_size)
    _typed("checkpoint", given.checkpoint, int)
    if isinstance(given.checkpoint, bool) or given.checkpoint < 0:
        raise ValueError(f"checkpoint must be a number of steps, or 0 for none. Got {given.checkpoint}.")


def _dropout(dropout: float, num_layers: int) -> None:
    if not isinstance(dropout, Number) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] "
            "representing the probability of an element being zeroed"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
            f"num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
            stacklevel=6,  # who makes the layer
        )


def _typed(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} should be of type {kind.__name__}, got: {type(value).__name__}")


def _positive(name: str, value: int) -> None:
    if value <= 0:
        raise ValueError(f"{name} must be greater than zero")


def _projection(cell: Cell, hidden_size: int, proj_size: int) -> None:
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")
    if cell.projects and not proj_size:
        raise ValueError(f"proj_size must be given for cell {cell.name!r}, whose output is projected.")
    if proj_size and cell.reads_output:
        raise ValueError(
            f"proj_size must be 0 for cell {cell.name!r}: its body uses its output "
            f"{cell.states[0]!r}, which would be {proj_size} wide beside gates {hidden_size} wide. "
            f"Got {proj_size}."
        )


def not_projected(cell: Cell) -> None:
    """Refuse a cell that projects its output: a single step has no projection, as in torch."""
    if cell.projects:
        raise ValueError(
            f"cell must not project its output in a Step. Got {cell.name!r}; use Recurrent with proj_size."
        )


def rate(name: str, value: float, cell: Cell) -> float:
    """Check a dropout probability of the recurrent part, and return it as a float."""
    if not _is_rate(value):
        raise ValueError(f"{name} must be a number from 0 to less than 1. Got {value!r}.")
    if value and not cell.state_gates:
        raise ValueError(f"{name} must be 0 for cell {cell.name!r}, whose gates do not use the state.")
    return float(value)


def zoneout(cell: Cell, rates: float | Sequence[float], proj_size: int) -> tuple[float, ...]:
    """Check the zoneout rates. Returns one rate for each state, or () if all are 0."""
    given = tuple(rates) if isinstance(rates, Sequence) else (rates,) * len(cell.states)
    if not given:
        return given
    if len(given) != len(cell.states) or not all(map(_is_rate, given)):
        raise ValueError(
            f"zoneout must be a number from 0 to less than 1, or one for each of the {len(cell.states)} "
            f"states of cell {cell.name!r}. Got {rates!r}."
        )
    if given[0] and (proj_size or cell.projects):
        raise ValueError(
            f"zoneout must be 0 for the state {cell.states[0]!r}, which is projected. Give one rate for each "
            "state."
        )
    return tuple(map(float, given)) if any(given) else ()


def _is_rate(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) < 1


def learned_states(cell: Cell, learned: bool) -> None:
    """Check that no vector of the cell has the name of a learned initial state."""
    _typed("learn_initial_state", learned, bool)
    taken = [initial(state) for state in cell.states if initial(state) in cell.vectors]
    if learned and taken:
        raise ValueError(
            f"learn_initial_state must be False for cell {cell.name!r}: its Vector {taken[0]!r} has the "
            "name of a learned initial state. Rename it."
        )


def is_batched(layer: str, x: Tensor) -> bool:
    """Whether ``x`` is ``[T, B, I]``, not ``[T, I]``. Refuses other numbers of dimensions."""
    if x.dim() not in (2, 3):
        noun = "D tensor" if layer == "RNN" else "D"  # only torch.nn.RNN says so
        raise ValueError(f"{layer}: Expected input to be 2D or 3D, got {x.dim()}{noun} instead")
    return x.dim() == 3


def state_dimensions(cell: Cell, states: Sequence[Tensor], batched: bool) -> None:
    """Check that states are ``[L*D, B, H]`` for batched input, else ``[L*D, H]``."""
    expected, batch = (3, "batched") if batched else (2, "unbatched")
    if all(state.dim() == expected for state in states):
        return
    names = " and ".join(f"{name}x" for name in cell.states) if len(states) > 1 else "hx"
    dimensions = ", ".join(f"{state.dim()}-D" for state in states)
    came = f"({dimensions}) tensors" if len(states) > 1 else f"{dimensions} tensor"
    raise RuntimeError(f"For {batch} {expected}-D input, {names} should also be {expected}-D but got {came}")


def is_packed(data: Tensor) -> None:
    """Check that packed data is ``[N, I]``."""
    if data.dim() != 2:
        raise RuntimeError(f"input must have 2 dimensions, got {data.dim()}")


def input_matches(x: Tensor, input_size: int, dtype: torch.dtype) -> None:
    """Check the element type and the size of the input."""
    if x.dtype != dtype:
        raise ValueError(
            f"RNN input dtype ({x.dtype}) does not match weight dtype ({dtype}). "
            f"Convert input: input.to({dtype}), or convert model: model.to({x.dtype})"
        )
    if x.size(-1) != input_size:
        raise RuntimeError(
            f"input.size(-1) must be equal to input_size. Expected {input_size}, got {x.size(-1)}"
        )


def state_size(state: Tensor, expected: tuple[int, ...], name: str) -> None:
    """Check the shape of an initial state."""
    if state.size() != expected:
        raise RuntimeError(f"Expected {name} size {expected}, got {list(state.size())}")


def state_count(cell: Cell, count: int, suffix: str = "") -> None:
    """Check the number of initial states, for a cell with several states."""
    if count != len(cell.states):
        number = {2: "two", 3: "three"}.get(len(cell.states), len(cell.states))
        raise RuntimeError(f"{cell.name}{suffix} expects {number} hidden states")


def is_hidden(hx: object) -> None:
    """Check that states are a tensor, or a tuple or list."""
    if not isinstance(hx, (Tensor, tuple, list)):
        raise TypeError(f"hx must be a tensor, or a tuple with one for each state. Got {type(hx).__name__}.")


def same_device(x: Tensor, states: Sequence[Tensor], weight: Tensor) -> None:
    """Check that input, states and weights are on the same device."""
    for name, tensor in (*(("hidden", state) for state in states), ("parameter", weight)):
        if tensor.device != x.device:
            raise RuntimeError(
                f"Input and {name} tensors are not at the same device, found input tensor at {x.device} "
                f"and {name} tensor at {tensor.device}"
            )


def same_type(tensors: Sequence[Tensor], weight: Tensor) -> None:
    """Check that tensors have the element type of the weights. If not, torch's product raises its error."""
    for tensor in tensors:
        if tensor.dtype != weight.dtype:
            F.linear(tensor.new_empty(1, 1), weight.new_empty(1, 1), weight.new_empty(1))


def has_steps(T: int) -> None:
    """Check that a sequence has at least one step."""
    if T == 0:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")


def alone(lengths: object, reset: object) -> None:
    """Refuse `lengths` and `reset` for a PackedSequence, which has its own lengths and no padded steps."""
    for name, given in (("lengths", lengths), ("reset", reset)):
        if given is not None:
            raise ValueError(
                f"{name} must be None for a PackedSequence. For {name}, give a padded input and `lengths`."
            )


def has_batch(lengths: object) -> None:
    """Refuse `lengths` for input without a batch."""
    if lengths is not None:
        raise ValueError("lengths must be None for input without a batch, whose one row has its full length.")


def can_be_exported(input: Tensor | PackedSequence) -> None:
    """Refuse a PackedSequence under torch.export, which cannot know the number of rows in each step."""
    if isinstance(input, PackedSequence):
        raise TypeError("torch.export: input must be padded rows with lengths=. Got a PackedSequence.")


def matrices(cell: Cell, weight_ih: Tensor, weight_hh: Tensor) -> None:
    """Check the weights that give the number of units. The kernels check the shapes of all other weights."""
    if weight_ih.dim() != 2 or weight_hh.dim() != 2:
        raise RuntimeError(
            f"{cell.name}: weight_ih must have shape ({len(cell.input_gates)} * hidden_size, input_size), "
            f"and weight_hh must be a matrix. Got {tuple(weight_ih.shape)} and {tuple(weight_hh.shape)}."
        )


def reset_mask(reset: Tensor, x: Tensor) -> None:
    """Check a reset mask: a boolean for each step and row of ``x [T, B, I]``."""
    if not isinstance(reset, Tensor) or reset.dtype != torch.bool:
        came = reset.dtype if isinstance(reset, Tensor) else type(reset).__name__
        raise TypeError(f"reset must be a tensor of torch.bool. Got {came}.")
    if reset.shape != x.shape[:-1]:
        raise ValueError(
            f"reset must have the shape of the input without its last axis, {tuple(x.shape[:-1])}. "
            f"Got {tuple(reset.shape)}."
        )
    if reset.device != x.device:
        raise ValueError(f"reset must be on the device of the input, {x.device}. Got {reset.device}.")


def step_dimensions(layer: str, x: Tensor, states: Sequence[Tensor]) -> None:
    """Check that input and states of a step are ``[B, ...]``, or have no batch."""
    names = ["input", "hidden"] if len(states) == 1 else ["input", *(f"hx[{k}]" for k in range(len(states)))]
    for name, tensor in zip(names, (x, *states), strict=True):
        if tensor.dim() not in (1, 2):
            raise ValueError(f"{layer}: Expected {name} to be 1D or 2D, got {tensor.dim()}D instead")


def step_sizes(x: Tensor, states: Sequence[Tensor], input_size: int, hidden_size: int) -> None:
    """Check the sizes of ``x [B, I]`` and of each state ``[B, H]``."""
    if x.size(1) != input_size:
        raise RuntimeError(f"input has inconsistent input_size: got {x.size(1)} expected {input_size}")
    for k, state in enumerate(states):
        if state.size(0) != x.size(0):
            raise RuntimeError(
                f"Input batch size {x.size(0)} doesn't match hidden{k} batch size {state.size(0)}"
            )
        if state.size(1) != hidden_size:
            raise RuntimeError(
                f"hidden{k} has inconsistent hidden_size: got {state.size(1)}, expected {hidden_size}"
            )
