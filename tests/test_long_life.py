"""A long-running process: memory stays flat, results stay right, old code is freed.

The long form is ``python -m benchmarks.soak``.
"""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.soak import Outcome, Sample, new_cell, resident_megabytes
from gatewise import Cell
from gatewise.compiler.emit import entry
from gatewise.compiler.run import machine, program
from gatewise.compiler.run.machine import loaded_modules
from gatewise.compiler.run.program import compiled
from tests.selection import with_rest

# The soak test, with kernels that LLVM does not optimise, which takes it less time.
SOAK = """
from benchmarks import soak
from tests.random_cells.quickly import compiling_quickly
with compiling_quickly():
    soak.main()
"""


@pytest.mark.parametrize(
    ("calls", "variety", "new"), with_rest([(1200, 6, 3), (4000, 20, 5)], lambda calls, *_: calls == 1200)
)
def test_calls_of_four_threads_are_right_and_leak_no_memory(
    calls: int, variety: int, new: int, tmp_path: Path
) -> None:
    """Runs in its own process, because memory freed by earlier tests would hide or imitate a leak."""
    numbers = ["--calls", str(calls), "--variety", str(variety), "--interval", "0.4"]
    own = os.environ | {"GATEWISE_CACHE": str(tmp_path)}  # no kernel is found compiled
    command, root = [sys.executable, "-c", SOAK, *numbers], Path(__file__).parents[1]
    run = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, env=own, cwd=root)
    assert run.returncode == 0, run.stdout + run.stderr
    found = re.search(r"(\d+) calls, (\d+) checked, (\d+) new cells", run.stdout)
    assert found
    done, checked, cells = map(int, found.groups())
    assert (done >= calls, checked >= calls // 10, cells >= new) == (True, True, True)


@pytest.mark.parametrize(("lost", "grown"), [(0.0, False), (0.5, True)])
def test_a_leak_is_detected_and_noise_is_not(lost: float, grown: bool) -> None:
    samples = [Sample(n, n, 300 + 4 * (n % 3) + lost * n, 5) for n in range(80)]
    assert Outcome(samples).has_grown is grown


@pytest.fixture
def _one_object_for_all(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give all cells the same machine code: they are loaded and freed as usual, which saves minutes."""
    image = machine.compile_object("".join(f"define void @{name}() {{ ret void }}" for name in entry.ENTRIES))
    monkeypatch.setattr(machine, "_load", lambda key, write, functions: machine.Loaded(image, functions))
    program._compiled.cache_clear()
    yield
    program._compiled.cache_clear()


def use(cell: Cell) -> None:
    kernels = compiled(cell, "float64")
    assert kernels.forward is not kernels.backward


@pytest.mark.usefixtures("_one_object_for_all")
def test_three_hundred_cells_leave_a_bounded_number_of_modules() -> None:
    gc.collect()
    before = loaded_modules()
    for n in range(300):
        use(new_cell(n / 1000))
    gc.collect()
    most = program._compiled.cache_info().maxsize
    assert most is not None
    assert 0 < loaded_modules() - before <= 2 * most
    program._compiled.cache_clear()
    gc.collect()
    assert loaded_modules() == before


@pytest.mark.usefixtures("_one_object_for_all")
def test_memory_of_dropped_cells_is_freed() -> None:
    """Each round makes more cells than are kept. From the second round on, memory does not grow."""
    occupied = []
    for turn in range(4):
        for n in range(150):
            use(new_cell((turn * 150 + n) / 1000))
        occupied.append(resident_megabytes())
    assert occupied[-1] - occupied[0] < 10
