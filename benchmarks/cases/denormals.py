"""States that decay to denormal numbers, which are slow on many processors, compared with normal ones."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from benchmarks.cases.finding import Finding, Settings, Target
from benchmarks.layers import MODES, Shape, inference, pair, training
from benchmarks.measure import Run, interleaved, ratio

_SHAPE = Shape(16, 600, 32, 64)
_MOST = 1.1


def findings(settings: Settings) -> Iterator[Finding]:
    """Input at the first step only, derivatives at the last only; torch also told to flush to zero."""
    shape = settings.shape(_SHAPE)
    ours, theirs, x = pair("lstm", shape)
    _fade(ours)
    _fade(theirs)
    by_output = torch.randn(shape.T, shape.B, shape.H)
    fading = _only(0, x), _only(-1, by_output)
    for mode in MODES:
        contenders = {
            "ours": _call(mode, ours, x, by_output),
            "torch": _call(mode, theirs, x, by_output),
            "ours, fading": _call(mode, ours, *fading),
            "torch, fading": _call(mode, theirs, *fading),
            "torch, fading, flushed": _flushing(_call(mode, theirs, *fading)),
        }
        times = interleaved(contenders, settings.rounds, settings.seconds)
        beside = {
            "torch": ratio(times, "torch", "torch, fading"),
            "torch flushing": ratio(times, "torch", "torch, fading, flushed"),
        }
        cost = ratio(times, "ours", "ours, fading")
        yield Finding(f"LSTM {mode} {shape}", cost, "x", Target(_MOST), beside)


def _fade(layer: nn.Module) -> None:
    """Without input a state shrinks by a factor of 0.73 at each step, but rounding never lets it reach 0."""
    with torch.no_grad():
        layer.get_parameter("weight_hh_l0").mul_(0.01)  # too small to sustain the state
        for name in ("bias_ih_l0", "bias_hh_l0"):
            layer.get_parameter(name).zero_()
        gates = layer.get_parameter("bias_ih_l0").view(4, -1)
        gates[[1, 3]] = 1.0  # forget and output: sigmoid(1) = 0.73


def _only(step: int, sequence: Tensor) -> Tensor:
    """Zero except at one step."""
    alone = torch.zeros_like(sequence)
    alone[step] = sequence[step]
    return alone


def _call(mode: str, layer: nn.Module, x: Tensor, by_output: Tensor) -> Run:
    return training(layer, x, by_output) if mode == "training" else inference(layer, x)


def _flushing(run: Run) -> Run:
    """Context manager: flush-to-zero by torch, on the calling thread and the threads that it starts."""

    def call() -> object:
        torch.set_flush_denormal(True)
        try:
            return run()
        finally:
            torch.set_flush_denormal(False)

    return call
