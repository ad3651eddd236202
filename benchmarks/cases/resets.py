"""Episodes that end inside a sequence: the cost of a mask of resets."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from benchmarks.cases.finding import Finding, Settings, Target
from benchmarks.check import agree
from benchmarks.layers import MODES, Shape, pair, prepared
from benchmarks.measure import interleaved, ratio

_SHAPE = Shape(128, 128, 64, 256)
_RESETS = 0.03  # of the steps
_MOST = 1.08


def findings(settings: Settings) -> Iterator[Finding]:
    """With resets, compared with the same call without, and with a loop in Python that resets."""
    shape = settings.shape(_SHAPE)
    ours, theirs, x = pair("lstm", shape)
    reset = torch.rand(shape.T, shape.B, generator=torch.Generator().manual_seed(0)) < _RESETS
    loop = Loop(theirs, shape, reset)
    agree("our LSTM with resets", {"output": ours(x, reset=reset)[0]}, {"output": loop(x)[0]})
    for mode in MODES:
        contenders = {
            "without": prepared(mode, ours, x),
            "with": prepared(mode, ours, x, reset=reset),
            "loop": prepared(mode, loop, x),
        }
        times = interleaved(contenders, settings.rounds, settings.seconds)
        beside = {"a loop over torch.lstm_cell": ratio(times, "without", "loop")}
        cost = ratio(times, "without", "with")
        yield Finding(f"LSTM {mode} {shape}, {_RESETS:.0%} resets", cost, "x", Target(_MOST), beside)


class Loop(nn.LSTM):
    """torch's LSTM step by step, with states set to 0 where ``reset [T, B]`` is true."""

    def __init__(self, layer: nn.Module, shape: Shape, reset: Tensor) -> None:
        super().__init__(shape.I, shape.H)
        self.load_state_dict(layer.state_dict())
        self.keep = (~reset).unsqueeze(-1).float()

    def forward(self, x: Tensor) -> tuple[Tensor]:  # type: ignore[override]
        """``x [T, B, I]`` to the output ``[T, B, H]``."""
        h = c = x.new_zeros(x.size(1), self.hidden_size)
        weights = list(self.parameters())
        outputs = []
        for x_t, keep in zip(x, self.keep, strict=True):
            h, c = torch.lstm_cell(x_t, (h * keep, c * keep), *weights)
            outputs.append(h)
        return (torch.stack(outputs),)
