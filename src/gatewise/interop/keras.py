"""Weights of Keras's recurrent layers, in and out, as plain arrays: Keras itself is not needed.

Keras multiplies from the right, ``x @ kernel``, and has its gates side by side: ``i f c o`` for the LSTM,
``z r h`` for the GRU. Source: keras.layers of Keras 3.
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

# The gates of each kind of layer, by the names of our cells, in Keras's order.
_GATES = {"SimpleRNN": ("a",), "GRU": ("z", "r", "n"), "LSTM": ("i", "f", "g", "o")}
_CELLS = {"SimpleRNN": cells.rnn, "GRU": cells.gru, "LSTM": cells.lstm}


def from_keras(
    kind: str, weights: Sequence[ArrayLike], *, reset_after: bool = True, layer: int = 0
) -> dict[str, Tensor]:
    """The weights of a Keras layer as the `state_dict` of ours.

    Args:
        kind: "LSTM", "GRU" or "SimpleRNN".
        weights: what ``layer.get_weights()`` gives: kernel ``[I, G*H]``, recurrent kernel ``[H, G*H]`` and,
            if there is one, bias ``[G*H]``, for a GRU that resets after the product ``[2, G*H]``. Twice as
            many of a `Bidirectional` layer.
        reset_after: for a GRU without biases, which of the two it is; with biases their shape says.
        layer: which layer of ours they are for.

    Returns:
        What `gatewise.nn.LSTM`, `GRU` or `RNN` load; for a GRU that resets before the product, what
        ``Recurrent(gatewise.cells.gru_reset_before, I, H)`` loads.

    Raises:
        ValueError: another kind, or arrays of other shapes.

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
    """The weights of one layer of ours as Keras's ``layer.set_weights(...)`` takes them; see `from_keras`.

    Keras has one bias where ours has two, except in a GRU that resets after the product: it is their sum.

    Args:
        kind: "LSTM", "GRU" or "SimpleRNN".
        state: the `state_dict` of a layer of that kind.
        layer: which of its layers.

    Raises:
        ValueError: another kind, or no such layer.

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
