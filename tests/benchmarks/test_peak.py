"""The kernel that measures peak speed does the operations that are counted."""

from __future__ import annotations

import re

import numpy as np

from benchmarks import peak as module
from gatewise.compiler.run.host import host


def test_every_pass_is_one_multiply_add_in_every_chain() -> None:
    text = module._module(width=4, chains=5)
    assert len(re.findall(r"call <4 x float> @.?llvm\.fma", text)) == 5


def test_operations_are_counted_for_the_widest_vectors() -> None:
    chains, lanes = host().registers * 3 // 4, host().vector_bits / 32
    assert module.Peak().operations == 2 * module._PASSES * chains * lanes


def test_sums_stay_ordinary_numbers() -> None:
    peak = module.Peak()
    for _ in range(3):
        peak.run()
        # Half the mean of the chains. The fixed point of each is sum = factor * sum + 0.5.
        assert np.all((peak._memory > 0.1) & (peak._memory < 10))
