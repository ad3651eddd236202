"""Rows of different lengths: the cost of a useful step, compared with padded data."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from benchmarks.cases.finding import Finding, Settings, Target
from benchmarks.check import agree
from benchmarks.layers import Shape, pair, training
from benchmarks.measure import Run, interleaved, ratio

_SHAPE = Shape(32, 200, 64, 128)
_MOST = 1.15


def findings(settings: Settings) -> Iterator[Finding]:
    """A training step, lengths given beside padded data and as a `PackedSequence`."""
    shape = settings.shape(_SHAPE)
    ours, theirs, x = pair("lstm", shape)
    lengths = torch.randint(1, shape.T + 1, (shape.B,), generator=torch.Generator().manual_seed(0))
    _check(ours, theirs, x, lengths)
    contenders = {
        "ours full": training(ours, x),
        "ours lengths": training(ours, x, lengths=lengths),
        "ours packed": packed_training(ours, x, lengths),
        "torch full": training(theirs, x),
        "torch packed": packed_training(theirs, x, lengths),
    }
    times = interleaved(contenders, settings.rounds, settings.seconds)
    useful = int(lengths.sum()) / (shape.B * shape.T)
    torchs = {"torch": ratio(times, "torch full", "torch packed") / useful}
    for way in ("lengths", "packed"):
        cost = ratio(times, "ours full", f"ours {way}") / useful
        yield Finding(f"LSTM training {shape}, {way}: a useful step", cost, "x", Target(_MOST), torchs)


def packed_training(layer: nn.Module, x: Tensor, lengths: Tensor) -> Run:
    """As `training`, with the rows packed in the call, as a loop over batches has to."""
    x = x.clone().requires_grad_()
    by_output = torch.randn(int(lengths.sum()), layer.get_parameter("weight_hh_l0").size(1))

    def run() -> object:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        torch.autograd.backward(_packed(layer, x, lengths).data, by_output)
        return x.grad

    return run


def _packed(layer: nn.Module, x: Tensor, lengths: Tensor) -> PackedSequence:
    output: PackedSequence = layer(pack_padded_sequence(x, lengths, enforce_sorted=False))[0]
    return output


def _check(ours: nn.Module, theirs: nn.Module, x: Tensor, lengths: Tensor) -> None:
    expected = {"output": pad_packed_sequence(_packed(theirs, x, lengths), total_length=x.size(0))[0]}
    agree("our LSTM with lengths", {"output": ours(x, lengths=lengths)[0]}, expected)
    packed = pad_packed_sequence(_packed(ours, x, lengths), total_length=x.size(0))[0]
    agree("our LSTM of a PackedSequence", {"output": packed}, expected)
