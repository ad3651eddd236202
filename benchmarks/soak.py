"""Millions of calls from several threads: results stay correct, memory does not grow.

Each thread calls layers of random cells, sizes, types and forms of input, in training and in inference: some
for as long as it lives, others for a round; and now and then cells that nobody has seen. Some results are
compared with torch's. Memory is what the process occupies between two rounds, after the allocator has given
back what it can: then the same layers live as always. It has grown if the median of the last quarter of the
run is above that of the second by more than 8 MB, half a megabyte for each module that has come in between,
and 10 kB for each new cell, of which LLVM keeps some 4. Of modules there may be no more than the package says
it keeps. Objects go to a folder of the run's own: no cell is found compiled, and the user's objects stay.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import gatewise.nn
from gatewise import Cell, cell, tanh
from gatewise.compiler.run.machine import loaded_modules

_LASTING, _PASSING = 6, 6  # layers of a thread, for the whole run and for a round
_TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-10}  # of sums of some hundred terms over some steps
_NEW_CELL = 250  # calls of a thread from one new cell to the next
_GROWTH, _MODULE, _CELL = 8.0, 0.5, 0.01  # megabytes
_MOST_MODULES = 2 * 128 + 8  # forward and backward of the cells that are remembered, and what all cells share


@dataclass(frozen=True)
class Sample:
    """A sample: seconds, calls, new cells, megabytes and compiled modules so far."""

    seconds: float
    calls: int
    megabytes: float
    modules: int
    cells: int = 0

    def __str__(self) -> str:
        done = f"{self.seconds:8.0f} s {self.calls:10d} calls {self.cells:6d} new cells"
        return f"{done} {self.megabytes:8.1f} MB {self.modules:4d} modules"


@dataclass
class Outcome:
    """The result of a soak test."""

    samples: list[Sample] = field(default_factory=list)
    calls: int = 0
    cells: int = 0
    checked: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """The growth in megabytes from the second to the last quarter of the samples."""
        return self._growth(lambda sample: sample.megabytes)

    @property
    def has_grown(self) -> bool:
        """Whether memory is lost, as far as one can tell."""
        modules = self._growth(lambda sample: sample.modules)
        cells = self._growth(lambda sample: sample.cells)
        lost = self.growth > _GROWTH + _MODULE * max(modules, 0) + _CELL * cells
        return lost or self.samples[-1].modules > _MOST_MODULES

    def _growth(self, of: Callable[[Sample], float]) -> float:
        n = len(self.samples) // 4
        values = [of(sample) for sample in self.samples]
        return statistics.median(values[-n:]) - statistics.median(values[n : 2 * n]) if n else 0.0


def soak(
    calls: int,
    threads: int,
    seconds: float,
    interval: float,
    variety: int,
    tell: Callable[[Sample], None] | None = None,
) -> Outcome:
    """Run until so many calls are made or the time is over; look at the memory every `interval` seconds.

    Each thread meets `variety` passing layers and as many inputs; if few, it has soon met the largest.
    """
    # It keeps something of every shape that torch's layers have met. (Declared as its descriptor.)
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    outcome, lock = Outcome(), threading.Lock()
    workers = [_Worker(seed, outcome, lock, calls, variety) for seed in range(threads)]
    start, passed = time.monotonic(), 0.0
    with ThreadPoolExecutor(threads) as pool:
        while passed < seconds and outcome.calls < calls and not outcome.wrong:
            end = time.monotonic() + interval
            for ended in [pool.submit(worker.run, end) for worker in workers]:
                ended.result()
            passed, megabytes = time.monotonic() - start, resident_megabytes()
            outcome.samples.append(Sample(passed, outcome.calls, megabytes, loaded_modules(), outcome.cells))
            if tell:
                tell(outcome.samples[-1])
    return outcome


def resident_megabytes() -> float:
    """What the process occupies, without what the allocator would give back."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def _give_back_at_once() -> None:
    """Have the C library lay large blocks in pages of their own, which go back when they are freed.

    Else what it keeps of them grows: in three minutes of torch's layers alone by 10 MB, and by 1 MB so.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-3, 1 << 17)  # M_MMAP_THRESHOLD, from then on fixed
        mallopt(-8, 1)  # M_ARENA_MAX


class _Worker:
    """What one thread calls."""

    def __init__(self, seed: int, outcome: Outcome, lock: threading.Lock, calls: int, variety: int) -> None:
        self.random, self.variety = random.Random(seed), variety
        self.outcome, self.lock, self.most, self.made = outcome, lock, calls, 0
        self.lasting = [_pair(self.random) for _ in range(_LASTING)]

    def run(self, end: float) -> None:
        """One round, until the clock says `end`."""
        layers = [*self.lasting, *(_pair(self._one()) for _ in range(_PASSING))]
        while time.monotonic() < end and self.outcome.calls < self.most and not self.outcome.wrong:
            self.made += 1
            if self.made % _NEW_CELL == 0:
                self._count(_wrong_in_new_cell(self.random.uniform(-0.5, 0.5)), checked=True, new=True)
            self._call(*self.random.choice(layers), check=self.made % 10 == 0)

    def _call(self, ours: gatewise.nn.Recurrent, theirs: nn.RNNBase, check: bool) -> None:
        example = _example(self._one(), ours)
        found = example.run(ours)
        expected = example.run(theirs) if check else found
        self._count(f"{ours}, {example}" if _difference(found, expected) else "", checked=check)

    def _one(self) -> random.Random:
        """What one thing is drawn from."""
        return random.Random(self.random.randrange(self.variety))

    def _count(self, wrong: str, checked: bool = False, new: bool = False) -> None:
        with self.lock:
            self.outcome.calls += 1
            self.outcome.cells += new
            self.outcome.checked += checked
            self.outcome.wrong += [wrong] if wrong else []


def _pair(chance: random.Random) -> tuple[gatewise.nn.Recurrent, nn.RNNBase]:
    """A layer of ours and torch's with the same weights."""
    name = chance.choice(["LSTM", "GRU", "RNN"])
    options = {
        "input_size": chance.randint(1, 20),
        "hidden_size": chance.randint(1, 40) if chance.random() < 0.9 else chance.randint(100, 200),
        "num_layers": chance.randint(1, 2),
        "bidirectional": chance.random() < 0.3,
        "batch_first": chance.random() < 0.5,
        "bias": chance.random() < 0.8,
        "dtype": chance.choice([torch.float32, torch.float64]),
    }
    theirs: nn.RNNBase = getattr(nn, name)(**options)
    ours: gatewise.nn.Recurrent = getattr(gatewise.nn, name)(**options)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@dataclass(frozen=True)
class _Example:
    """One input: padded, with lengths, or packed; trained on or not."""

    x: Tensor
    lengths: list[int] | None
    packed: bool
    training: bool
    batch_first: bool

    def run(self, layer: nn.Module) -> list[Tensor]:
        """The output, and in training the gradients of its sum of squares."""
        x = self.x.clone().requires_grad_(self.training)
        with torch.set_grad_enabled(self.training):
            output = self._output(layer, x)
        if not self.training:
            return [output]
        leaves = [x, *layer.parameters()]
        return [output.detach(), *torch.autograd.grad(output.square().mean(), leaves)]

    def _output(self, layer: nn.Module, x: Tensor) -> Tensor:
        if self.lengths is None:
            return layer(x)[0]  # type: ignore[no-any-return]
        if isinstance(layer, gatewise.nn.Recurrent) and not self.packed:
            return layer(x, lengths=self.lengths)[0]  # type: ignore[no-any-return]
        lengths = torch.tensor(self.lengths)
        output: PackedSequence = layer(
            pack_padded_sequence(x, lengths, batch_first=self.batch_first, enforce_sorted=False)
        )[0]
        steps = x.size(1 if self.batch_first else 0)
        return pad_packed_sequence(output, batch_first=self.batch_first, total_length=steps)[0]


def _example(chance: random.Random, layer: gatewise.nn.Recurrent) -> _Example:
    T, B = chance.randint(1, 15), chance.randint(1, 12)
    shape = (B, T) if layer.batch_first else (T, B)
    dtype = layer.get_parameter("weight_ih_l0").dtype
    generator = torch.Generator().manual_seed(chance.getrandbits(32))
    return _Example(
        torch.randn(*shape, layer.input_size, dtype=dtype, generator=generator),
        [chance.randint(1, T) for _ in range(B)] if chance.random() < 0.5 else None,
        packed=chance.random() < 0.5,
        training=chance.random() < 0.5,
        batch_first=layer.batch_first,
    )


def _difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    return not all(
        a.shape == b.shape and torch.allclose(a, b, rtol=_TOLERANCE[a.dtype], atol=_TOLERANCE[a.dtype])
        for a, b in zip(found, expected, strict=True)
    )


def new_cell(k: float) -> Cell:
    """A cell that nobody has compiled before."""

    @cell
    def leaking(h, *, a):  # type: ignore[no-untyped-def]
        h = tanh(a) - k * h
        return h

    return leaking


def _wrong_in_new_cell(k: float) -> str:
    """What is wrong with a cell of its own; empty if nothing is."""
    layer, x = gatewise.nn.Recurrent(new_cell(k), 3, 7, dtype=torch.float64), torch.randn(5, 4, 3).double()
    W, R, b, c = (p.detach() for p in layer.parameters())
    h = x.new_zeros(4, 7)
    for step in x:
        h = torch.tanh(step @ W.T + b + h @ R.T + c) - k * h
    return f"a new cell, k = {k}" if _difference([layer(x)[1][0]], [h]) else ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--interval", type=float, default=5, help="seconds from line to line")
    parser.add_argument(
        "--variety", type=int, default=1_000_000, help="inputs, and passing layers, of a thread"
    )
    parser.add_argument("--torch-threads", type=int, default=1, help="for each of the threads")
    options = parser.parse_args()
    torch.set_num_threads(options.torch_threads)
    _give_back_at_once()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GATEWISE_CACHE"] = folder
        outcome = soak(
            options.calls, options.threads, options.seconds, options.interval, options.variety, print
        )
    done = f"{outcome.calls} calls, {outcome.checked} checked, {outcome.cells} new cells"
    print(f"{done}; memory grew by {outcome.growth:.1f} MB")
    if outcome.wrong or outcome.has_grown:
        sys.exit("\n".join([*outcome.wrong, *(["memory has grown"] if outcome.has_grown else [])]))


if __name__ == "__main__":
    main()
