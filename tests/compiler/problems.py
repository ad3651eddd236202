"""Problems for kernels, and the reference results for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewise import Cell
from gatewise.language.graph import Node
from tests.compiler.examples import Example

Array = NDArray[Any]

SEED, FIRST_STEP = 0x1234_5678_9ABC_DEF0, 11  # the seed and the first step for random masks

# T, B, I, H: not multiples of vectors or tiles, each size 1 once, more rows than a tile has, long products.
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
    """Arrays by the names of the kernels' fields. Biases and initial states may be missing.

    ``x [T, B, I]``, ``w_ih``, ``w_hh``, ``b_ih``, ``b_hh``, ``w_linear``, ``b_linear``, ``w_hr``, ``vector_v
    [H]``, ``init_s [B, H]``, and the derivatives of a loss with respect to the output, ``dout [T, B, H]``,
    and to the final states, ``carry_s [B, H]``. The width of a projected output and of its derivatives is P.
    """

    cell: Cell
    arrays: Mapping[str, Array]

    def but(self, **arrays: Array) -> Problem:
        """A copy with some arrays replaced."""
        return Problem(self.cell, {**self.arrays, **arrays})

    def rounded(self, dtype: str) -> Problem:
        """A copy whose numbers are rounded to `dtype`, stored as float64."""
        return self.but(
            **{name: array.astype(dtype).astype("float64") for name, array in self.arrays.items()}
        )

    def rows(self, rows: slice) -> Problem:
        """A copy with only some rows of the batch."""
        cut = {n: a[:, rows] for n, a in self.arrays.items() if a.ndim == 3}
        states = {n: a[rows] for n, a in self.arrays.items() if n.startswith(("init", "carry"))}
        return self.but(**cut, **states)

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """T, B, I, H."""
        T, B, I = self.arrays["x"].shape
        return T, B, I, self.arrays["w_ih"].shape[0] // len(self.cell.input_gates)

    @property
    def P(self) -> int:  # noqa: N802
        """P, the width of the output."""
        return int(self.arrays["dout"].shape[2])

    @property
    def leaves(self) -> list[str]:
        """The names of the arrays that have a gradient."""
        return [name for name in self.arrays if name != "dout" and not name.startswith("carry")]


def problem(cell: Cell, T: int, B: int, I: int, H: int, bias: bool = True, given: bool = True) -> Problem:
    """Random arrays: inputs, states and derivatives have size 1, and weights keep sums at this size."""
    rng = np.random.default_rng([T, B, I, H])
    rows_ih, rows_hh = len(cell.input_gates) * H, len(cell.state_gates) * H
    rows_linear, P = len(cell.linears) * H, max(1, 2 * H // 3) if cell.projects else H
    width = dict.fromkeys(cell.states, H) | {cell.states[0]: P}
    shapes: dict[str, tuple[int, ...]] = {"x": (T, B, I), "dout": (T, B, P)}
    shapes |= {"w_ih": (rows_ih, I), "w_hh": (rows_hh, P)}
    shapes |= {"w_linear": (rows_linear, H)} if rows_linear else {}
    shapes |= {"w_hr": (P, H)} if cell.projects else {}
    shapes |= {"b_ih": (rows_ih,), "b_hh": (rows_hh,)} if bias else {}
    shapes |= {"b_linear": (rows_linear,)} if bias and rows_linear else {}
    shapes |= {f"vector_{v}": (H,) for v in cell.vectors}
    shapes |= {f"init_{s}": (B, width[s]) for s in cell.states} if given else {}
    shapes |= {f"carry_{s}": (B, width[s]) for s in cell.states}
    arrays = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    for name in arrays.keys() & {"w_ih", "w_hh", "w_linear", "w_hr"}:
        arrays[name] /= 2 * arrays[name].shape[1] ** 0.5
    return Problem(cell, arrays)


def struck(draw: int, rate: float, step: int, rows: int, units: int) -> Array:
    """The dropout mask ``[rows, units]`` (true: dropped), a hash of seed, draw, step, row and unit."""

    def mixed(x: Array) -> Array:
        with np.errstate(over="ignore"):
            x = (x ^ (x >> np.uint32(17))) * np.uint32(0xED5AD4BB)
            x = (x ^ (x >> np.uint32(11))) * np.uint32(0xAC4C1B51)
            x = (x ^ (x >> np.uint32(15))) * np.uint32(0x31848BAB)
        last: Array = x ^ (x >> np.uint32(14))
        return last

    def plus(x: Array, n: int | Array) -> Array:
        return ((x.astype(np.uint64) + np.asarray(n, np.uint64)) & np.uint64(0xFFFFFFFF)).astype(np.uint32)

    key = mixed(plus(np.array(SEED & 0xFFFFFFFF, np.uint32), draw))
    key = mixed(plus(mixed(key ^ np.uint32(SEED >> 32)), step))
    by_row = mixed(plus(key, np.arange(rows)[:, None]))
    strikes: Array = np.less(mixed(plus(by_row, np.arange(units))), rate * 2**32)
    return strikes


def dropped(node: Node, v: Array, step: int) -> Array:
    """The result of `dropout` with one mask for each sequence, for ``v [.., B, N]``."""
    assert node.part == "sequence"
    mask = struck(int(node.name), node.value, 0, *v.shape[-2:])
    left: Array = np.where(mask, 0, v * (1 / (1 - node.value))).astype(v.dtype)
    return left


class Fed:
    """The arguments of a reference at one step: ``gate(name)``, ``gate.linear(n, v)``, ``gate.project(v)``,
    ``gate.struck(draw, rate, per, v)``.
    """

    def __init__(self, p: Problem, t: int, output: Array) -> None:
        self.p, self.t = p, t
        seen = p.cell.seen
        self.output = dropped(seen, output, t) if seen.op == "dropout" else output

    def __call__(self, name: str, part: str = "xh") -> Any:
        cell, a, (_, _, _, H) = self.p.cell, self.p.arrays, self.p.sizes
        total: Any = 0
        if "x" in part:
            n = cell.input_gates.index(name)
            rows = slice(n * H, (n + 1) * H)
            total = total + a["x"][self.t] @ a["w_ih"][rows].T + (a["b_ih"][rows] if "b_ih" in a else 0)
        if "h" in part and name in cell.state_gates:
            n = cell.state_gates.index(name)
            rows = slice(n * H, (n + 1) * H)
            total = total + self.output @ a["w_hh"][rows].T + (a["b_hh"][rows] if "b_hh" in a else 0)
        return total

    def linear(self, n: int, v: Array) -> Array:
        a, H = self.p.arrays, v.shape[-1]
        rows = slice(n * H, (n + 1) * H)
        product: Array = v @ a["w_linear"][rows].T
        return product + a["b_linear"][rows] if "b_linear" in a else product

    def struck(self, draw: int, rate: float, per: str, v: Array) -> Array:
        return struck(draw, rate, FIRST_STEP + self.t if per == "step" else 0, *v.shape)

    def project(self, v: Array) -> Array:
        product: Array = v @ self.p.arrays["w_hr"].T
        return product


def stated(example: Example, p: Problem) -> dict[str, Array]:
    """Every state after every step ``[T, B, H]``, by the reference."""
    cell, a, (T, B, _, H) = p.cell, p.arrays, p.sizes
    width = dict.fromkeys(cell.states, H) | {cell.states[0]: p.P}
    states = [a.get(f"init_{s}", np.zeros((B, width[s]))) for s in cell.states]
    vectors = {v: a[f"vector_{v}"] for v in cell.vectors}
    steps = []
    for t in range(T):
        found = example.statement(Fed(p, t, states[0]), *states, **vectors)
        states = [np.broadcast_to(f, (B, width[s])) for s, f in zip(cell.states, found, strict=True)]
        steps.append(states)
    return {s: np.stack([step[n] for step in steps]) for n, s in enumerate(cell.states)}


def slope(example: Example, p: Problem, leaf: str, direction: Array) -> float:
    """The derivative of the loss along `direction` of `leaf`, exact up to rounding."""
    h = 1e-50
    states = stated(example, p.but(**{leaf: p.arrays[leaf] + 1j * h * direction}))
    loss = (states[p.cell.states[0]] * p.arrays["dout"]).sum()
    loss += sum((states[s][-1] * p.arrays[f"carry_{s}"]).sum() for s in p.cell.states)
    return float(np.imag(loss)) / h
