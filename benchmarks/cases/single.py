"""Small calls, whose price is more than what they compute: single steps, short layers, one row.

Steps and layers are compared with torch's, frozen layers with ONNX Runtime's operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

import gatewise
from benchmarks import onnx_layer
from benchmarks.cases.finding import Finding, Settings, Target
from benchmarks.check import agree
from benchmarks.layers import KINDS, MODES, Shape, inference
from benchmarks.measure import Run, interleaved, ratio

# Of single steps in inference and in training; of layers too.
_STEPS = {
    Shape(1, 1, 64, 64): (1.0, 0.9),
    Shape(8, 1, 128, 128): (1.0, 1.0),
    Shape(32, 1, 128, 128): (1.2, 1.0),
    Shape(64, 1, 256, 256): (1.2, 1.0),
}
_LAYERS = {Shape(1, 1, 64, 64): (1.3, 1.1), Shape(1, 10, 64, 64): (1.3, 1.1)}
_LONG = {Shape(1, 200, 64, 64): (1.5, 2.0)}
_FROZEN = [Shape(1, 100, H, H) for H in (64, 128, 512)]


def findings(settings: Settings) -> Iterator[Finding]:
    """The times of torch, or ONNX Runtime, divided by ours."""
    for kind in KINDS.values():
        for shape, targets in _STEPS.items():
            yield from _beside_torch(f"{kind}Cell", settings.shape(shape), targets, settings)
    for kind in KINDS.values():
        for shape, targets in _LAYERS.items() | (_LONG.items() if kind == "LSTM" else set()):
            yield from _beside_torch(kind, settings.shape(shape), targets, settings)
    if not onnx_layer.missing():
        for shape in _FROZEN:
            yield _frozen(settings.shape(shape), settings)


def _beside_torch(
    name: str, shape: Shape, targets: tuple[float, float], settings: Settings
) -> Iterator[Finding]:
    ours, theirs = (getattr(package, name)(shape.I, shape.H) for package in (gatewise.nn, nn))
    ours.load_state_dict(theirs.state_dict())
    given = _given(name, shape)
    agree(f"our {name}", {"h": _first(ours(*given))}, {"h": _first(theirs(*given))})
    for mode, target in zip(MODES, targets, strict=True):
        contenders = {who: _call(mode, m, *given) for who, m in (("ours", ours), ("torch", theirs))}
        times = interleaved(contenders, settings.rounds, settings.seconds)
        what = f"{name} {mode} {shape}"
        yield Finding(what, ratio(times, "ours", "torch"), "x torch", Target(target, at_least=True))


def _given(name: str, shape: Shape) -> tuple[Any, ...]:
    if not name.endswith("Cell"):
        return (torch.randn(shape.T, shape.B, shape.I),)
    states = torch.randn(2, shape.B, shape.H)
    return torch.randn(shape.B, shape.I), tuple(states) if name == "LSTMCell" else states[0]


def _first(results: Tensor | tuple[Tensor, ...]) -> Tensor:
    return results if isinstance(results, Tensor) else results[0]


def _call(mode: str, module: nn.Module, x: Tensor, *states: Any) -> Run:
    leaves = [x.clone().requires_grad_(), *module.parameters()]

    def run() -> object:
        with torch.set_grad_enabled(mode == "training"):
            h = _first(module(leaves[0], *states))
            return torch.autograd.grad(h.sum(), leaves) if mode == "training" else h

    return run


def _frozen(shape: Shape, settings: Settings) -> Finding:
    """A frozen LSTM, and one that is not, beside ONNX Runtime."""
    layers = [
        nn.LSTM(shape.I, shape.H),
        gatewise.nn.LSTM(shape.I, shape.H),
        gatewise.nn.LSTM(shape.I, shape.H),
    ]
    for layer in layers[1:]:
        layer.load_state_dict(layers[0].state_dict())
    x = torch.randn(shape.T, shape.B, shape.I)
    peer: Callable[[], Any] = onnx_layer.onnx_layer("lstm", layers[0], x, settings.threads)
    frozen = inference(gatewise.freeze(layers[1]), x)
    contenders: dict[str, Run] = {"frozen": frozen, "ours": inference(layers[2], x), onnx_layer.NAME: peer}
    agree("frozen", {"output": _first(layers[1](x))}, {"output": _first(layers[0](x))})
    times = interleaved(contenders, settings.rounds, settings.seconds)
    figure = ratio(times, "frozen", onnx_layer.NAME)
    beside = {"not frozen": ratio(times, "ours", onnx_layer.NAME)}
    what = f"frozen LSTM inference {shape}"
    return Finding(what, figure, f"x {onnx_layer.NAME}", Target(1.05, at_least=True), beside)
