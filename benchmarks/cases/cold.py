"""The cost of the first call: compiling, or loading kernels from the cache, and the import."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

import gatewise.nn
from benchmarks.cases.finding import Finding, Settings, Target
from benchmarks.cases.process import fresh
from benchmarks.layers import KINDS, MODES, Shape, prepared

_COMPILE_MOST, _LOAD_MOST, _IMPORT_MOST = 1200.0, 60.0, 200.0  # ms; three kernels in the first two
_IMPORT = """
import sys, time
sys.modules["torch"] = None
start = time.perf_counter()
import gatewise
print(time.perf_counter() - start)
"""
_OTHERS = [Shape(1, 1, 3, 5), Shape(7, 33, 3, 5), Shape(64, 50, 3, 5), Shape(1, 20, 65, 250)]


def findings(settings: Settings) -> Iterator[Finding]:
    """The first training step of each cell in a new process, with an empty cache and with a full one."""
    for cell in list(KINDS)[: 1 if settings.tiny else None]:
        with TemporaryDirectory() as folder:
            empty, full = (_first_step(cell, folder) for _ in range(2))
        name = f"{KINDS[cell]}, first training step"
        yield Finding(f"{name}, compiled", empty["ms"], "ms", Target(_COMPILE_MOST))
        yield Finding(f"{name}, from the cache", full["ms"], "ms", Target(_LOAD_MOST))
        yield Finding(f"{KINDS[cell]}, compiled for other B, T, I, H", empty["others"], "kernels", Target(0))
    seconds = median(fresh(_IMPORT) for _ in range(settings.rounds))
    yield Finding("import gatewise, without torch", seconds * 1e3, "ms", Target(_IMPORT_MOST))


def _first_step(cell: str, folder: str) -> Any:
    code = (
        f"import json; from benchmarks.cases.cold import first_step; print(json.dumps(first_step({cell!r})))"
    )
    return fresh(code, GATEWISE_CACHE=folder)


def first_step(cell: str) -> dict[str, float]:
    """The milliseconds of the first step, and the number of objects that later calls add to the cache."""
    layer = getattr(gatewise.nn, KINDS[cell])
    x = torch.randn(3, 2, 3)
    prepared("training", torch.nn.RNN(3, 5), x)()  # torch's own first backward imports for 0.3 s
    start = time.perf_counter()
    prepared("training", layer(3, 5), x)()
    ms = (time.perf_counter() - start) * 1e3
    cache = Path(os.environ["GATEWISE_CACHE"])
    objects = len(list(cache.iterdir()))
    for B, T, I, H in _OTHERS:
        for mode in MODES:
            prepared(mode, layer(I, H), torch.randn(T, B, I))()
    return {"ms": ms, "others": len(list(cache.iterdir())) - objects}
