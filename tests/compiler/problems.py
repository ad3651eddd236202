"""Problems for kernels, and what the second statement of their cell says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewise import Cell
from tests.compiler.examples import Example

Array = NDArray[Any]

# T, B, I, H: no multiples of a vector or a tile, one of everything, more rows than tiles, long products.
SHAPES = [
    (1, 1, 1, 1),
    (2, 5, 7, 3),
    (7, 1, 7, 40),
    (7, 13, 1, 16),
    (33, 5, 7, 17),
    (33, 1, 1, 3),
    (1, 13, 7, 40),
    (2, 100, 300, 5),
    (2, 3, 1, 300),
]


@dataclass(frozen=True)
class Problem:
    """Arrays by the names of the kernels' fields; biases and initial states may be missing.

    ``x [T, B, I]``, ``w_ih``, ``w_hh``, ``b_ih``, ``b_hh``, ``vector_v [H]``, ``init_s [B, H]``, and the
    derivatives of a loss: by the output, ``dout [T, B, H]``, and by the final states, ``carry_s [B, H]``.
    """

    cell: Cell
    arrays: Mapping[str, Array]

    def but(self, **arrays: Array) -> Problem:
        """The same with other arrays."""
        return Problem(self.cell, {**self.arrays, **arrays})

    def rounded(self, dtype: str) -> Problem:
        """The same with numbers that `dtype` has, in float64."""
        return self.but(
            **{name: array.astype(dtype).astype("float64") for name, array in self.arrays.items()}
        )

    def rows(self, rows: slice) -> Problem:
        """Some rows of the batch alone."""
        cut = {n: a[:, rows] for n, a in self.arrays.items() if a.ndim == 3}
        states = {n: a[rows] for n, a in self.arrays.items() if n.startswith(("init", "carry"))}
        return self.but(**cut, **states)

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """T, B, I, H."""
        T, B, I = self.arrays["x"].shape
        return T, B, I, self.arrays["dout"].shape[2]

    @property
    def leaves(self) -> list[str]:
        """The names of what has a gradient."""
        return [name for name in self.arrays if name != "dout" and not name.startswith("carry")]


def problem(cell: Cell, T: int, B: int, I: int, H: int, bias: bool = True, given: bool = True) -> Problem:
    """Random numbers: inputs, states and derivatives of size 1, weights that keep sums at that size."""
    rng = np.random.default_rng([T, B, I, H])
    rows_ih, rows_hh = len(cell.input_gates) * H, len(cell.state_gates) * H
    shapes: dict[str, tuple[int, ...]] = {"x": (T, B, I), "dout": (T, B, H)}
    shapes |= {"w_ih": (rows_ih, I), "w_hh": (rows_hh, H)}
    shapes |= {"b_ih": (rows_ih,), "b_hh": (rows_hh,)} if bias else {}
    shapes |= {f"vector_{v}": (H,) for v in cell.vectors}
    shapes |= {f"init_{s}": (B, H) for s in cell.states} if given else {}
    shapes |= {f"carry_{s}": (B, H) for s in cell.states}
    arrays = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    arrays["w_ih"] /= 2 * I**0.5
    arrays["w_hh"] /= 2 * H**0.5
    return Problem(cell, arrays)


def stated(example: Example, p: Problem) -> dict[str, Array]:
    """Every state after every step ``[T, B, H]``, as the second statement computes them."""
    cell, a, (T, B, _, H) = p.cell, p.arrays, p.sizes
    from_input = a["x"] @ a["w_ih"].T + a.get("b_ih", 0)
    states = [a.get(f"init_{s}", np.zeros((B, H))) for s in cell.states]
    steps = []
    for t in range(T):
        from_state = states[0] @ a["w_hh"].T + a.get("b_hh", 0)

        def gate(name: str, part: str = "xh", t: int = t, from_state: Array = from_state) -> Any:
            total: Any = 0
            if "x" in part:
                n = cell.input_gates.index(name)
                total = total + from_input[t, :, n * H : (n + 1) * H]
            if "h" in part and name in cell.state_gates:
                n = cell.state_gates.index(name)
                total = total + from_state[:, n * H : (n + 1) * H]
            return total

        vectors = {v: a[f"vector_{v}"] for v in cell.vectors}
        states = [np.broadcast_to(s, (B, H)) for s in example.statement(gate, *states, **vectors)]
        steps.append(states)
    return {s: np.stack([step[n] for step in steps]) for n, s in enumerate(cell.states)}


def slope(example: Example, p: Problem, leaf: str, direction: Array) -> float:
    """The derivative of the loss as `leaf` moves along `direction`, exact to rounding."""
    h = 1e-50
    states = stated(example, p.but(**{leaf: p.arrays[leaf] + 1j * h * direction}))
    loss = (states[p.cell.states[0]] * p.arrays["dout"]).sum()
    loss += sum((states[s][-1] * p.arrays[f"carry_{s}"]).sum() for s in p.cell.states)
    return float(np.imag(loss)) / h
