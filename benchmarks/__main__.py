"""Our layers beside torch's and, for inference, ONNX Runtime's.

For each shape one line: our time, our rate, and how many times as fast as each peer we are, the median over
interleaved rounds. Nothing is reported before outputs and gradients have been compared with torch's.
"""

from __future__ import annotations

import argparse
import platform

import torch
from rich.console import Console
from rich.table import Table

import gatewise
from benchmarks.layers import KINDS, SHAPES, Shape, inference, onnx_runtime, pair, training
from benchmarks.measure import interleaved, median, ratio


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cells", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--modes", nargs="+", choices=["inference", "training"], default=None)
    parser.add_argument("--shapes", type=int, nargs="+", default=range(len(SHAPES)), help="indices from 0")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="a contender's time in a round")
    options = parser.parse_args()
    shapes = [SHAPES[n] for n in options.shapes]
    console = Console()
    for kind in options.cells:
        check(kind)
    versions = f"gatewise {gatewise.__version__}, torch {torch.__version__}"
    console.print(f"{platform.processor() or platform.machine()}; {versions}")
    for threads in options.threads:
        torch.set_num_threads(threads)
        for mode in options.modes or ["inference", "training"]:
            for kind in options.cells:
                console.print(compare(kind, mode, shapes, threads, options.rounds, options.seconds))


def check(kind: str) -> None:
    """Stop unless output and gradients are torch's, on a ragged shape."""
    ours, theirs, x = pair(kind, Shape(B=5, T=9, I=7, H=37))
    results = []
    for layer in (ours, theirs):
        torch.manual_seed(0)
        by_input = training(layer, x)()
        results.append([inference(layer, x)()[0], by_input, *(p.grad for p in layer.parameters())])  # type: ignore[index]
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def compare(kind: str, mode: str, shapes: list[Shape], threads: int, rounds: int, seconds: float) -> Table:
    """One table: a cell, a mode, a number of threads."""
    peers = ["torch", "ONNX Runtime"] if mode == "inference" else ["torch"]
    table = Table(title=f"{KINDS[kind]} {mode}, {threads} thread{'s' if threads > 1 else ''}")
    for name in ["shape", "ours ms", "GFLOP/s", "us/step", *(f"x {peer}" for peer in peers)]:
        table.add_column(name, justify="left" if name == "shape" else "right")
    wrap = training if mode == "training" else inference
    for shape in shapes:
        ours, theirs, x = pair(kind, shape)
        contenders = {"ours": wrap(ours, x), "torch": wrap(theirs, x)}
        if "ONNX Runtime" in peers:
            contenders["ONNX Runtime"] = onnx_runtime(kind, shape, threads)
        times = interleaved(contenders, rounds, seconds)
        own = median(times["ours"])
        rate = shape.operations(kind, mode == "training") / own / 1e9
        ratios = [f"{ratio(times, 'ours', peer):.2f}" for peer in peers]
        table.add_row(str(shape), f"{own * 1e3:.3f}", f"{rate:.1f}", f"{own / shape.T * 1e6:.2f}", *ratios)
    return table


if __name__ == "__main__":
    main()
