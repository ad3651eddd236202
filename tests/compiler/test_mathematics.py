"""Every activation keeps the largest error that its docstring states, over its whole range."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from gatewise.compiler.emit import mathematics
from gatewise.compiler.run.host import WIDTHS
from tests.compiler.mapped import mapped
from tests.compiler.problems import Array

DTYPES = ["float32", "float64"]
NEXT_LONGER: dict[str, Any] = {"float32": np.float64, "float64": np.longdouble}


def sigma(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    result: Array = np.where(x < 0, small, 1) / (1 + small)
    return result


# Each activation computed in the longer type, whose own error is far smaller than the measured one.
TRUE: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "sigmoid": sigma,
    "tanh": np.tanh,
    "log": np.log,
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "relu": lambda x: np.where(x < 0, 0, x),
}

INF, NAN = np.inf, np.nan
SPECIAL: dict[str, list[tuple[float, float]]] = {
    "exp": [(-INF, 0), (-1e4, 0), (-0.0, 1), (0, 1), (1e4, INF), (INF, INF)],
    "sigmoid": [(-INF, 0), (-1e4, 0), (-0.0, 0.5), (0, 0.5), (1e4, 1), (INF, 1)],
    "tanh": [(-INF, -1), (-1e4, -1), (-0.0, -0.0), (0, 0), (1e4, 1), (INF, 1)],
    "log": [(-INF, NAN), (-1, NAN), (-0.0, -INF), (0, -INF), (1, 0), (INF, INF)],
    "softplus": [(-INF, 0), (-1e4, 0), (1e4, 1e4), (INF, INF)],
    "relu": [(-INF, 0), (-1e4, 0), (0, 0), (1e4, 1e4), (INF, INF)],
}

# Values where formula or result changes: saturation, overflow, underflow, argument reduction, octaves.
BREAKS = [0.0, 0.3466, 0.5, 0.7071068, 1.0, 1.4142135, 2.0, 9.01, 9.02, 16.63, 18.02, 19.06, 19.1, 36.74]
BREAKS += [86.64, 87.34, 88.0, 88.72, 89.0, 103.9, 104.0]
BREAKS += [707.7, 708.39, 709.0, 709.78, 710.0, 745.13, 746.0, INF]

# The form of the error bound in docstrings: one number for both types, or a second one after a comma.
CONTRACT = re.compile(
    r"Largest error: ([\d.]+) ULP in float32(?: and in float64|, ([\d.]+)(?: in float64)?)[.:;]"
)


def contract(name: str, dtype: str) -> float:
    """The largest error that the docstring of an activation states, in ULP."""
    text = getattr(mathematics, name).__doc__
    if text.startswith("Exact."):
        return 0
    both = re.match(
        r"Largest error: ([\d.]+) ULP in float32(?: and in float64|, ([\d.]+)(?: in float64)?)[.:;]", text
    )
    assert both, f"{name}: its docstring states no contract: {text}"
    return float(both[2] if both[2] and dtype == "float64" else both[1])


@cache
def activations(dtype: str, width: int | None = None) -> Callable[[Array], dict[str, Array]]:
    """All activations in one compiled function."""
    functions = [mathematics.OPERATIONS[name] for name in TRUE]
    compute = mapped(lambda code, x: tuple(f(code, x) for f in functions), 1, len(TRUE), dtype, width)
    return lambda x: dict(zip(TRUE, compute(x), strict=True))


@cache
def samples(dtype: str) -> Array:
    """In float32 every 997th bit pattern, in float64 random numbers, and for both the critical values."""
    rng = np.random.default_rng(0)
    bits = {"float32": np.uint32, "float64": np.uint64}[dtype]
    ends = np.array([sign * b for b in BREAKS for sign in (1, -1)], dtype).view(bits)
    near = (ends[:, None] + np.arange(-300, 300).astype(bits)).ravel()
    if dtype == "float32":
        patterns = np.arange(0, 2**32, 997).astype(bits)
    else:
        patterns = rng.integers(0, 2**64, 100_000, bits)
    # The last three ranges had the largest errors in earlier runs.
    ranges = [(-750, 750), (-0.3, 0.3), (-37.6, -35.8), (-17.4, -15.9)]
    spread = np.concatenate(
        [rng.uniform(*ends, 50_000) for ends in ranges] + [3 * rng.standard_normal(100_000)]
    )
    return np.concatenate([patterns.view(dtype), near.view(dtype), spread.astype(dtype)])


@cache
def found(dtype: str) -> dict[str, Array]:
    return activations(dtype)(samples(dtype))


def error(found: Array, true: Array) -> Array:
    """The error in units in the last place (ULP) of the correctly rounded value.

    Infinity counts as the power of two after the largest number. For results below the normal numbers, 0
    counts as exact.
    """
    limits = np.finfo(found.dtype)
    infinite = np.ldexp(true.dtype.type(1), limits.maxexp)
    found, true = (np.clip(a.astype(true.dtype), -infinite, infinite) for a in (found, true))
    exponent = np.frexp(np.clip(np.abs(true), limits.tiny, limits.max))[1]
    unit = np.ldexp(true.dtype.type(1), exponent - limits.nmant - 1)
    distance = np.where(found == 0, np.maximum(np.abs(true) - limits.tiny, 0), np.abs(found - true))
    errors: Array = distance / unit
    return errors


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRUE)
def test_the_largest_error_is_within_the_stated_one(name: str, dtype: str) -> None:
    longer = NEXT_LONGER[dtype]
    if np.finfo(longer).nmant < np.finfo(dtype).nmant + 10:
        pytest.skip("this machine has no longer type to compare with")
    x, y = samples(dtype), found(dtype)[name]
    x = np.where(np.abs(x) < np.finfo(dtype).tiny, np.copysign(0, x), x)  # denormals are zero in kernels
    with np.errstate(all="ignore"):
        true = TRUE[name](x.astype(longer))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(true))
    there = ~np.isnan(true)
    errors = error(y[there], true[there])
    worst = int(errors.argmax())
    assert errors[worst] <= contract(name, dtype), f"{name}({x[there][worst]!r}) = {y[there][worst]!r}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRUE)
def test_limits_zeros_and_nan(name: str, dtype: str) -> None:
    x, y = np.array([*SPECIAL[name], (NAN, NAN)], dtype).T
    result = activations(dtype)(x)[name]
    np.testing.assert_array_equal(result, y)
    if name == "tanh":
        np.testing.assert_array_equal(np.signbit(result[:-1]), np.signbit(x[:-1]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bounds_and_symmetry(dtype: str) -> None:
    x = samples(dtype)[~np.isnan(samples(dtype))]
    y, mirrored = activations(dtype)(x), activations(dtype)(-x)
    assert (np.abs(y["tanh"]) <= 1).all()
    assert ((y["sigmoid"] >= 0) & (y["sigmoid"] <= 1)).all()
    np.testing.assert_array_equal(mirrored["tanh"], -y["tanh"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRUE)
def test_the_lane_and_the_width_change_no_bit(name: str, dtype: str) -> None:
    x = samples(dtype)[::211]
    expected = activations(dtype, 1)(x)[name]
    for width in (*WIDTHS, 2):
        np.testing.assert_array_equal(activations(dtype, width)(x[3:])[name], expected[3:])
