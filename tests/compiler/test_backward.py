"""The backward kernel and the weight gradients: exact derivatives of every cell's reference."""

from __future__ import annotations

import numpy as np
import pytest

from gatewise import cells
from gatewise.compiler.plan.plan import plan
from tests.compiler.examples import EXAMPLES, IN_FLOAT32, Example, by_chance, examples
from tests.compiler.problems import SHAPES, Problem, problem, slope
from tests.compiler.running import assert_same_bits, run


def check(example: Example, p: Problem) -> None:
    """In a random direction of every leaf, the gradient gives the derivative from the complex step.

    Every element has rounding errors from sums over steps, rows, inputs and states, with terms of size 1.
    """
    rng, results, (T, B, I, H) = np.random.default_rng(0), run(p), p.sizes
    for leaf in p.leaves:
        direction = rng.standard_normal(p.arrays[leaf].shape)
        gradient = results[f"gradient {leaf}"]
        limit = (
            (T * B + I + H + 8)
            * np.finfo(np.float64).eps
            * ((1 + np.abs(gradient)) * np.abs(direction)).sum()
        )
        assert abs((gradient * direction).sum() - slope(example, p, leaf, direction)) <= limit, leaf


@examples
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_are_the_derivatives_of_the_equations(
    example: Example, shape: tuple[int, int, int, int]
) -> None:
    check(example, problem(example.cell, *shape))


@by_chance
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_with_random_masks(example: Example, shape: tuple[int, int, int, int]) -> None:
    check(example, problem(example.cell, *shape))


@examples
@pytest.mark.parametrize(("bias", "given"), [(False, True), (True, False), (False, False)])
def test_without_biases_or_initial_states(example: Example, bias: bool, given: bool) -> None:
    check(example, problem(example.cell, 3, 4, 5, 18, bias, given))


@pytest.mark.parametrize("example", IN_FLOAT32, ids=lambda example: example.cell.name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_float32_is_float64_up_to_its_rounding(example: Example, shape: tuple[int, int, int, int]) -> None:
    p, (T, B, I, H) = problem(example.cell, *shape).rounded("float32"), shape
    short, long = run(p, "float32"), run(p)
    for leaf in p.leaves:
        found, expected = short[f"gradient {leaf}"], long[f"gradient {leaf}"]
        size = max(1, np.abs(expected).max(initial=0))
        limit = (T * B + I + H + 8) * np.finfo(np.float32).eps * size
        np.testing.assert_allclose(found, expected, rtol=0, atol=limit, err_msg=leaf)


@examples
def test_a_derivative_of_one_result_only(example: Example) -> None:
    """Only the last row of the last state has a derivative, so every other row gets no gradient."""
    p = problem(example.cell, 3, 4, 5, 6)
    zeros = {name: 0 * array for name, array in p.arrays.items() if name.startswith(("dout", "carry"))}
    last = f"carry_{example.cell.states[-1]}"
    zeros[last][-1] = 1
    p = p.but(**zeros)
    check(example, p)
    results = run(p)
    for leaf in [name for name in p.leaves if name.startswith("init")]:
        assert not results[f"gradient {leaf}"][:-1].any()
    assert not results["gradient x"][:, :-1].any()


@pytest.mark.parametrize(
    "example", [e for e in EXAMPLES if plan(e.cell).overwrites], ids=lambda e: e.cell.name
)
def test_derivatives_may_overwrite_the_gates(example: Example) -> None:
    p = problem(example.cell, 7, 5, 3, 18)
    assert_same_bits(run(p, in_place=True), run(p))


def test_the_gradient_of_the_input_may_be_omitted() -> None:
    p = problem(cells.lstm, 7, 5, 3, 18)
    results = run(p, dx=False)
    assert np.isnan(results.pop("gradient x")).all()
    assert_same_bits(results, run(p))


def test_the_gradient_of_a_long_sequence_has_no_denormals() -> None:
    """Vanishing gradients become exactly zero, and never denormal numbers."""
    p = problem(cells.rnn, 400, 2, 1, 3, bias=False)
    p = p.but(w_hh=p.arrays["w_hh"] * 0.5, dout=0 * p.arrays["dout"])
    by_input = np.abs(run(p, "float32")["gradient x"])
    assert by_input[-1].all()
    assert not by_input[0].any()
    assert not ((by_input > 0) & (by_input < np.finfo(np.float32).tiny)).any()
