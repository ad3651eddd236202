"""The additional memory of a training step, each measured in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import torch

from benchmarks.cases.finding import Finding, Settings, Target
from benchmarks.cases.process import fresh
from benchmarks.layers import Shape, training

_SHAPES = [Shape(256, 365, 32, 64), Shape(64, 100, 512, 512)]
_LONG, _CHECKPOINT = Shape(8, 100_000, 8, 64), 316  # about the root of T
_LONG_MOST = 1000.0  # MB

_PROCESS = Path("/proc/self")


def findings(settings: Settings) -> Iterator[Finding]:
    """Compared with torch; and a long sequence with checkpoints, under a gigabyte."""
    for shape in dict.fromkeys(map(settings.shape, _SHAPES)):
        ours, theirs = (_megabytes(module, shape) for module in ("gatewise.nn", "torch.nn"))
        yield Finding(f"LSTM training {shape}", ours, "MB", Target(theirs), {"torch": theirs})
    long = settings.shape(_LONG)
    kept = _megabytes("gatewise.nn", long, checkpoint=_CHECKPOINT)
    yield Finding(f"LSTM training {long}, checkpoint={_CHECKPOINT}", kept, "MB", Target(_LONG_MOST))


def _megabytes(module: str, shape: Shape, **arguments: int) -> float:
    step = f"training_step({module!r}, {tuple(shape)}, **{arguments})"
    return float(fresh(f"from benchmarks.cases.memory import training_step; print({step})")) / 1e6


def training_step(module: str, shape: tuple[int, int, int, int], **arguments: int) -> int:
    """The peak memory of a training step minus the memory before it, for the LSTM of `module`, in bytes."""
    (B, T, I, H), LSTM = shape, import_module(module).LSTM
    training(LSTM(3, 5), torch.randn(2, 2, 3))()  # loads everything that is loaded once
    layer, x = LSTM(I, H, **arguments), torch.randn(T, B, I)
    (_PROCESS / "clear_refs").write_text("5")  # reset the peak: see proc(5)
    before = _highest()
    layer(x)[0].sum().backward()
    return _highest() - before


def _highest() -> int:
    """The largest resident set, in bytes.

    Not `resource.getrusage`: its figure outlives exec, and a small child shows that of a large parent.
    """
    lines = (_PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
