# mypy: allow-untyped-defs, allow-incomplete-defs
"""The forward kernel against the reference of every cell, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from gatewise import Cell, cell, cells, sigmoid, tanh
from gatewise.compiler.run.program import compiled
from tests.compiler.examples import Example, by_chance, examples, typed_examples
from tests.compiler.problems import SHAPES, Array, Problem, problem, stated
from tests.compiler.running import Memory, assert_same_bits, run


def check(example: Example, p: Problem, dtype: str) -> None:
    """Compare every final state, and the output at every step.

    A sum of K terms of size 1 is rounded K times, each time by at most half a unit. Each activation adds a
    few units.
    """
    p = p.rounded(dtype)
    expected, (_, _, I, H) = stated(example, p), p.sizes
    results = run(p, dtype)
    pairs = [(results["output"], expected[p.cell.states[0]])]
    pairs += [(results[f"final {s}"], expected[s][-1]) for s in p.cell.states]
    for found, true in pairs:
        assert found.dtype == dtype
        size = max(1, np.abs(true).max())
        np.testing.assert_allclose(found, true, rtol=0, atol=(I + H + 8) * np.finfo(dtype).eps * size)


@typed_examples
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_states_are_those_of_the_equations(
    example: Example, shape: tuple[int, int, int, int], dtype: str
) -> None:
    check(example, problem(example.cell, *shape), dtype)


@by_chance
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_masks_are_those_of_the_reference(
    example: Example, shape: tuple[int, int, int, int], dtype: str
) -> None:
    check(example, problem(example.cell, *shape), dtype)


@examples
@pytest.mark.parametrize(("bias", "given"), [(False, True), (True, False), (False, False)])
def test_without_biases_or_initial_states(example: Example, bias: bool, given: bool) -> None:
    check(example, problem(example.cell, 3, 4, 5, 18, bias, given), "float64")


@typed_examples
def test_saving_for_backward_changes_no_bit(example: Example, dtype: str) -> None:
    """The same for watched values, although inference stores each state over the previous one."""
    p, watch = problem(example.cell, 7, 5, 3, 18), list(example.cell.values)
    assert_same_bits(run(p, dtype, train=False), run(p, dtype))
    assert_same_bits(run(p, dtype, train=False, watch=watch), run(p, dtype, watch=watch))


@examples
@pytest.mark.parametrize("train", [False, True])
def test_watching_changes_no_bit_and_shows_the_states(example: Example, train: bool) -> None:
    p, values = problem(example.cell, 7, 5, 3, 18), example.cell.values
    plain, seen = run(p, train=train), run(p, train=train, watch=list(values))
    assert_same_bits(plain, seen)
    for number, name in enumerate(values):
        alone = run(p, train=train, watch=[name])[f"watch {name}"]
        np.testing.assert_array_equal(seen[f"watch {name}"], alone, err_msg=f"{number} {name}")
    for state, after in stated(example, p).items():
        np.testing.assert_allclose(seen[f"watch {state}"], after, rtol=1e-12, atol=1e-13)


def test_watched_values_of_an_lstm_satisfy_its_equations() -> None:
    p = problem(cells.lstm, 7, 5, 3, 18)
    results = run(p, watch=list(cells.lstm.values))
    seen = {name: results[f"watch {name}"] for name in cells.lstm.values}
    before = np.stack([p.arrays["init_c"], *seen["c"][:-1]])
    for gate in "ifo":
        np.testing.assert_allclose(seen[gate], 1 / (1 + np.exp(-seen[f"{gate}_bar"])), rtol=1e-14)
    np.testing.assert_allclose(seen["g"], np.tanh(seen["g_bar"]), rtol=1e-14)
    np.testing.assert_allclose(seen["c"], seen["f"] * before + seen["i"] * seen["g"], rtol=0, atol=1e-14)
    np.testing.assert_allclose(seen["h"], seen["o"] * np.tanh(seen["c"]), rtol=1e-14)
    np.testing.assert_array_equal(seen["h"], results["output"])


@cell
def clashing(h, t, c, c_b, c_t, *, b, x):
    """Names that also have a meaning inside kernels."""
    b = sigmoid(b)
    t = b * t + tanh(x)
    c = c + t
    c_b, c_t = c_t + c, c_b - t
    h = tanh(c) - 0.1 * c_b
    return h, t, c, c_b, c_t


def np_clashing(gate, h, t, c, c_b, c_t):
    t = t / (1 + np.exp(-gate("b"))) + np.tanh(gate("x"))
    c = c + t
    c_b, c_t = c_t + c, c_b - t
    return np.tanh(c) - 0.1 * c_b, t, c, c_b, c_t


def test_no_name_of_a_cell_clashes_with_a_field() -> None:
    kernels = compiled(clashing, "float64")
    for program in (kernels.forward, kernels.backward):
        names = program.arguments.names
        assert sorted(names) == sorted(set(names))
    p = problem(clashing, 3, 2, 4, 5)
    check(Example(clashing, np_clashing), p, "float64")
    assert_same_bits(run(p, watch=list(clashing.values)), run(p))


@examples
@pytest.mark.parametrize("layout", Memory.LAYOUTS[1:])
def test_no_layout_of_the_sequences_changes_a_bit(example: Example, layout: str) -> None:
    p = problem(example.cell, 7, 5, 3, 18)
    watch = list(example.cell.values)
    assert_same_bits(run(p, layout=layout, watch=watch), run(p, watch=watch))


@pytest.mark.parametrize("cell_", [cells.rnn, cells.rnn_relu, cells.lstm, cells.gru], ids=lambda c: c.name)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_stay_in_their_row(cell_: Cell, value: float) -> None:
    p = problem(cell_, 5, 6, 3, 18)
    x: Array = p.arrays["x"].copy()
    x[2, 3, 1] = value
    clean, spoilt = run(p), run(p.but(x=x))
    others = [row for row in range(6) if row != 3]
    for name in ("output", "gradient x"):
        np.testing.assert_array_equal(spoilt[name][:, others], clean[name][:, others])
    np.testing.assert_array_equal(spoilt["output"][:2], clean["output"][:2])
    if np.isnan(value):
        assert np.isnan(spoilt["output"][2:, 3]).all()
