"""The entry of a kernel: all parts together cover the work, and denormals are zero only inside kernels."""

from __future__ import annotations

import platform

import numpy as np
import pytest

from gatewise.compiler.run import program
from gatewise.compiler.run.pool import pool
from tests.compiler.mapped import mapped

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64", "aarch64", "arm64"),
    reason="flush-to-zero is only known on x86 and ARM",
)
SMALL = {"float32": (1e-30, 1e-10), "float64": (1e-300, 1e-15)}  # numbers whose product is denormal
multiply = {dtype: mapped(lambda code, a, b: (code.b.fmul(a, b),), 2, 1, dtype) for dtype in SMALL}


def outside(dtype: str) -> bool:
    """Whether the caller's thread computes with denormals, both as results and as operands."""
    a, b = np.array(SMALL[dtype], dtype)
    product = a * b
    return bool(0 < product < np.finfo(dtype).tiny and product + product > product)


@pytest.mark.parametrize("dtype", SMALL)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_denormals_are_zero_only_inside_a_kernel(
    dtype: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "openmp", lambda: None)
    a, b = (np.full(100, value, dtype) for value in SMALL[dtype])
    assert outside(dtype)
    (result,) = multiply[dtype](a, b, threads=count)
    assert not result.any()
    denormal = a * b
    assert denormal.all()
    (result,) = multiply[dtype](denormal, np.full(100, 1e8, dtype), threads=count)
    assert not result.any()
    assert outside(dtype)
    assert all(pool().submit(outside, dtype).result() for _ in range(20))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [1, 2, 6, 100])
def test_the_parts_of_all_threads_cover_everything_once(n: int, count: int) -> None:
    a = np.arange(1.0, n + 1)
    np.testing.assert_array_equal(multiply["float64"](a, a, threads=count)[0], a * a)
