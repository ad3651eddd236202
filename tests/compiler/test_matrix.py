"""Matrix products: tiles of any shape stay inside their arrays, and sum in the same order for all sizes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gatewise import cells
from tests.compiler.problems import problem
from tests.compiler.running import assert_same_bits, run

# Every array begins or ends at a forbidden page: an access one element outside ends the process.
AT_FORBIDDEN_PAGES = """
import ctypes, faulthandler, mmap
import numpy as np
from tests.compiler.examples import EXAMPLES
from tests.compiler.problems import problem
from tests.compiler.running import Memory, run

faulthandler.enable()
page, kept = mmap.PAGESIZE, []
protect = ctypes.CDLL(None).mprotect
protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

def array(self, *shape):
    count, itemsize = int(np.prod(shape)), np.dtype(self.dtype).itemsize
    pages = -(-count * itemsize // page)
    memory = mmap.mmap(-1, (pages + 2) * page)
    kept.append(memory)
    offset = page + at_end * (pages * page - count * itemsize)
    array = np.frombuffer(memory, self.dtype)[offset // itemsize :][:count]
    array[...] = np.nan
    start = np.frombuffer(memory, np.uint8).ctypes.data
    assert protect(start, page, 0) == protect(start + (pages + 1) * page, page, 0) == 0
    return array.reshape(shape)

Memory.array, Memory.check = array, lambda self: None

for at_end in (0, 1):
    for example in EXAMPLES:
        for sizes in ((1, 1, 1, 1), (2, 5, 7, 3), (3, 13, 5, 18), (2, 3, 30, 33)):
            for train in (True, False):
                run(problem(example.cell, *sizes), train=train, watch=list(example.cell.values))
        kept.clear()
"""


@pytest.mark.skipif(os.name != "posix", reason="pages are forbidden by mprotect")
def test_nothing_outside_an_array_is_read_or_written() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", AT_FORBIDDEN_PAGES],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shape", [(2, 40, 1500, 9), (3, 33, 9, 700), (300, 2, 600, 5)], ids=str)
def test_sums_too_long_for_the_cache_have_the_same_bits_in_any_batch(
    shape: tuple[int, int, int, int],
) -> None:
    p = problem(cells.gru, *shape)
    whole, alone = run(p, "float32"), run(p.rows(slice(1, 2)), "float32")
    expected = {name: whole[name][:, 1:2] for name in ("output", "gradient x")}
    assert_same_bits({name: alone[name] for name in expected}, expected)
    assert np.abs(whole["output"]).max() > 0.1
