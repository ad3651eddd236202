"""Cells drawn at random give the bits of this machine in a browser."""

from __future__ import annotations

import numpy as np
import pytest

from gatewise.compiler.wasm.target import RELAXED
from tests.compiler.problems import problem
from tests.compiler.running import Results, run
from tests.compiler.wasm.browser import Machine, in_browser
from tests.random_cells.drawing import Drawn, few_cells
from tests.random_cells.quickly import compiling_quickly
from tests.selection import with_rest

NORMAL = 1e-30  # smaller numbers may differ: WebAssembly computes with subnormal numbers


def assert_same(found: Results, expected: Results) -> None:
    for name, values in expected.items():
        with np.errstate(invalid="ignore"):
            tiny = (np.abs(values) < NORMAL) & (np.abs(found[name]) < NORMAL)
        np.testing.assert_array_equal(found[name][~tiny], values[~tiny], err_msg=name)


@pytest.mark.parametrize("number", with_rest(range(8), lambda number: number == 0))
def test_a_random_cell_gives_the_bits_of_this_machine(number: int, machine: Machine) -> None:
    @few_cells(number)
    def holds(drawn: Drawn) -> None:
        p = problem(drawn.cell(), 3, 2, 3, 5)
        with np.errstate(all="ignore"):
            with compiling_quickly(kept=True):
                expected = run(p, "float32")
            with in_browser(machine, RELAXED):
                assert_same(run(p, "float32"), expected)

    holds()
