"""Many random cells: ``python -m tests.random_cells --cells 10000 --seed 7``.

Prints each cell whose layer differs from its text, each that raises an error, and the counts at the end. The
exit status is 1 if there was any such cell.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from contextlib import nullcontext
from time import perf_counter

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.random_cells.comparing import Setting, differences, drawn_settings
from tests.random_cells.drawing import Drawn, drawn_cells
from tests.random_cells.quickly import compiling_quickly


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("tests.random_cells", description=__doc__)
    parser.add_argument("--cells", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fully", action="store_true", help="kernels as users get them: four times as slow")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    counts: Counter[str] = Counter()
    start = perf_counter()

    @seed(options.seed)
    @settings(
        max_examples=options.cells, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(drawn_cells(), drawn_settings())
    def run(drawn: Drawn, setting: Setting) -> None:
        counts[_outcome(drawn, setting)] += 1
        if sum(counts.values()) % 100 == 0:
            print(sum(counts.values()), "cells", round(perf_counter() - start), "s", dict(counts), flush=True)

    with nullcontext() if options.fully else compiling_quickly(kept=False):
        run()
    print(*(f"{count:6} {outcome}" for outcome, count in counts.most_common()), sep="\n")
    return int(set(counts) != {"right"})


def _outcome(drawn: Drawn, setting: Setting) -> str:
    try:
        wrong = differences(drawn, setting)
    except Exception as error:  # whatever the error is, the other cells are still tested
        print(f"raises {error!r}: {drawn}{setting}", flush=True)
        return f"raises {type(error).__name__}: {str(error)[:150]}"
    if wrong:
        print("wrong:", drawn, setting, *wrong, sep="\n    ", flush=True)
    return "wrong" if wrong else "right"


if __name__ == "__main__":
    sys.exit(main())
