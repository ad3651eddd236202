"""Import and export of the weights of Keras's recurrent layers, as plain arrays. Keras is not needed.

Keras computes ``x @ kernel``, with the gates side by side: ``i f c o`` for the LSTM, ``z r h`` for the GRU.
Source: keras.layers of Keras 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gatewise import cells
from gatewise.interop.gates import Stacked, from_order, to_order
from gatewise.language import Cell
from gatewise.nn.walk.walk import Weights
from gatewise.runtime.weights import shapes

# The gates of each kind of layer in Keras's order, by the names of gatewise's cells.
_GATES = {"SimpleRNN": ("a",), "GRU": ("z", "r", "n"), "LSTM": ("i", "f", "g", "o")}
_CELLS = {"SimpleRNN": cells.rnn, "GRU": cells.gru, "LSTM": cells.lstm}


def from_keras(
    kind: str, weights: Sequence[ArrayLike], *, reset_after: bool = True, layer: int = 0
) -> dict[str, Tensor]:
    """Convert the weights of a Keras layer to the `state_dict` of a gatewise layer.

    Args:
        kind: "LSTM", "GRU" or "SimpleRNN".
        weights: the result of ``layer.get_weights()``: kernel ``[I, G*H]``, recurrent kernel ``[H, G*H]`` and
            optionally bias ``[G*H]`` (``[2, G*H]`` for a GRU that resets after the product). A
            `Bidirectional` layer has twice as many arrays.
        reset_after: whether a GRU without biases resets after the product. With biases their shape tells.
        layer: the number of the gatewise layer that they are for.

    Returns:
        A `state_dict` for `gatewise.nn.LSTM`, `GRU` or `RNN`; for a GRU that resets before the product, one
        for ``Recurrent(gatewise.cells.gru_reset_before, I, H)``.

    Raises:
        ValueError: `kind` is unknown, or an array has a wrong shape.

    Example:
        >>> import numpy as np
        >>> from gatewise import nn
        >>> from gatewise.interop.keras import from_keras
        >>> kernel, recurrent, bias = np.ones((3, 32)), np.ones((8, 32)), np.zeros(32)
        >>> nn.LSTM(3, 8).load_state_dict(from_keras("LSTM", [kernel, recurrent, bias]))
        <All keys matched successfully>
    """
    _known("from_keras", kind)
    if len(weights) not in (2, 3, 4, 6):
        raise ValueError(f"from_keras: weights must be 2 or 3 arrays, or twice as many. Got {len(weights)}.")
    arrays = [torch.from_numpy(np.array(array)) for array in weights]
    each = len(arrays) if len(arrays) < 4 else len(arrays) // 2
    state: dict[str, Tensor] = {}
    for k, suffix in zip(range(0, len(arrays), each), _suffixes(layer), strict=False):
        found = _read(kind, arrays[k : k + each], reset_after)
        state |= {name + suffix: tensor for name, tensor in found.items()}
    return state


def to_keras(kind: str, state: Mapping[str, Tensor], *, layer: int = 0) -> list[NDArray[Any]]:
    """Convert the weights of a gatewise layer for Keras's ``layer.set_weights(...)``; see `from_keras`.

    Keras has one bias where gatewise has two: their sum. A GRU that resets after the product has two.

    Args:
        kind: "LSTM", "GRU" or "SimpleRNN".
        state: the `state_dict` of a gatewise layer of that kind.
        layer: the number of the layer in it.

    Raises:
        ValueError: `kind` is unknown, or `state` has no such layer.

    Example:
        >>> from gatewise import nn
        >>> from gatewise.interop.keras import to_keras
        >>> [array.shape for array in to_keras("GRU", nn.GRU(3, 8).state_dict())]
        [(3, 24), (8, 24), (2, 24)]
    """
    _known("to_keras", kind)
    arrays: list[NDArray[Any]] = []
    for suffix in _suffixes(layer):
        mine = {name.removesuffix(suffix): value for name, value in state.items() if name.endswith(suffix)}
        arrays += _written(kind, mine) if mine else []
    if not arrays:
        raise ValueError(
            f"to_keras: state must have a layer {layer}. It has {', '.join(state) or 'nothing'}."
        )
    return arrays


def _known(function: str, kind: str) -> None:
    if kind not in _GATES:
        raise ValueError(f"{function}: kind must be one of {', '.join(_GATES)}. Got {kind!r}.")


def _suffixes(layer: int) -> tuple[str, str]:
    return f"_l{layer}", f"_l{layer}_reverse"


def _cell(kind: str, reset_after: bool) -> Cell:
    return _CELLS[kind] if reset_after or kind != "GRU" else cells.gru_reset_before


def _read(kind: str, arrays: Sequence[Tensor], reset_after: bool) -> dict[str, Tensor]:
    """The parameters of one layer in one direction, by name."""
    kernel, recurrent, *bias = arrays
    two = kind == "GRU" and (bias[0].dim() == 2 if bias else reset_after)
    _check(kind, arrays, two)
    b_x = b_h = None
    if bias:
        b_x, b_h = bias[0] if two else (bias[0], torch.zeros_like(bias[0]))
    made = _cell(kind, two)
    weights = from_order(made, _GATES[kind], Stacked(kernel.T, recurrent.T, b_x, b_h))
    H = recurrent.size(0)
    names = shapes(made, kernel.size(0), H, bool(bias))
    return dict(zip(names, weights.flat, strict=True))


def _check(kind: str, arrays: Sequence[Tensor], two_biases: bool) -> None:
    H, wide = arrays[1].size(0), len(_GATES[kind]) * arrays[1].size(0)
    expected = [(arrays[0].size(0), wide), (H, wide), (2, wide) if two_biases else (wide,)]
    for array, shape, name in zip(arrays, expected, ("kernel", "recurrent kernel", "bias"), strict=False):
        if array.shape != shape:
            raise ValueError(
                f"from_keras: the {name} of a {kind} of {H} units must have shape {shape}. "
                f"Got {tuple(array.shape)}."
            )


def _written(kind: str, state: Mapping[str, Tensor]) -> list[NDArray[Any]]:
    """The arrays of one layer in one direction."""
    reset_after = "weight_linear" not in state
    tensors = {name: tensor.detach().cpu() for name, tensor in state.items()}
    weights = Weights(
        tensors["weight_ih"],
        tensors["weight_hh"],
        tensors.get("bias_ih"),
        tensors.get("bias_hh"),
        weight_linear=tensors.get("weight_linear"),
        bias_linear=tensors.get("bias_linear"),
    )
    W, R, b_x, b_h = to_order(_cell(kind, reset_after), _GATES[kind], weights)
    parts = [W.T, R.T]
    if b_x is not None and b_h is not None:
        parts.append(torch.stack([b_x, b_h]) if kind == "GRU" and reset_after else b_x + b_h)
    return [np.ascontiguousarray(part.numpy()) for part in parts]
