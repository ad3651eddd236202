"""What `gatewise.look` shows of a writer: how it reads a text, and what led to the last token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gatewise.runtime.jobs.units import BYTES, spelled, split
from gatewise.runtime.jobs.writer import BOUNDARY
from gatewise.tasks.writing.surprises import in_quotes
from gatewise.tasks.writing.writer import Writer

_ROWS, _LONGEST = 4, 160  # texts, and tokens of one
_START, _UNKNOWN = "(start)", "(unknown)"


class NextToken(nn.Module):
    """The trained network without a carried state: an embedding, recurrent layers, a linear map."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.embedding, self.recurrent, self.head = network.embedding, network.recurrent, network.head

    def forward(self, ids: Tensor, lengths: Any = None) -> Tensor:
        """The scores of the next token at each step, ``[T, B, V]``, for ``ids [T, B]``."""
        output = self.recurrent(self.embedding(ids), lengths=lengths)[0]
        scores: Tensor = self.head(output)
        return scores


def shown(writer: Writer, texts: Sequence[str]) -> dict[str, Any]:
    """The arguments of `gatewise.look` for the beginnings of the first texts that are long enough.

    Explained is the logarithm of the probability of the last token of each text that is read.

    Raises:
        ValueError: no text has two tokens.
    """
    model = writer.model_
    tokens = [split(text, model.unit)[: _LONGEST + 1] for text in texts]
    tokens = [some for some in tokens if len(some) > 1][:_ROWS]
    if not tokens:
        raise ValueError(f"no text has two {model.unit}.")
    ids = [torch.tensor([BOUNDARY, *model.vocabulary.ids(some).tolist()]) for some in tokens]
    lengths = [len(some) for some in tokens]
    read = [spelled(some, model.unit) for some in tokens]
    explained = in_quotes(read[0][-1], model.unit)
    x = nn.utils.rnn.pad_sequence([row[:-1] for row in ids])
    last, rows = torch.tensor([int(row[-1]) for row in ids]), torch.arange(len(ids))
    steps = torch.tensor(lengths) - 1
    names = [spelled([token], model.unit)[0] or _UNKNOWN for token in model.tokens]
    names[BOUNDARY] = "(end)" if model.ends else _START
    return {
        "model": NextToken(writer.network_).eval(),
        "x": x,
        "lengths": lengths,
        "output": lambda scores: scores.log_softmax(-1)[steps, rows, last],
        "output_name": f"the log-probability of the last token ({explained} in row 0)",
        "tokens": [
            [_START, *(some[:-1] if model.unit == BYTES else [names[int(k)] for k in row[1:-1]])]
            for row, some in zip(ids, read, strict=True)
        ],
        "outputs": names,
        "probabilities": True,
        "title": f"Inside a writer ({writer.cell_name})",
    }
