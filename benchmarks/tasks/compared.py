"""Each job beside what a user would pick instead: lines of code, CPU seconds, and how good it is.

Each package does the same task in a process of its own, on one thread, as its users would write it
(``benchmarks/tasks/peers``). The peers are installed in another environment, since their pins differ::

    python -m venv peers && peers/bin/pip install torch skorch aeon==1.6.0 spacy
    pip download --no-deps -d data aeon==1.6.0 turkish-treebanks==1.0.0
    python -m benchmarks.tasks compared --data data --peers peers/bin/python --seeds 0 1 2
    python -m benchmarks.tasks compared --job tag --data data --peers peers/bin/python
    python -m benchmarks.tasks compared --job write

Lines are those between ``# begin`` and ``# end``, without empty ones and comments. Seconds include the import
of the package, the fit and the prediction of the test part; for gatewise the kernels are in the cache.

- ``classify``: a set of the UEA archive (``--set``), in the wheel of aeon.
- ``tag``: UPOS of the Turkish Web Treebank, every tenth sentence for the test; each peer trains 8 epochs.
- ``write``: `pydoc_data.topics` of Python's library, the last tenth for the test; each trains 5 epochs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from benchmarks.tasks import tagging, writing
from benchmarks.tasks.classification import read_set
from benchmarks.tasks.peers.data import save

PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Peer:
    """A package: the file of its program, its name in the table, where it runs, and what it takes.

    Attributes:
        file: the program.
        name: what it is called in the table.
        elsewhere: whether it runs in the Python of the peers.
        seeded: whether it is run with each seed.
    """

    file: str
    name: str
    elsewhere: bool = False
    seeded: bool = True

    @property
    def lines(self) -> int:
        """The number of lines that a user writes."""
        _, _, text = (PEERS / self.file).read_text(encoding="utf-8").partition("# begin")
        code = text.partition("# end")[0].splitlines()
        return sum(bool(line.strip()) and not line.strip().startswith("#") for line in code)

    def run(self, python: str, data: Sequence[str], seed: int) -> dict[str, float]:
        """The figures that the program prints."""
        words = [python, "-W", "ignore", str(PEERS / self.file), *data, str(seed)]
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(names, "1")}
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=environment)
        found: dict[str, float] = json.loads(done.stdout)
        return found


JOBS = {
    "classify": (
        Peer("with_gatewise.py", "Classifier"),
        Peer("with_skorch.py", "skorch, bidirectional GRU of torch", elsewhere=True),
        Peer("with_aeon.py", "aeon, 1-NN DTW", elsewhere=True, seeded=False),
    ),
    "tag": (
        Peer("with_gatewise_tagger.py", "Tagger"),
        Peer("with_torch_tagger.py", "the same network in torch"),
        Peer("with_spacy_tagger.py", "spaCy", elsewhere=True),
    ),
    "write": (
        Peer("with_gatewise_writer.py", "Writer"),
        Peer("with_torch_writer.py", "the same network in torch"),
    ),
}
SHOWN = {"seconds": "{:.1f}", "accuracy": "{:.2%}", "bits": "{:.3f}", "rate": "{:,.0f}"}


def prepare(job: str, name: str, data: Path, folder: Path) -> list[str]:
    """Write the data of a job. Returns the files, as the programs take them."""
    training, test = folder / "training", folder / "test"
    if job == "classify":
        found = read_set(data, name)
        training, test = training.with_suffix(".npz"), test.with_suffix(".npz")
        save(training, found.training, found.classes)
        save(test, found.test, found.truth)
        return [str(training), str(test)]
    if job == "tag":
        for path, corpus in zip((training, test), tagging.parts(tagging.turkish(data)), strict=True):
            path.write_text(json.dumps([corpus.words, corpus.tags["upos"]]), encoding="utf-8")
        return [str(training), str(test)]
    text = writing.topics(data)
    stop = len(text) * 9 // 10
    training.write_text(json.dumps([text[:stop], text[stop:]]), encoding="utf-8")
    return [str(training)]


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks compared")
    parser.add_argument("--job", choices=JOBS, default="classify")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with the wheels")
    parser.add_argument("--peers", help="the Python in which the peers are installed")
    parser.add_argument("--set", default="JapaneseVowels", help="the set to classify")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        data = prepare(options.job, options.set, options.data, Path(folder))
        for peer in JOBS[options.job]:
            if peer.elsewhere and not options.peers:
                continue
            python = options.peers if peer.elsewhere else sys.executable
            seeds = options.seeds if peer.seeded else options.seeds[:1]
            results = [peer.run(python, data, seed) for seed in seeds]
            figures = [
                f"{form.format(mean(each[key] for each in results))} {key}"
                for key, form in SHOWN.items()
                if key in results[0]
            ]
            print(f"{peer.name:<36} {peer.lines:>4} lines  {'  '.join(figures)}", flush=True)
