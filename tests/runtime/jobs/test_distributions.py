"""Distributions around forecasts: against scipy.stats, and the order of their quantiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gatewise.runtime.jobs.distributions import (
    LEVELS,
    SIZES,
    counts,
    incomplete_beta,
    quantiles,
    samples,
    softplus,
    student_quantile,
)

OUTPUTS = [output for output in SIZES if output != "point"]


@given(st.floats(0.7, 200), st.floats(1e-6, 1 - 1e-6))
def test_student_quantiles_are_those_of_scipy(freedom: float, level: float) -> None:
    expected = stats.t.ppf(level, freedom)
    assert student_quantile(level, freedom) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(st.floats(0.05, 100), st.floats(0.05, 100), st.floats(0, 1))
def test_the_incomplete_beta_function_is_that_of_scipy(a: float, b: float, x: float) -> None:
    assert incomplete_beta(a, b, x) == pytest.approx(stats.beta.cdf(x, a, b), rel=1e-9, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_counts_are_the_quantiles_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mean, excess = np.exp(rng.normal(1, 1.5, size=50)), np.exp(rng.normal(-1, 1, size=50))
    level = rng.uniform(size=50)
    made = counts(mean, excess, level)
    assert np.array_equal(made, stats.nbinom.ppf(level, 1 / excess, 1 / (1 + excess * mean)))
    assert np.array_equal(
        made, np.array([counts(mean[n : n + 1], excess[n : n + 1], level[n])[0] for n in range(50)])
    )


def test_large_counts_are_close_to_those_of_scipy() -> None:
    for mean, excess in ((3e3, 0.01), (1e5, 0.3), (1e7, 0.05)):
        for level in LEVELS:
            made = counts(np.array(mean), np.array(excess), level)
            assert made == np.rint(made)
            expected = stats.nbinom.ppf(level, 1 / excess, 1 / (1 + excess * mean))
            assert float(made) == pytest.approx(expected, rel=0.02)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(OUTPUTS), st.floats(-3, 8))
def test_quantiles_never_cross(seed: int, output: str, size: float) -> None:
    rng = np.random.default_rng(seed)
    point = rng.normal(size=(3, 4)) * 10 ** rng.uniform(-3, 2)
    sizes = softplus(rng.normal(scale=10.0**size, size=(3, 4, SIZES[output])))
    if output == "negative-binomial":
        point, sizes = np.abs(point), np.minimum(sizes, 5.0)
    levels = np.sort(rng.uniform(0.001, 0.999, size=9))
    for some in (LEVELS, tuple(levels)):
        made = quantiles(output, point, sizes, some, 4.0)
        assert made.shape == (3, 4, len(some))
        assert np.isfinite(made).all()
        assert (np.diff(made, axis=-1) >= 0).all()


@pytest.mark.parametrize("output", [output for output in OUTPUTS if output != "negative-binomial"])
def test_the_median_is_the_point(output: str) -> None:
    point = np.random.default_rng(0).normal(size=(5, 3))
    made = quantiles(output, point, np.full((5, 3, SIZES[output]), 0.3), LEVELS, 4.0)
    assert np.array_equal(made[..., LEVELS.index(0.5)], point)


def test_gaussian_and_student_quantiles_are_those_of_scipy() -> None:
    point, sizes = np.array([[1.0, -2.0]]), np.array([[[0.5], [3.0]]])
    for output, dist in (("gaussian", stats.norm()), ("student-t", stats.t(3.5))):
        made = quantiles(output, point, sizes, LEVELS, 3.5)
        expected = point[..., None] + sizes * dist.ppf(LEVELS)
        np.testing.assert_allclose(made, expected, rtol=1e-9)


@pytest.mark.parametrize("output", OUTPUTS)
def test_samples_have_the_quantiles_of_their_distribution(output: str) -> None:
    rng = np.random.default_rng(0)
    point = np.array([4.0, 30.0])
    sizes = np.tile(np.array([0.4]), (2, SIZES[output]))
    made = samples(output, point, sizes, rng.normal(size=(40_000, 2)), 5.0)
    expected = quantiles(output, point, sizes, LEVELS, 5.0)
    for k in range(2):
        below = (made[:, k, None] <= expected[k]).mean(axis=0)
        assert (below > np.array(LEVELS) - 0.01).all()
        if output != "negative-binomial":
            assert below == pytest.approx(np.array(LEVELS), abs=0.01)
