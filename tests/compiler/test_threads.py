"""Kernels on OpenMP's threads, on our own, and in forked children; each test in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gatewise.compiler.run.pool import pool
from gatewise.compiler.run.threads import available

ROOT = Path(__file__).parents[2]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

COMMON = """
import multiprocessing, threading, time
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from gatewise import cells
from gatewise.compiler.emit import entry
from gatewise.compiler.run import machine
from gatewise.compiler.run.program import compiled
from gatewise.compiler.run.pool import pool
from gatewise.compiler.run.threads import available, openmp
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
    assert receiver.poll(60), "the child hangs"
    threads, results = receiver.recv()
    assert threads == 1
    return results
"""


def succeeds(code: str) -> None:
    """Run `code` in a new process, from the root of the project."""
    done = subprocess.run(
        [sys.executable, "-c", COMMON + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_all_requested_threads_are_available_in_a_process_that_was_not_forked() -> None:
    assert available(7) == 7


def test_the_pool_is_made_once_and_has_a_thread_for_each_core() -> None:
    assert pool() is pool()
    assert pool()._max_workers == (os.cpu_count() or 1)


def test_without_openmp_the_caller_depends_on_no_helper() -> None:
    """The bits are the same if the threads of the pool are free, are busy, or no longer start."""
    succeeds("""
assert openmp() is None
expected = run(p)
for threads in (2, 3, 7):
    assert_same_bits(run(p, threads=threads), expected)
with ThreadPoolExecutor(3) as callers:
    for results in callers.map(lambda _: run(p, threads=3), range(6)):
        assert_same_bits(results, expected)
free = threading.Event()
busy = [pool().submit(free.wait) for _ in range(pool()._max_workers)]
assert_same_bits(run(p, threads=3), expected)
free.set()
pool().shutdown()
assert_same_bits(run(p, threads=3), expected)
""")


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_without_openmp_ctrl_c_leaves_no_thread_in_memory_that_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Signals come at any moment, also two in a row. The memory of freed arrays is unmapped."""
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "4096")
    succeeds("""
import os, random, signal
from tests.compiler.running import Call

p = problem(cells.lstm, 20, 64, 16, 64)
kernels = compiled(p.cell, "float32")
armed, caught = False, 0

def interrupt(*_):
    if armed:
        raise KeyboardInterrupt

def shoot():
    choose = random.Random(1)
    while caught < 200:
        time.sleep(choose.random() * 0.01)
        for _ in range(choose.choice((1, 2))):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(choose.random() * 1e-4)

def compute():
    global armed, caught
    try:
        armed = True
        Call(p, kernels, threads=4).forward(True, ())
        armed = False
    except KeyboardInterrupt:
        armed = False
        caught += 1

assert openmp() is None
Call(p, kernels, threads=4).forward(True, ())  # compiled before the first signal
signal.signal(signal.SIGINT, interrupt)
shooting = threading.Thread(target=shoot)
shooting.start()
while shooting.is_alive():
    try:
        compute()
    except KeyboardInterrupt:  # the second of two
        armed = False
""")


@pytest.mark.skipif(sys.platform != "linux", reason="OpenMP is looked for on Linux only")
def test_kernels_run_on_the_threads_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMP is found after torch is loaded. The bits are the same for any number of threads and callers.

    Afterwards torch's threads compute with denormals again.
    """
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
    """The other thread compiles one kernel after another, so a fork happens during a compilation."""
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
