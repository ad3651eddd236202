"""Measures gatewise's layers and their peers: one result for each cell, mode, shape and number of threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from benchmarks import onnx_layer
from benchmarks.layers import Shape, pair, prepared, stream
from benchmarks.measure import interleaved, medians, ratio
from benchmarks.peak import Peak

OURS = "gatewise"
STREAM = "gatewise.runtime"


@dataclass(frozen=True)
class Result:
    """Medians over the rounds of one run; `peak` is of one core in the same rounds, operations a second."""

    cell: str
    mode: str
    threads: int
    shape: Shape
    peak: float
    seconds: dict[str, float]  # of a call, by contender
    times_as_fast_as: dict[str, float]  # by peer
    of_peak: float  # our rate, as a share of that of all threads at their peak
    stream: float | None  # how many times as fast as ONNX Runtime our `Stream` is, where both were run

    @property
    def operations(self) -> float:
        """The operations of the products of a call."""
        return self.shape.operations(self.cell, self.mode)

    @property
    def rate(self) -> float:
        """gatewise's operations per second."""
        return self.operations / self.seconds[OURS]

    @property
    def floor(self) -> float:
        """Seconds that the operations of a call take at the peak of all threads."""
        return self.operations / (self.peak * self.threads)


def compare(
    cell: str, mode: str, threads: int, shapes: Sequence[Shape], rounds: int, seconds: float
) -> Iterator[Result]:
    """Measure each shape; sets torch's number of threads."""
    torch.set_num_threads(threads)
    peak = Peak()
    for shape in shapes:
        ours, theirs, x = pair(cell, shape)
        contenders = {OURS: prepared(mode, ours, x), "torch": prepared(mode, theirs, x)}
        streams = mode == "inference" and threads == 1 and not onnx_layer.missing()
        if mode == "inference" and not onnx_layer.missing():
            contenders[onnx_layer.NAME] = onnx_layer.onnx_layer(cell, theirs, x, threads)
        peers = [name for name in contenders if name != OURS]
        if streams:
            contenders[STREAM] = stream(ours, x)
        times = interleaved(contenders | {"peak": peak.run}, rounds, seconds)
        middle = medians(times)
        share = shape.operations(cell, mode) / peak.operations / threads
        yield Result(
            cell,
            mode,
            threads,
            shape,
            peak=peak.operations / middle.pop("peak"),
            seconds=middle,
            times_as_fast_as={peer: ratio(times, OURS, peer) for peer in peers},
            of_peak=share * ratio(times, OURS, "peak"),
            stream=ratio(times, STREAM, onnx_layer.NAME) if streams else None,
        )
