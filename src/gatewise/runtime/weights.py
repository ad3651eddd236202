"""The weights of stacked layers: looked up by their names in `torch.nn`, checked, converted to one type."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count, takewhile
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from gatewise.language import Cell, names
from gatewise.runtime.arrays import Array, Shape

TYPES = ("float32", "float64")
_MAY_MISS = ("bias_ih", "bias_hh", "bias_linear", "initial_")

Layer: TypeAlias = dict[str, Array]


def layers_of(cell: Cell, weights: Mapping[str, ArrayLike], dtype: DTypeLike | None) -> list[Layer]:
    """The weights of each layer, by their names without ``_l{k}``, contiguous and of type `dtype`.

    By default `dtype` is the smallest type that holds all of them.

    Raises:
        TypeError: `dtype` is neither float32 nor float64.
        ValueError: a name is missing or unknown, or a shape is wrong.
    """
    given = {name: np.asarray(array) for name, array in weights.items()}
    layers = [f"_l{k}" for k in takewhile(lambda k: f"weight_ih_l{k}" in given, count())]
    expected = _shapes(cell, given, layers)
    _check_names(cell, given, expected, len(layers))
    for name, array in given.items():
        if array.shape != expected[name]:
            raise ValueError(f"weights: {name!r} must have shape {expected[name]}. Got {array.shape}.")
    number = _element_type(given, dtype)
    arrays = {name: np.ascontiguousarray(array, number) for name, array in given.items()}
    return [
        {name.removesuffix(layer): arrays[name] for name in arrays if name.endswith(layer)}
        for layer in layers
    ]


def shapes(cell: Cell, I: int, H: int, bias: bool = True, P: int = 0) -> dict[str, Shape]:
    """Names and shapes of the weights of one layer in one direction, in the order of `torch.nn`.

    P is the width of a projected output. Vectors and `linear`, which torch does not have, come before
    ``weight_hr``.

    Raises:
        ValueError: a `Vector` of the cell has the name of a weight.
    """
    for vector in cell.vectors:
        if vector in names.WEIGHTS:
            raise ValueError(f"cell {cell.name!r}: Vector {vector!r} has the name of a weight. Rename it.")
    rows_ih, rows_hh, rows = (len(of) * H for of in (cell.input_gates, cell.state_gates, cell.linears))
    found: dict[str, Shape] = {"weight_ih": (rows_ih, I), "weight_hh": (rows_hh, P or H)}
    found |= {"bias_ih": (rows_ih,), "bias_hh": (rows_hh,)} if bias else {}
    found |= dict.fromkeys(cell.vectors, (H,))
    found |= {"weight_linear": (rows, H)} if rows else {}
    found |= {"bias_linear": (rows,)} if rows and bias else {}
    return found | ({"weight_hr": (P, H)} if P else {})


def initial_shapes(cell: Cell, H: int, P: int = 0) -> dict[str, Shape]:
    """Names and shapes of the learnable initial states of one layer in one direction, by state.

    A state is left out if a `Vector` of the cell already has the name of its initial value.
    """
    widths = dict.fromkeys(cell.states, H) | {cell.states[0]: P or H}
    return {
        names.initial(state): (width,)
        for state, width in widths.items()
        if names.initial(state) not in cell.vectors
    }


def sizes_of(cell: Cell, layers: list[Layer]) -> tuple[int, int]:
    """H and P of some layers."""
    P = int(layers[0]["weight_hh"].shape[1])
    return (int(layers[0]["weight_hr"].shape[1]) if cell.projects else P), P


def initial_states(cell: Cell, layers: list[Layer], widths: Mapping[str, int]) -> dict[str, Array]:
    """The initial value of each state, by name, ``[L, 1, width]``: learned, or zeros."""
    dtype = layers[0]["weight_ih"].dtype
    states = {state: np.zeros((len(layers), 1, width), dtype) for state, width in widths.items()}
    for state, values in states.items():
        name = names.initial(state)
        for k, layer in enumerate(layers):
            values[k] = 0 if name in cell.vectors else layer.get(name, 0)
    return states


def _shapes(cell: Cell, given: Mapping[str, Array], layers: list[str]) -> dict[str, Shape]:
    """Names and shapes of all weights that the layers may have."""
    I, width = (_columns(name, given) for name in ("weight_ih_l0", "weight_hh_l0"))
    H, P = width, 0
    if cell.projects:
        _check_output(cell)
        H, P = _columns("weight_hr_l0", given), width
    initial = initial_shapes(cell, H, P)
    return {
        name + layer: shape
        for layer in layers
        for name, shape in (shapes(cell, I if layer == layers[0] else width, H, P=P) | initial).items()
    }


def _check_output(cell: Cell) -> None:
    """Refuse to project an output that the cell itself uses: it would be narrower than the other vectors."""
    if cell.reads_output:
        raise ValueError(
            f"weights has 'weight_hr_l0', but {cell.name!r} uses its output {cell.states[0]!r} itself."
        )


def _columns(name: str, given: Mapping[str, Array]) -> int:
    if name not in given:
        raise ValueError(f"weights must hold {name!r}. Got {sorted(given)}.")
    shape: Shape = given[name].shape
    if len(shape) != 2 or shape[1] < 1:
        raise ValueError(f"weights: {name!r} must be a matrix with at least one column. Got shape {shape}.")
    return shape[1]


def _check_names(cell: Cell, given: Mapping[str, Array], expected: Mapping[str, Shape], L: int) -> None:
    for name in (name for name in given if name not in expected):
        if name.endswith("_reverse"):
            why = "a bidirectional layer also reads the sequence backwards, so it cannot run step by step"
        elif name.startswith("weight_hr"):
            why = f"the output of cell {cell.name!r} is not projected"
        else:
            why = f"{L} layers of {cell.name!r} have {', '.join(expected)}"
        raise ValueError(f"weights holds {name!r}: {why}.")
    for name in expected:
        base = name.rpartition("_l")[0]
        may_miss = base.startswith(_MAY_MISS) and base not in cell.vectors
        if name not in given and not may_miss:
            raise ValueError(f"weights must hold {name!r}. Got {', '.join(given)}.")


def _element_type(given: Mapping[str, Array], dtype: DTypeLike | None) -> np.dtype[Any]:
    number = np.result_type(*given.values()) if dtype is None else np.dtype(dtype)
    if number.name not in TYPES:
        raise TypeError(f"dtype must be float32 or float64. Got {number}.")
    return np.dtype(number.name)  # in the byte order of this machine
