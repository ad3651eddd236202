"""Random weights of stacked layers, under the names of `torch.nn`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewise import Cell

Array = NDArray[Any]


def stack(cell: Cell, L: int, I: int, H: int, dtype: str = "float64") -> dict[str, Array]:
    """The weights of L layers of H units over I inputs, small enough to keep sums at size 1."""
    rng = np.random.default_rng([L, I, H])
    rows_ih, rows_hh, rows = (len(of) * H for of in (cell.input_gates, cell.state_gates, cell.linears))
    P = projection(cell, H)
    weights = {}
    for k in range(L):
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows_ih, (P or H) if k else I),
            "weight_hh": (rows_hh, P or H),
        }
        shapes |= {"bias_ih": (rows_ih,), "bias_hh": (rows_hh,)} | dict.fromkeys(cell.vectors, (H,))
        shapes |= {"weight_linear": (rows, H), "bias_linear": (rows,)} if rows else {}
        shapes |= {"weight_hr": (P, H)} if P else {}
        for name, shape in shapes.items():
            weights[f"{name}_l{k}"] = (rng.standard_normal(shape) / shape[-1] ** 0.5).astype(dtype)
    return weights


def projection(cell: Cell, H: int) -> int:
    """P, the width of a projected output, or 0 without projection."""
    return H // 2 if cell.projects else 0


def sequence(T: int, B: int, I: int, dtype: str = "float64") -> Array:
    """A random input ``[T, B, I]``."""
    return np.random.default_rng([T, B, I]).standard_normal((T, B, I)).astype(dtype)
