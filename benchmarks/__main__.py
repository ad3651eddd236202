"""gatewise's layers compared with torch's and, for inference, with ONNX Runtime's.

Medians over interleaved rounds, and our share of the peak that the machine reaches in the same rounds.
Nothing is timed before outputs, final states and gradients have been compared with torch's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from rich.console import Console

from benchmarks.check import WrongResultError, check
from benchmarks.compare import Result, compare
from benchmarks.layers import KINDS, MODES, SHAPES
from benchmarks.machine import this_machine
from benchmarks.report import document, table, write_json


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    try:
        for cell in options.cells:
            check(cell)
    except WrongResultError as wrong:
        sys.exit(str(wrong))
    console, machine = Console(), this_machine()
    shapes = [SHAPES[n] for n in options.shapes]
    results: list[Result] = []
    for threads, mode, cell in product(options.threads, options.modes, options.cells):
        made = list(compare(cell, mode, threads, shapes, options.rounds, options.seconds))
        console.print(table(made, machine))
        results += made
    if options.out is not None:
        from benchmarks.picture import picture  # matplotlib, which the tables do without

        how = {"rounds": options.rounds, "seconds_a_round": options.seconds}
        write_json(options.out / "results.json", machine, **how, **document(results))
        picture(results, machine).savefig(options.out / "results.png", dpi=150)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cells", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--shapes", type=int, nargs="+", default=range(len(SHAPES)), help="indices from 0")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="a contender's time in a round")
    parser.add_argument("--out", type=Path, help="a folder for results.json and results.png")
    return parser


if __name__ == "__main__":
    main()
