"""Rows of different lengths in programs of `torch.export`."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.utils.rnn import pack_sequence

import gatewise
from gatewise import cells

I, H = 3, 4
STEPS, ROWS = Dim("steps"), Dim("rows")


class Ragged(nn.Module):
    """Layers of several kinds over rows of different lengths, with and without states."""

    def __init__(self, batch_first: bool = False) -> None:
        super().__init__()
        self.gru = gatewise.nn.GRU(I, H, 2, bidirectional=True, batch_first=batch_first)
        self.own = gatewise.nn.Recurrent(cells.lstm_peephole, 2 * H, H, batch_first=batch_first)

    def forward(self, x: Tensor, lengths: Tensor, h: Tensor) -> Any:
        output, h_n = self.gru(x, h, lengths)
        return self.own(output, lengths=lengths), h_n


def given(T: int, B: int, batch_first: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(*((B, T) if batch_first else (T, B)), I)
    lengths = torch.randint(1, T + 1, (B,))
    lengths[0] = 0
    return x, lengths, torch.randn(4, B, H)


def exported(model: nn.Module, batch_first: bool = False) -> Any:
    x = {0: ROWS, 1: STEPS} if batch_first else {0: STEPS, 1: ROWS}
    shapes = {"x": x, "lengths": {0: ROWS}, "h": {1: ROWS}}
    program = torch.export.export(model, given(5, 3, batch_first), dynamic_shapes=shapes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    return torch.export.load(buffer).module()


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_program_gives_what_the_layers_give(batch_first: bool) -> None:
    model = Ragged(batch_first)
    program = exported(model, batch_first)
    for T, B in ((5, 3), (9, 4), (2, 2)):
        inputs = given(T, B, batch_first)
        torch.testing.assert_close(program(*inputs), model(*inputs), rtol=0, atol=0)
    full = (inputs[0], torch.full((2,), 2), inputs[2])
    torch.testing.assert_close(program(*full), model(*full), rtol=0, atol=0)


def test_its_gradients_are_those_of_the_layers() -> None:
    model = Ragged()
    program = exported(model)
    x, lengths, h = given(7, 5)
    found = []
    for each in (model, program):
        leaves = [x.clone().requires_grad_(), h.clone().requires_grad_()]
        (output, states), h_n = each(leaves[0], lengths, leaves[1])
        total = sum((tensor.square().sum() for tensor in (output, *states, h_n)), torch.zeros(()))
        found.append(torch.autograd.grad(total, [*leaves, *each.parameters()]))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_resets_and_lengths() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = gatewise.nn.LSTM(I, H, bidirectional=True)

        def forward(self, x: Tensor, lengths: Tensor, reset: Tensor) -> Any:
            return self.rnn(x, lengths=lengths, reset=reset)

    model, inputs = Both(), (torch.randn(6, 3, I), torch.tensor([2, 6, 0]), torch.rand(6, 3) < 0.4)
    program = torch.export.export(model, inputs).module()
    torch.testing.assert_close(program(*inputs), model(*inputs), rtol=0, atol=0)


def test_lengths_are_checked_when_the_program_runs() -> None:
    program = exported(Ragged())
    x, _, h = given(4, 2)
    with pytest.raises(
        ValueError, match=r"lengths must be from 0 to 4, the steps of the input\. Got 3 to 5\."
    ):
        program(x, torch.tensor([3, 5]), h)


def test_a_packed_sequence_is_refused_with_a_message() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = gatewise.nn.GRU(I, H)

        def forward(self, x: Tensor) -> Any:
            return self.rnn(pack_sequence([x, x[:2]]))[1]

    with pytest.raises(Exception, match=r"torch\.export: input must be padded rows .* PackedSequence"):
        torch.export.export(Packed(), (torch.randn(5, I),))
