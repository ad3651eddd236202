"""Kernels in a real browser, compared with those of this machine, whose vectors may be wider."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import pytest

import gatewise
from gatewise import Cell, cells
from gatewise.compiler.emit.number import FLOAT32
from gatewise.compiler.kernels.backward import BackwardKernel
from gatewise.compiler.kernels.forward import ForwardKernel
from gatewise.compiler.kernels.weight_gradients import WeightGradientKernel
from gatewise.compiler.plan.plan import plan
from gatewise.compiler.wasm.modules import module
from gatewise.compiler.wasm.target import PLAIN, RELAXED, TARGETS
from tests.compiler import examples
from tests.compiler.problems import Problem, problem
from tests.compiler.running import Memory, Results, assert_same_bits, run
from tests.compiler.wasm.browser import Machine, in_browser, writable
from tests.selection import with_rest

SHIPPED = [cell for cell in vars(cells).values() if isinstance(cell, Cell)]
# One of each kind: slots of every sort, a product in the middle, means, a projection, exponential gates.
ALWAYS = (cells.rnn, cells.lstm, cells.gru, cells.gru_layer_norm, cells.lstm_projected, cells.slstm)
shipped = pytest.mark.parametrize(
    "cell", with_rest(SHIPPED, lambda cell: cell in ALWAYS), ids=lambda cell: cell.name
)
TINY = float(np.finfo(np.float32).tiny)


def in_both(p: Problem, machine: Machine, dtype: str = "float32", **options: Any) -> tuple[Results, Results]:
    """The results of the browser and of this machine."""
    expected = run(p, dtype, **options)
    with in_browser(machine, RELAXED):
        return run(p, dtype, **options), expected


def test_memory_is_sent_whole_where_the_system_lists_it_in_parts() -> None:
    memory = mmap.mmap(-1, 64 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_DONTFORK, 16 * mmap.PAGESIZE, 16 * mmap.PAGESIZE)  # a part of its own
    start = np.frombuffer(memory, np.uint8).ctypes.data
    assert any(low <= start and start + len(memory) <= high for low, high in writable())


@shipped
def test_every_cell_gives_the_bits_of_this_machine(cell: Cell, machine: Machine) -> None:
    """The output, the states and every gradient, and a single step; all sizes are ragged."""
    assert_same_bits(*in_both(problem(cell, 7, 5, 3, 18), machine))
    assert_same_bits(*in_both(problem(cell, 1, 1, 3, 18), machine, train=False))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 13, 7, 40), (33, 1, 7, 3), (2, 3, 1, 70)], ids=str)
def test_any_sizes(shape: tuple[int, int, int, int], machine: Machine) -> None:
    assert_same_bits(*in_both(problem(cells.lstm, *shape), machine))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("layout", Memory.LAYOUTS)
def test_any_layout_in_chunks_without_biases(layout: str, bias: bool, machine: Machine) -> None:
    p = problem(cells.gru, 7, 5, 3, 18, bias)
    assert_same_bits(*in_both(p, machine, layout=layout, chunk=3))


def test_single_steps_without_a_gradient(machine: Machine) -> None:
    """Also with input and state joined."""
    p = problem(cells.lstm, 1, 3, 5, 18)
    assert_same_bits(*in_both(p, machine, train=False))
    assert_same_bits(*in_both(p, machine, train=False, joined=True))


def test_watched_values(machine: Machine) -> None:
    p = problem(cells.lstm, 7, 5, 3, 18)
    found, expected = in_both(p, machine, watch=list(cells.lstm.values))
    assert {f"watch {name}" for name in cells.lstm.values} <= found.keys()
    assert_same_bits(found, expected)


def test_in_float64(machine: Machine) -> None:
    assert_same_bits(*in_both(problem(cells.lstm, 7, 5, 3, 18), machine, "float64"))


LIMITED = gatewise.read_cell(
    """
    def limited(h, *, a, b, c, d):
        low = where(a < 0.25, 0.25, a)
        high = where(0.5 < b, 0.5, b)
        h = relu(a) + softplus(b) + exp(0.1 * c) + log(exp(d)) + sigmoid(c) * low + maximum(a, b) * high
        h = tanh(0.1 * h)
        return h
    """
)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("cell", [cells.lstm, LIMITED], ids=lambda cell: cell.name)
def test_nan_and_infinity_are_passed_on(cell: Cell, target: Any, machine: Machine) -> None:
    """A relaxed minimum would give either number where one is NaN."""
    p = problem(cell, 5, 3, 3, 9)
    x = p.arrays["x"].copy()
    x[2, 0, 1], x[1, 1, 0], x[3, 2, 2] = np.nan, np.inf, -np.inf
    p, watch = p.but(x=x), list(cell.values)
    expected = run(p, "float32", watch=watch)
    with in_browser(machine, target):
        found = run(p, "float32", watch=watch)
    for name, values in expected.items():
        np.testing.assert_array_equal(np.isnan(found[name]), np.isnan(values), err_msg=name)
        if target is RELAXED:
            np.testing.assert_array_equal(found[name], values, err_msg=name)
    assert np.isnan(expected["watch h"][2:, 0]).all()
    assert not np.isnan(expected["watch h"][:2]).all()


@pytest.mark.parametrize("example", [examples.Example(examples.random, examples.np_random)], ids=["random"])
def test_the_same_random_masks(example: examples.Example, machine: Machine) -> None:
    assert_same_bits(*in_both(problem(example.cell, 7, 5, 3, 18), machine))


@pytest.mark.parametrize(
    "cell", with_rest(SHIPPED, lambda cell: cell is cells.lstm), ids=lambda cell: cell.name
)
def test_without_relaxed_simd_it_is_as_exact_but_has_other_bits(cell: Cell, machine: Machine) -> None:
    """A product that is rounded before it is added doubles the roundings of a sum."""
    p = problem(cell, 7, 5, 3, 18).rounded("float32")
    exact, native = run(p), run(p, "float32")
    with in_browser(machine, PLAIN):
        found = run(p, "float32")
    different = 0
    for name, true in exact.items():
        size = max(1, np.abs(true).max(initial=0))
        limit = 2 * (7 * 5 + 3 + 18 + 8) * np.finfo(np.float32).eps * size
        np.testing.assert_allclose(found[name], true, rtol=0, atol=limit, err_msg=name)
        different += int((found[name] != native[name]).sum())
    assert different


@pytest.fixture(scope="module")
def vanishing() -> Problem:
    """The gradient halves at each step, and so does the state: both end below the normal numbers."""
    p = problem(cells.rnn, 400, 2, 1, 3, bias=False)
    return p.but(w_hh=p.arrays["w_hh"] * 0.5, x=0 * p.arrays["x"], dout=0 * p.arrays["dout"])


def test_vanishing_values_are_the_same_until_they_are_tiny(vanishing: Problem, machine: Machine) -> None:
    """WebAssembly computes with subnormal numbers inside sums; each term is off by at most `TINY`."""
    found, expected = in_both(vanishing, machine)
    K = 4  # terms of a sum
    for name, true in expected.items():
        normal = np.abs(true) > 1e-30
        np.testing.assert_array_equal(found[name][normal], true[normal], err_msg=name)
        assert np.abs(found[name] - true).max() <= K * TINY, name
        subnormal = (found[name] != 0) & (np.abs(found[name]) < TINY)
        assert not subnormal.any(), name
    assert (np.abs(expected["gradient init_h"]) < 1e-30).all()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_kernel_of_an_lstm_is_small(target: Any) -> None:
    form = plan(cells.lstm)
    kernels: list[Any] = [ForwardKernel(form), BackwardKernel(form), WeightGradientKernel()]
    for name, kernel in zip(("forward", "backward", "outer"), kernels, strict=True):
        assert len(module(name, kernel, FLOAT32, target)) <= 40_000
