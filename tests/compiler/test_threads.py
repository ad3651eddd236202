"""Kernels on OpenMP's threads and on our own, and in forked children; each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gatewise.compiler.threads import available, pool

ROOT = Path(__file__).parents[2]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

COMMON = """
import multiprocessing, threading, time
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from gatewise import cells
from gatewise.compiler import entry, machine
from gatewise.compiler.program import compiled
from gatewise.compiler.threads import available, openmp
from tests.compiler.problems import problem
from tests.compiler.running import assert_same_bits, run

p = problem(cells.lstm, 7, 13, 5, 40)

def in_child(answer):
    '''Send what a forked child computes on the threads that it may use.'''
    answer.send((available(2), run(p, threads=available(2), train=False)))

def forked():
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=in_child, args=(sender,), daemon=True)
    child.start()
    assert receiver.poll(20), "the child hangs"
    threads, results = receiver.recv()
    assert threads == 1
    return results
"""


def succeeds(code: str) -> None:
    """Run `code` in a process of its own, from the root of the project."""
    done = subprocess.run(
        [sys.executable, "-c", COMMON + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_all_wanted_threads_are_available_in_a_process_that_was_not_forked() -> None:
    assert available(7) == 7


def test_the_pool_is_made_once_and_has_a_thread_for_each_core() -> None:
    assert pool() is pool()
    assert pool()._max_workers == (os.cpu_count() or 1)


@pytest.mark.skipif(sys.platform != "linux", reason="OpenMP is looked for on Linux only")
def test_kernels_run_on_the_threads_that_torch_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found once torch is there; same bits on any number of them, granted or not, for any number of callers;
    denormals are theirs again afterwards."""
    monkeypatch.setenv("OMP_THREAD_LIMIT", "2")
    pytest.importorskip("torch")
    succeeds("""
assert openmp() is None
expected = run(p)
import torch
torch.set_num_threads(2)
assert openmp() is not None
for threads in (1, 2, 3):
    assert_same_bits(run(p, threads=threads), expected)
with ThreadPoolExecutor(3) as callers:
    for results in callers.map(lambda _: run(p, threads=2), range(6)):
        assert_same_bits(results, expected)
small = torch.full((1 << 20,), 1e-30)
assert (small * 1e-10 > 0).all()
""")


@needs_fork
@pytest.mark.parametrize("torch", ["", "import torch; torch.set_num_threads(2); torch.ones(1 << 20).add_(1)"])
def test_a_forked_child_computes_the_same_on_one_thread(torch: str) -> None:
    if torch:
        pytest.importorskip("torch")
    succeeds(torch + "\nexpected = run(p, threads=2)\nassert_same_bits(forked(), expected)\n")


@needs_fork
def test_a_process_may_fork_while_another_thread_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """One kernel after the other, so that at the fork it is in the middle of one or about to start one."""
    monkeypatch.setenv("GATEWISE_CACHE", "off")
    succeeds("""
compiling, compile_object = threading.Event(), machine.compile_object

def slowly(text):
    if threading.current_thread() is not thread:
        return compile_object(text)
    compiling.set()
    time.sleep(0.1)
    return compile_object(" ".join(f"define void @{name}() {{ ret void }}" for name in entry.ENTRIES))

machine.compile_object = slowly
kernels = [compiled(cell, "float32", width) for cell in (cells.gru, cells.lstm) for width in (4, 8)]
thread = threading.Thread(target=lambda: [one.forward for one in kernels])
thread.start()
compiling.wait()
results = forked()
thread.join()
assert_same_bits(results, run(p, train=False))
""")
