"""Sequence classification beside what a user would pick instead: lines of code, CPU seconds, accuracy.

Each package does the same task in a process of its own, on one thread, as its users would write it
(``benchmarks/tasks/peers``). The peers are installed in another environment, since their pins differ::

    python -m venv peers && peers/bin/pip install torch skorch aeon==1.6.0
    pip download --no-deps -d data aeon==1.6.0
    python -m benchmarks.tasks compared --data data --peers peers/bin/python --seeds 0 1 2

Lines are those between ``# begin`` and ``# end``, without empty ones and comments. Seconds include the import
of the package, the fit and the prediction of the test part; for gatewise the kernels are in the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean

from benchmarks.tasks.classification import read_set
from benchmarks.tasks.peers.data import save

PEERS = Path(__file__).parent / "peers"
NAMES = {"gatewise": "Classifier", "skorch": "skorch, bidirectional GRU of torch", "aeon": "aeon, 1-NN DTW"}
SEEDED = ("gatewise", "skorch")


def lines(file: Path) -> int:
    """The number of lines that a user writes."""
    _, _, text = file.read_text(encoding="utf-8").partition("# begin")
    code = text.partition("# end")[0].splitlines()
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in code)


def run(python: str, peer: str, training: Path, test: Path, seed: int) -> tuple[float, float]:
    """CPU seconds and accuracy."""
    words = [python, "-W", "ignore", str(PEERS / f"with_{peer}.py"), str(training), str(test), str(seed)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **threads})
    found = json.loads(done.stdout)
    return found["seconds"], found["accuracy"]


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks compared")
    parser.add_argument("--data", type=Path, required=True, help="folder with the wheel of aeon")
    parser.add_argument("--peers", help="the Python in which skorch and aeon are installed")
    parser.add_argument("--set", default="JapaneseVowels")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args(words)
    found = read_set(options.data, options.set)
    peers = ("gatewise", "skorch", "aeon") if options.peers else ("gatewise",)
    print(f"{options.set:<36} {'lines':>6} {'CPU s':>7} {'accuracy':>9}")
    with tempfile.TemporaryDirectory() as folder:
        training, test = (Path(folder) / f"{part}.npz" for part in ("training", "test"))
        save(training, found.training, found.classes)
        save(test, found.test, found.truth)
        for peer in peers:
            python = sys.executable if peer == "gatewise" else options.peers
            seeds = options.seeds if peer in SEEDED else options.seeds[:1]
            results = [run(python, peer, training, test, seed) for seed in seeds]
            seconds, right = mean(r[0] for r in results), mean(r[1] for r in results)
            written = lines(PEERS / f"with_{peer}.py")
            print(f"{NAMES[peer]:<36} {written:>6} {seconds:>7.1f} {right:>8.1%}", flush=True)
