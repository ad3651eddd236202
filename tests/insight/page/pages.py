"""Pages that several tests look at, and their contents."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import gatewise
from gatewise import Input, Split, Vector, cell, cells, sigmoid, tanh

TEXTS = ["a(bc)a", "(a)", "bb(a)a</script>c"[:9]]
LENGTHS = [6, 3, 9]


@cell
def leaky(h, m, *, a: Input, b: Split, d, v: Vector):  # type: ignore[no-untyped-def]
    """Two states. A gate keeps the second one, and the first one reads it. One parameter of every kind."""
    d = sigmoid(d)
    m = m + d * (tanh(a + b.x) - m)
    h = tanh(m * v + b.h)
    return h, m


@cell
def two(h, a, b, *, f, g, o):  # type: ignore[no-untyped-def]
    """Two memories, and one output."""
    f, g = sigmoid(f), tanh(g)
    a = f * a + (1 - f) * g
    b = (1 - f) * b + f * g
    h = sigmoid(o) * tanh(a - b)
    return h, a, b


CELLS = [cells.rnn, cells.lstm, cells.gru, cells.lstm_layer_norm, cells.lstm_peephole, leaky, two]


class Reader(nn.Module):
    """Reads token ids, and returns a score for each of 3 classes at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(128, 4)
        self.lstm = gatewise.nn.LSTM(4, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, ids: Tensor, lengths: list[int] | None = None) -> Tensor:
        scores: Tensor = self.head(self.lstm(self.embed(ids), lengths=lengths)[0])
        return scores


def layer_of(cell: gatewise.Cell, inputs: int = 3, units: int = 5, **options: Any) -> gatewise.nn.Recurrent:
    """Layers from a seed, with weights large enough that gates vary."""
    torch.manual_seed(1)
    layer = gatewise.nn.Recurrent(cell, inputs, units, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(2)
    return layer


def sequence(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


def ids_of(texts: list[str]) -> Tensor:
    """Token ids ``[T, B]``, zeros after the end of a text."""
    ids = torch.zeros(max(map(len, texts)), len(texts), dtype=torch.long)
    for row, text in enumerate(texts):
        ids[: len(text), row] = torch.tensor([ord(c) for c in text])
    return ids


def data_of(path: Path) -> dict[str, Any]:
    """The data that the scripts of a page read."""
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.S
    )
    assert found is not None
    data: dict[str, Any] = json.loads(found.group(1), parse_constant=_not_json)
    return data


def _not_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def array(packed: dict[str, Any]) -> NDArray[np.float32]:
    return np.frombuffer(b64decode(packed["data"]), dtype="<f4").reshape(packed["shape"])


def named(parts: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = [part for part in parts if part["name"] == name]
    return found
