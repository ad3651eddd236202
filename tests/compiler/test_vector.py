"""Vectors of any width: whole and masked loads and stores, loops, polynomials."""

from __future__ import annotations

import numpy as np
import pytest

from gatewise.compiler.emit.number import NUMBERS
from gatewise.compiler.run.host import WIDTHS
from tests.compiler.mapped import mapped


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("width", [2, *WIDTHS])
def test_any_number_of_elements_is_read_and_written_and_not_one_more(width: int, dtype: str) -> None:
    negate = mapped(lambda code, x: (code.b.fneg(x),), 1, 1, dtype, width)
    for n in range(2 * width + 2):
        x = np.arange(1, n + 1).astype(dtype)
        (y,) = negate(x)  # check fails if a number in a margin has changed
        np.testing.assert_array_equal(y, -x)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_a_polynomial_is_evaluated_from_the_highest_power_down(dtype: str) -> None:
    coefficients = [3.0, -2.0, 0.5, 7.0]
    polynomial = mapped(lambda code, x: (code.horner(x, coefficients),), 1, 1, dtype)
    x = np.arange(-8, 8).astype(dtype)  # small integers: no operation rounds
    np.testing.assert_array_equal(polynomial(x)[0], np.polynomial.Polynomial(coefficients)(x))


def test_a_constant_is_rounded_to_the_type_and_may_exceed_it() -> None:
    values = (0.1, 1e300, -1e300, np.inf)
    constants = mapped(lambda code, x: tuple(map(code.constant, values)), 1, len(values), "float32")
    found = np.concatenate(constants(np.zeros(1)))
    np.testing.assert_array_equal(found, np.array([np.float32(0.1), np.inf, -np.inf, np.inf]))


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_type_is_described_as_numpy_describes_it(name: str) -> None:
    number, limits = NUMBERS[name], np.finfo(name)
    assert (number.dtype, number.bits, number.fraction) == (limits.dtype, limits.bits, limits.nmant)
    assert number.bias == limits.maxexp - 1
