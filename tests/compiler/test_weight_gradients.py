"""The kernel of weight gradients: sums of outer products, the same bits for every division of the work."""

from __future__ import annotations

import numpy as np
import pytest

from gatewise import cells
from gatewise.compiler.kernels import weight_gradients
from gatewise.compiler.run.host import WIDTHS
from gatewise.compiler.run.program import compiled
from tests.compiler.problems import Array
from tests.compiler.running import Memory, met, strided

# T, B, N, M: size 1, not multiples of a tile, more rows than a chunk, enough columns of x to pack those of a
SHAPES = [(1, 1, 1, 1), (3, 5, 7, 2), (2, 3, 100, 17), (40, 7, 33, 65), (3, 300, 13, 9), (5, 4, 101, 260)]


def added(
    shape: tuple[int, int, int, int],
    dtype: str,
    width: int | None = None,
    threads: int = 1,
    chunk: int | None = None,
    layout: str = "time first",
) -> tuple[Array, Array, Array]:
    """The result of the kernel, the sum in float64 by NumPy, and the sum of absolute values."""
    T, B, N, M = shape
    rng, memory = np.random.default_rng(shape), Memory(dtype, layout)
    a, x, c = (memory.copy(rng.standard_normal(s)) for s in ((T, B, N), (T, B, M), (N, M)))
    a64, x64, c64 = (array.astype("float64") for array in (a, x, c))
    exact = c64 + np.einsum("tbn,tbm->nm", a64, x64)
    size = np.abs(c64) + np.einsum("tbn,tbm->nm", np.abs(a64), np.abs(x64))
    fields = {"T": T, "B": B, "N": N, "chunk": chunk or weight_gradients.chunk(B)} | strided("a", a)
    compiled(cells.rnn, dtype, width).outer(threads, fields | met("ih", x, c))
    memory.check()
    return c, exact, size


def summed(
    shape: tuple[int, int, int, int], dtype: str, width: int | None = None, threads: int = 1
) -> tuple[Array, Array, Array]:
    """The same results for column sums of a (the kernel without columns of x)."""
    T, B, N, _ = shape
    rng, memory = np.random.default_rng(shape), Memory(dtype, "time first")
    a, total = (memory.copy(rng.standard_normal(s)) for s in ((T, B, N), (N,)))
    exact, size = (
        f(total.astype("float64")) + f(a.astype("float64")).sum((0, 1)) for f in (np.positive, np.abs)
    )
    fields = {"T": T, "B": B, "N": N, "chunk": weight_gradients.chunk(B), "sum": total.ctypes.data} | strided(
        "a", a
    )
    compiled(cells.rnn, dtype, width).outer(threads, fields)
    memory.check()
    return total, exact, size


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_sums_columns(shape: tuple[int, int, int, int], dtype: str) -> None:
    found, exact, size = summed(shape, dtype)
    T, B, _, _ = shape
    assert (np.abs(found - exact) <= T * B * np.finfo(dtype).eps * size).all()
    for threads in (2, 3, 50):
        np.testing.assert_array_equal(summed(shape, dtype, threads=threads)[0], found)
    for width in WIDTHS:
        np.testing.assert_array_equal(summed(shape, dtype, width)[0], found)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", Memory.LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_sums_outer_products(shape: tuple[int, int, int, int], layout: str, dtype: str) -> None:
    found, exact, size = added(shape, dtype, layout=layout)
    T, B, _, _ = shape
    # A sum of n terms has an error of at most n units of rounding (Higham 2002, 3.1), and so has NumPy's sum.
    assert (np.abs(found - exact) <= T * B * np.finfo(dtype).eps * size).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_division_of_the_work_changes_a_bit(shape: tuple[int, int, int, int], dtype: str) -> None:
    expected, _, _ = added(shape, dtype)
    for threads in (2, 3, 50):
        np.testing.assert_array_equal(added(shape, dtype, threads=threads)[0], expected)
    for layout in Memory.LAYOUTS[1:]:
        np.testing.assert_array_equal(added(shape, dtype, layout=layout)[0], expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_width_changes_a_bit(dtype: str) -> None:
    for shape in SHAPES:
        expected, _, _ = added(shape, dtype)
        for width in WIDTHS:
            np.testing.assert_array_equal(added(shape, dtype, width)[0], expected)
