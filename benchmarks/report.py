"""Results as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks import onnx_layer
from benchmarks.compare import OURS, Result
from benchmarks.layers import KINDS
from benchmarks.machine import Machine


def title(cell: str, mode: str, threads: int | None = None) -> str:
    """A title such as "LSTM inference, 2 threads"."""
    return f"{KINDS[cell]} {mode}" + ("" if threads is None else f", {plural(threads, 'thread')}")


def plural(count: int, noun: str) -> str:
    """A text such as "2 threads"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def table(results: Sequence[Result], machine: Machine) -> Table:
    """The results of one cell, mode and number of threads."""
    first = results[0]
    peers = list(first.times_as_fast_as)
    made = Table(title=title(first.cell, first.mode, first.threads), caption=_caption(results, machine))
    made.add_column("shape", no_wrap=True)
    for name in ["ms", "us/step", "% of peak", *(f"x {peer}" for peer in peers)]:
        made.add_column(name, justify="right")
    if first.stream is not None:
        made.add_column("Stream", justify="right", no_wrap=True)
    for r in results:
        own = r.seconds[OURS]
        ratios = [f"{r.times_as_fast_as[peer]:.2f}" for peer in peers]
        ratios += [] if r.stream is None else [f"{r.stream:.2f}"]
        figures = [f"{own * 1e3:.3f}", f"{own / r.shape.T * 1e6:.2f}"]
        made.add_row(str(r.shape), *figures, f"{r.of_peak:.0%}", *ratios)
    return made


def _caption(results: Sequence[Result], machine: Machine) -> str:
    peak = f"{core_peak(results) / 1e9:.0f} GFLOP/s"
    lines = [str(machine), f"Peak of one core in the same rounds: {peak}. x: times as fast as."]
    if results[0].stream is not None:
        lines.append(f"Stream: gatewise.runtime, weights packed once, times as fast as {onnx_layer.NAME}.")
    if results[0].mode == "inference" and onnx_layer.missing():
        lines.append(left_out())
    return "\n".join(lines)


def digits(value: float) -> str:
    """A number with three digits, or with all digits before the point."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def left_out() -> str:
    """The reason why a peer has no column."""
    return f"Without {onnx_layer.NAME}: {' and '.join(onnx_layer.missing())} not installed."


def core_peak(results: Sequence[Result]) -> float:
    """Operations a second of one core, the median over results."""
    return median(result.peak for result in results)


def document(results: Sequence[Result]) -> dict[str, Any]:
    """The measurements as data: times in seconds, rates in operations per second."""
    return {
        "peak": core_peak(results),
        "left_out": left_out() if onnx_layer.missing() else None,
        "results": [
            asdict(r)
            | {"shape": r.shape._asdict(), "operations": r.operations, "rate": r.rate, "floor": r.floor}
            for r in results
        ],
    }


def write_json(file: Path, machine: Machine, **found: object) -> None:
    """The results with machine, versions and date."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    document = {"date": date, "machine": asdict(machine), **found}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=2) + "\n")
