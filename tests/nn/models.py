"""Common models with our layers in them, each with an example input and inputs of other sizes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import gatewise


class Classifier(nn.Module):
    """Convolution, a recurrent layer, the mean over the steps, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(3, 6, 3, stride=2), nn.BatchNorm1d(6)
        self.rnn = gatewise.nn.LSTM(6, 5, batch_first=True, bidirectional=True)
        self.head = nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.conv(x.transpose(1, 2)))).transpose(1, 2)
        logits: Tensor = self.head(self.rnn(y)[0].mean(1))
        return logits


class Tagger(nn.Module):
    """Tokens in; the largest output over the steps, and a class."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(20, 6), gatewise.nn.GRU(6, 5, 2, batch_first=True)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        y, h = self.rnn(self.embedding(ids))
        return y.max(1).values, h[-1].argmax(-1)


class Decoder(nn.Module):
    """An encoder, then single steps, each of which reads the output of the step before."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.step = gatewise.nn.GRU(3, 5), gatewise.nn.LSTMCell(2, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.encoder(x)[1][0]
        state, said = (h, torch.zeros_like(h)), [x.new_zeros(x.size(1), 2)]
        for _ in range(3):
            state = self.step(said[-1], state)
            said.append(self.head(state[0]))
        return torch.stack(said[1:])


MODELS: dict[str, tuple[type[nn.Module], Tensor, tuple[Tensor, ...]]] = {
    "classifier": (Classifier, torch.randn(2, 9, 3), (torch.randn(5, 30, 3), torch.randn(1, 3, 3))),
    "tagger": (Tagger, torch.randint(20, (2, 7)), (torch.randint(20, (4, 1)), torch.randint(20, (1, 11)))),
    "decoder": (Decoder, torch.randn(6, 2, 3), (torch.randn(1, 4, 3),)),
}
