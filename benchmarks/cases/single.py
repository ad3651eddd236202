"""Single steps of the `*Cell` modules, in a loop in Python."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

import gatewise.nn
from benchmarks.cases.finding import Finding, Settings, Target
from benchmarks.check import agree
from benchmarks.layers import KINDS, MODES, Shape
from benchmarks.measure import Run, interleaved, ratio

_SHAPES = [Shape(1, 1, 64, 64), Shape(8, 1, 128, 128), Shape(32, 1, 128, 128), Shape(64, 1, 256, 256)]


def findings(settings: Settings) -> Iterator[Finding]:
    """Each kind compared with torch's: the ratio of the times."""
    for kind in KINDS.values():
        for shape in dict.fromkeys(map(settings.shape, _SHAPES)):
            ours, theirs = (
                getattr(package, f"{kind}Cell")(shape.I, shape.H) for package in (gatewise.nn, nn)
            )
            ours.load_state_dict(theirs.state_dict())
            x, states = torch.randn(shape.B, shape.I), torch.randn(2, shape.B, shape.H)
            hx = tuple(states) if kind == "LSTM" else states[0]
            agree(f"our {kind}Cell", {"h": _first(ours(x, hx))}, {"h": _first(theirs(x, hx))})
            for mode in MODES:
                contenders = {name: _step(mode, m, x, hx) for name, m in (("ours", ours), ("torch", theirs))}
                times = interleaved(contenders, settings.rounds, settings.seconds)
                what = f"{kind}Cell {mode} B{shape.B} I{shape.I} H{shape.H}"
                yield Finding(what, ratio(times, "ours", "torch"), "x torch", Target(1.0, at_least=True))


def _first(states: Tensor | tuple[Tensor, ...]) -> Tensor:
    return states if isinstance(states, Tensor) else states[0]


def _step(mode: str, module: nn.Module, x: Tensor, hx: Tensor | tuple[Tensor, ...]) -> Run:
    leaves = [x.clone().requires_grad_(), *module.parameters()]

    def run() -> object:
        with torch.set_grad_enabled(mode == "training"):
            h = _first(module(leaves[0], hx))
            return torch.autograd.grad(h.sum(), leaves) if mode == "training" else h

    return run
