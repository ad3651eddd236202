"""One step at a time from Python, as for a stream of observations."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import onnx_layer
from benchmarks.cases.finding import Finding, Settings, Target
from benchmarks.check import agree
from benchmarks.layers import KINDS, Shape, pair
from benchmarks.measure import Run, interleaved, medians
from gatewise import cells
from gatewise.runtime import Stream

_SHAPE = Shape(1, 1, 32, 64)
_MOST = 2.5  # us


def findings(settings: Settings) -> Iterator[Finding]:
    """`Stream.step` beside ``torch.nn.*Cell``, and the operator of ONNX Runtime, which starts from zeros."""
    shape = settings.shape(_SHAPE)
    for kind in KINDS:
        _, theirs, x = pair(kind, shape)
        weights = {name: weight.numpy() for name, weight in theirs.state_dict().items()}
        stream = Stream(getattr(cells, kind), weights, batch=shape.B)
        _check(kind, stream, theirs, shape)
        contenders: dict[str, Run] = {
            "ours": partial(stream.step, x[0].numpy()),
            "torch": _cell(kind, theirs, x[0]),
        }
        if not onnx_layer.missing():
            contenders[onnx_layer.NAME] = onnx_layer.onnx_layer(kind, theirs, x, threads=1)
        times = interleaved(contenders, settings.rounds, settings.seconds)
        us = {name: seconds * 1e6 for name, seconds in medians(times).items()}
        what = f"{KINDS[kind]} step B{shape.B} I{shape.I} H{shape.H}"
        yield Finding(what, us.pop("ours"), "us", Target(_MOST), us)


def _cell(kind: str, layer: nn.Module, x: Tensor) -> Run:
    """torch's cell with the weights of a layer, which carries its state from call to call."""
    I, H = x.size(1), layer.get_parameter("weight_hh_l0").size(1)
    cell = getattr(nn, f"{KINDS[kind]}Cell")(I, H)
    cell.load_state_dict({name.removesuffix("_l0"): w for name, w in layer.state_dict().items()})
    state = None

    def run() -> None:
        nonlocal state
        with torch.no_grad():
            state = cell(x, state)

    return run


def _check(kind: str, stream: Stream, layer: nn.Module, shape: Shape) -> None:
    """Three steps are a sequence."""
    x = torch.randn(3, shape.B, shape.I)
    found = np.stack([stream.step(x_t) for x_t in x.numpy()])
    agree(f"our stream of {KINDS[kind]}", {"output": torch.from_numpy(found)}, {"output": layer(x)[0]})
