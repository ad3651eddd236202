"""The environment of all tests: their own kernel cache, OpenMP threads that sleep, and Ctrl-C; a browser."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.tabs import Tabs

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The user's cache is not used. Set ``GATEWISE_CACHE`` to keep the kernels of tests elsewhere.
os.environ.setdefault("GATEWISE_CACHE", str(Path(__file__).parents[1] / ".pytest_cache" / "kernels"))
# OpenMP threads sleep while they wait. Spinning, they would take cores from other pytest-xdist processes.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# NumPy multiplies on one thread, since the threads of OpenBLAS cannot sleep while they wait.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The bytecode of tests and sources is kept even where the environment says otherwise: without it each process
# spends a third of its collection on rewriting the assertions of all tests again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# In the background of a script Ctrl-C is ignored, and under nohup SIGHUP, which Windows does not have.
# Processes that tests start would inherit this, so both signals are set to their defaults.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The garbage collector: a full collection visits every object of torch and of the tests, which takes half a
# second. It runs less often, and skips what exists before the first test. A test that needs one collects.
gc.set_threshold(20_000, 10, 10)


def pytest_configure(config: pytest.Config) -> None:
    """Give one thread of torch and of kernels to each pytest-xdist process, except before a release.

    Small operations on two threads take three times the processor time, most of which is waiting. Tests of
    threads ask for them.
    """
    if hasattr(config, "workerinput") and config.option.markexpr:
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


def _with_threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread of torch and of kernels."""
    yield from _with_threads(1)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Two threads of torch and of kernels, on any machine."""
    yield from _with_threads(2)


@pytest.fixture(scope="module")
def quickly(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compile without optimisation; with optimisation, as users do, where exhaustive tests run too.

    For tests of what a layer does around its kernels: of options, files, tracing. Tests of the kernels
    themselves, and layers compared with those of torch, always run what users run. It ends with its module:
    a fixture that lasted longer would change what the tests after it run.
    """
    from tests.random_cells.quickly import compiling_quickly

    with compiling_quickly() if request.config.option.markexpr else nullcontext():
        yield


@pytest.fixture(scope="module")
def corrected() -> Iterator[None]:
    """Forecasters keep their network where it is better than the line, even if not clearly.

    For tests of what a network computes, with series on which it gains little.
    """
    from gatewise.tasks.forecast import fitting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "clearly_better", lambda gains: True)
        yield


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Raise if a fixture still compiles quickly when the tests of another file begin."""
    program = sys.modules.get("gatewise.compiler.run.program")
    if program is not None and (nextitem is None or nextitem.path != item.path):
        from gatewise.compiler.run.host import host

        assert program.host is host, "a fixture that compiles quickly outlives its module: use `quickly`"


# The headless shell has no windows to manage: it takes three quarters of the processor time of a browser.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine; .ci/run installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def tabs(browser: Browser) -> Tabs:
    return Tabs(browser)
